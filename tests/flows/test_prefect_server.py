"""A run's own Prefect server: in its process, with all that happened written down when it ends."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest

from flows.settings import Settings
from flows.stack import prefect_tables
from tests.flows.project import ROOT

FLOW = """
import json, sys
from flows.settings import Settings
settings = Settings().apply()
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.settings import get_current_settings
from flows.stack.prefect_server import served

@task(retries=1, retry_delay_seconds=0)
def work(number, tried=[]):
    tried.append(number)
    if tried.count(number) < number:
        raise ValueError("once more")
    return number

@flow(name="counted")
def counted():
    create_markdown_artifact("# said", key="said")
    return [work(number) for number in (1, 2, 1)]

with served(settings):
    found = {"made": counted(), "url": get_current_settings().api.url}
print(json.dumps(found))
"""


def test_tasks_retries_and_artifacts_are_written_down_when_it_ends(tmp_path: Path) -> None:
    settings = Settings.model_validate({"SEQLINE_PROJECT": tmp_path, "SEQLINE_HOME": tmp_path / ".seqline"})
    environment = {**settings.environment(), "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(settings.workspace / "prefect")}
    ran = subprocess.run([sys.executable, "-c", FLOW], env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    assert found["made"] == [1, 2, 1]
    with closing(sqlite3.connect(settings.workspace / "prefect" / "prefect.db")) as database:
        assert database.execute("SELECT state_type FROM flow_run").fetchall() == [("COMPLETED",)]
        tasks = database.execute("SELECT state_type, run_count FROM task_run ORDER BY run_count").fetchall()
        assert tasks == [("COMPLETED", 1), ("COMPLETED", 1), ("COMPLETED", 2)]
        assert database.execute("SELECT key FROM artifact").fetchall() == [("said",)]


def test_the_tables_are_those_that_prefects_migrations_make() -> None:
    def lines(sql: str) -> list[str]:
        return sorted(line.strip().rstrip(", ") for line in sql.splitlines())  # the order of a table's foreign keys varies

    assert lines(prefect_tables.SQL.read_text()) == lines(prefect_tables.migrated()), (
        "run `python -m flows.stack.prefect_tables`"
    )


def test_laid_by_many_at_once_they_are_whole_and_what_is_there_stays(tmp_path: Path) -> None:
    threads = [Thread(target=prefect_tables.lay, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(sqlite3.connect(tmp_path / "prefect.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert prefect_tables.SQL.read_text().endswith("\n".join(database.iterdump()) + "\n")
        database.execute("CREATE TABLE own (id)")
    prefect_tables.lay(tmp_path)
    with closing(sqlite3.connect(tmp_path / "prefect.db")) as database:
        assert database.execute("SELECT count(*) FROM own").fetchall() == [(0,)]


def test_the_tables_of_another_version_are_left_to_its_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "prefect.sql"
    other.write_text("-- prefect 0.0.1: of another time\nCREATE TABLE x (id);\n")
    monkeypatch.setattr(prefect_tables, "SQL", other)
    prefect_tables.lay(tmp_path)
    assert not (tmp_path / "prefect.db").exists()
