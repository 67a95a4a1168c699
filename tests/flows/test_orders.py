"""`seqline status`, `pause`, `freeze`, `resume`, `page` and `history --on` as typed: light, one line a mistake."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from flows.commands import orders
from pipelines.rollout import controller
from pipelines.rollout.production import Reign
from pipelines.rollout.store import Route, Store

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose version 2 is being rolled out against version 1."""
    (tmp_path / "models").mkdir()
    shutil.copy(ROOT / "models" / "synopsis.yaml", tmp_path / "models")
    (tmp_path / ".seqline").mkdir()
    store = Store(f"sqlite:///{tmp_path / '.seqline' / 'rollout.db'}")
    store.create()
    with store.transaction() as connection:
        store.set_route("synopsis", Route("1"), connection)
    controller.open(store, "synopsis", "2", "1", 1_000.0)
    store.engine.dispose()
    return tmp_path


def seqline(project: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "SEQLINE_PROJECT": str(project), "HOME": str(project)}
    command = [sys.executable, "-m", "flows.cli", *words]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def test_a_person_stops_a_rollout_and_lets_it_go_on(project: Path) -> None:
    frozen = seqline(project, "freeze", "synopsis", "--why", "holidays")
    assert frozen.stdout == "synopsis: version 2 stays where it is, until `seqline resume synopsis`\n"
    found = json.loads(seqline(project, "status", "synopsis", "--json").stdout)
    assert found["held"].endswith("UTC: holidays")
    assert found["rollout"]["where"].startswith("shadow")
    refused = seqline(project, "pause", "synopsis")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "`seqline resume synopsis` first" in refused.stderr
    assert "no longer frozen" in seqline(project, "resume", "synopsis").stdout
    path = Path(seqline(project, "page", "synopsis").stdout.strip())
    assert "synopsis: version 2 against version 1" in path.read_text()
    assert "holidays" in path.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("resume", "synopsis"), "synopsis: nothing to resume: it is neither paused nor frozen"),
        (("history", "synopsis", "--on", "yesterday"), "--on 'yesterday': must be a day, as 2026-01-31"),
        (("history", "synopsis", "--on", "2999-01-01"), "--on 2999-01-01: that day is still to come"),
        (("page", "nobody"), "nobody: no YAML in models/ has this name"),
    ],
)
def test_a_mistake_is_one_line(project: Path, words: tuple[str, ...], said: str) -> None:
    done = seqline(project, *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"seqline: {said}")
    assert done.stderr.count("\n") == 1


def test_a_day_without_production_says_so(project: Path) -> None:
    done = seqline(project, "history", "synopsis", "--on", "2020-02-29")
    assert done.stdout == "synopsis: nothing was in production on 2020-02-29 (UTC)\n"
    assert json.loads(seqline(project, "history", "synopsis", "--on", "2020-02-29", "--json").stdout) == []


def test_a_day_can_be_read_in_eighty_columns() -> None:
    facts = {"approver": "anna", "digest": "a" * 64, "data_md5": "b" * 32}
    served = [
        Reign("1", 1.8e9, 1.8e9 + 60, "promoted: no champion: let in by the gates alone", facts=facts),
        Reign("2", 1.8e9, 1.8e9 + 60, "stage: [50] answers exclude a burn of 4x at 95 %, after 120 s", canary=True, weight=25),
        Reign("1", 1.8e9 + 60, None, "version 2 on probation", former=True, weight=5),
    ]
    console = Console(highlight=False, soft_wrap=True, width=80)
    with console.capture() as shown:
        console.print(orders._reigns(served))
    lines = shown.get().splitlines()
    assert max(map(len, lines)) <= 80
    words = " ".join(shown.get().split())
    for part in ("champion", "former champion, 5 %", "approver: anna", f"evidence: {'a' * 12}", f"data: {'b' * 12}", "now"):
        assert part in words
    assert any(line.startswith("2027-01-15 08:01:00  canary, 25 %") for line in lines)
    assert "[50] answers" in words
