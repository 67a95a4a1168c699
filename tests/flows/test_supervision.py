"""What keeps the stack's members: a dead one is started again, and one that a person must mend is named."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from flows.stack.supervision import configuration, members, mistaken
from tests.serving.site import until

ROOT = Path(__file__).parent.parent.parent
PROCFILE = """# what lives, what a person must mend, what is not here
lives: sh -c 'echo "$$ of $WHO: 100 %" && exec sleep 600'
mistaken: sh -c 'echo "models/x.yaml: no such file" >&2 && exit 2'
absent: true
"""


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[psutil.Process]:
    for folder in ("logs", "run"):
        (tmp_path / folder).mkdir()
    said = tmp_path / "run" / "supervisord.conf"
    said.write_text(configuration(PROCFILE, tmp_path, {"absent"}))
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(said)]
    with subprocess.Popen(command, env={"WHO": "ann", "PATH": "/usr/bin:/bin"}, stdin=subprocess.DEVNULL) as process:
        yield psutil.Process(process.pid)
        process.terminate()


def test_a_dead_member_is_started_again_and_a_mistaken_one_is_named(supervised: psutil.Process, tmp_path: Path) -> None:
    said, log = tmp_path / "logs" / "lives.log", tmp_path / "logs" / "stack.log"
    until(lambda: said.is_file() and said.read_text().count("of ann: 100 %") == 1)
    until(lambda: "entered RUNNING state" in log.read_text())
    for child in supervised.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    until(lambda: said.read_text().count("of ann: 100 %") == 2)
    assert until(lambda: mistaken(log.read_text())) == "mistaken"
    assert (tmp_path / "logs" / "mistaken.log").read_text().startswith("models/x.yaml: no such file\n")
    assert not (tmp_path / "logs" / "absent.log").exists()
    left = supervised.children(recursive=True)
    supervised.terminate()
    until(lambda: not any(map(alive, left)))


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (["exited: a (exit status 2; not expected)"], "a"),
        (["exited: a (exit status 2; not expected)", "success: a entered RUNNING state, process has stayed up"], None),
        (["success: a entered RUNNING state, process", "exited: a (exit status 2; not expected)"], "a"),
        (["exited: a (exit status 2; not expected)", "exited: a (terminated by SIGKILL; not expected)"], None),
        (["success: b entered RUNNING state", "exited: a (exit status 1; not expected)"], None),
    ],
)
def test_a_mistake_that_somebody_has_mended_is_none_any_more(said: list[str], found: str | None) -> None:
    assert mistaken("".join(f"2026-11-22 23:00:00,000 INFO {line}\n" for line in said)) == found


def test_the_members_of_the_stack_are_those_of_the_procfile() -> None:
    found = members((ROOT / "infra" / "Procfile").read_text())
    assert {"prefect", "worker", "mlflow", "gateway", "prometheus", "alertmanager"} <= set(found)
    assert found["worker"] == "python -m flows.stack.members"
