"""A new SQLite database with its tables as its owner's migrations leave them, laid in milliseconds instead of seconds.

`python -m flows.stack.prefect_tables` writes MLflow's (mlflow.sql) anew for another version; until then that one migrates.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

MLFLOW = Path(__file__).with_name("mlflow.sql")
OPEN = "import sys; from mlflow import MlflowClient; MlflowClient(sys.argv[1], sys.argv[1]).search_registered_models()"


def lay(database: Path, tables: Path) -> None:
    """Make `database` from the SQL in `tables`, unless it is there, or they are of another version than the one installed.

    It appears whole or not at all. The caller keeps other processes from making it at the same time.
    """
    sql = tables.read_text(encoding="utf-8")
    package, written = sql.partition(":")[0].split()[1:]
    if database.exists() or version(package) != written:
        return
    fresh = database.with_name(f".{database.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with closing(sqlite3.connect(fresh)) as made:
        made.executescript(sql)
    fresh.replace(database)


def dump(package: str, database: Path, first: str = "") -> str:
    """The SQL of `database`, which the installed `package` has just made, after the statement `first`."""
    with closing(sqlite3.connect(database)) as made:
        made.execute(first)
        return "\n".join([f"-- {package} {version(package)}: a new database after its migrations", *made.iterdump(), ""])


def migrated() -> str:
    """What MLflow's own migrations make of nothing, as SQL."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "mlflow.db"
        subprocess.run([sys.executable, "-c", OPEN, f"sqlite:///{database}"], check=True, capture_output=True)
        return dump("mlflow", database, "DELETE FROM experiments")  # its default one names a folder; every start makes it
