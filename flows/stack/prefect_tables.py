"""The tables of Prefect's database as its migrations leave them (prefect.sql): a new workspace need not run 100 of them.

`python -m flows.stack.prefect_tables` writes them anew, and MLflow's, for other versions; until then these migrate themselves.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

from pipelines.registry import tables

SQL = Path(__file__).with_name("prefect.sql")
DATABASE = "prefect.db"


def lay(home: Path) -> None:
    """Make the database in `home`, Prefect's folder, unless it is there."""
    with FileLock(home / f"{DATABASE}.lock"):  # two that migrate one new file at once destroy it
        tables.lay(home / DATABASE, SQL)


def migrated() -> str:
    """What Prefect's own migrations make of nothing, as SQL."""
    with tempfile.TemporaryDirectory() as home:
        upgrade = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
        subprocess.run(upgrade, env={**os.environ, "PREFECT_HOME": home}, check=True, capture_output=True)
        return tables.dump("prefect", Path(home) / DATABASE)


if __name__ == "__main__":
    SQL.write_text(migrated(), encoding="utf-8")
    tables.MLFLOW.write_text(tables.migrated(), encoding="utf-8")
