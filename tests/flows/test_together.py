"""Several retrains of one model at once: one does the work, the others wait, and nothing is fought over."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.sole import Busy, sole
from flows.zombies import bury_servers
from tests.flows.project import Project, Ran, free_port

TINY = "models/tiny.yaml"
AT_ONCE = 8
PATIENCE_SECONDS = 600
WAITS = "seqline: tiny: another retrain is at work: this one waits for its end"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    bury_servers(made.settings.workspace / "prefect")


@dataclass(frozen=True)
class Started:
    """A retrain under way; what it writes can be read while it runs."""

    process: "subprocess.Popen[str]"
    out: Path
    err: Path

    def ended(self) -> Ran:
        code = self.process.wait(PATIENCE_SECONDS)
        return Ran(code, self.out.read_text(), self.err.read_text())


def retrain(project: Project, spec: str = TINY, *options: str) -> Started:
    number = len(list(project.folder.glob("*.err")))
    out, err = (project.folder / f"{number}.{end}" for end in ("out", "err"))
    with out.open("w") as to, err.open("w") as complaints:
        return Started(project.start("flows.cli", "retrain", spec, *options, stdout=to, stderr=complaints), out, err)


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def trainings(project: Project) -> list[Path]:
    return list((project.folder / ".seqline" / "work" / "tiny").glob("weights-*.jsonl"))


def assert_registry_is_whole(project: Project) -> None:
    """One version, in a database that SQLite finds nothing wrong with; and no process met a fault."""
    with closing(sqlite3.connect(project.folder / ".seqline" / "mlflow.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        versions = database.execute("SELECT name, version, status FROM model_versions WHERE name = 'tiny'").fetchall()
    assert versions == [("tiny", 1, "READY")]
    champion = project.registry.champion("tiny")
    assert champion is not None
    assert champion.version == "1"
    assert not (project.folder / ".seqline" / "logs" / "faults.log").exists()


def test_of_eight_at_once_one_trains_and_seven_wait_and_find_its_version(project: Project) -> None:
    project.write_spec(steps=5)
    ended = [each.ended() for each in [retrain(project) for _ in range(AT_ONCE)]]
    assert [each.code for each in ended] == [0] * AT_ONCE, [each.err for each in ended]
    (first,) = (each for each in ended if "tiny version 1" in each.out)
    others = [each for each in ended if each is not first]
    assert all(each.err.startswith(WAITS) for each in others)
    assert all("nothing to do: tiny 1 already comes from this data, spec and code" in each.out for each in others)
    assert not [each for each in ended if "Traceback" in each.out + each.err]
    assert len(trainings(project)) == 1
    steps = [json.loads(line) for line in trainings(project)[0].read_text().splitlines()]
    assert [line["step"] for line in steps if "event" not in line] == [1, 2, 3, 4, 5]
    assert_registry_is_whole(project)


def test_two_models_at_once_are_both_registered_and_their_runs_written_down(project: Project) -> None:
    """From an empty workspace, where either would make MLflow's and Prefect's databases."""
    project.write_spec(steps=1)
    text = (project.folder / TINY).read_text().replace("name: tiny", "name: small")
    (project.folder / "models" / "small.yaml").write_text(text.replace(f"port: {project.port}", f"port: {free_port()}"))
    started = {name: retrain(project, f"models/{name}.yaml", "--json") for name in ("tiny", "small")}
    for name, each in started.items():
        ended = each.ended()
        assert ended.code == 0, ended.err
        told = json.loads(ended.out)  # and nothing else
        assert (told["name"], told["version"], told["rollout"]) == (name, "1", f"{name} version 1: promoted")
        assert "Traceback" not in ended.err
    with closing(sqlite3.connect(project.folder / ".seqline" / "prefect" / "prefect.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT state_type FROM flow_run").fetchall() == [("COMPLETED",)] * 2
        assert database.execute("SELECT DISTINCT state_type FROM task_run").fetchall() == [("COMPLETED",)]
    assert not (project.folder / ".seqline" / "logs" / "faults.log").exists()


def test_a_killed_one_lets_the_next_in_also_with_another_spec(project: Project) -> None:
    """The first is killed in its training; one that waits has another spec of the same name, and runs then."""
    project.write_spec(steps=5)
    (project.folder / TINY).rename(project.folder / "models" / "other.yaml")
    project.write_spec(steps=100_000)
    first = retrain(project)
    work = project.folder / ".seqline" / "work" / "tiny"
    until(lambda: list(work.glob(".weights-*.partial/step-*")) or first.process.poll() is not None)
    second = retrain(project, "models/other.yaml")
    until(lambda: second.err.read_text().startswith(WAITS))
    first.process.send_signal(signal.SIGKILL)
    assert first.ended().code == -signal.SIGKILL, first.ended()
    ended = second.ended()
    assert ended.code == 0, ended.err
    assert "tiny version 1" in ended.out
    assert "Traceback" not in ended.err
    assert_registry_is_whole(project)


def test_the_holder_may_enter_again_and_keeps_others_out_until_its_last_leave(project: Project) -> None:
    code = "from flows.settings import Settings; from flows.sole import sole\nwith sole('x', 'tiny', Settings()): pass"
    settings = project.settings

    def other() -> str:
        return subprocess.run([sys.executable, "-c", code], cwd=project.folder, env=project.environment,
                              capture_output=True, text=True, check=False).stderr  # fmt: skip

    with sole("x", "tiny", settings):
        with sole("x", "tiny", settings):
            assert "flows.sole.Busy: tiny: another x is at work" in other()
        assert Busy.__name__ in other()
    assert other() == ""
