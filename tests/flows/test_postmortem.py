"""`seqline postmortem` as typed: a draft of what the journal, the decisions and the runbooks remember."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.settings import Settings
from pipelines.errors import UserError
from pipelines.registry import journal_rows
from pipelines.rollout import controller, ledger
from pipelines.rollout import status as rollout_status
from pipelines.rollout.store import Event, Route, Store
from tests.flows.test_runbook import SPEC


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.yaml").write_text(SPEC.format(port=1, admin=2, cloud="http://127.0.0.1:9"))
    monkeypatch.setenv("SEQLINE_PROJECT", str(tmp_path))
    monkeypatch.setenv("SEQLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    settings = Settings()
    settings.folder("run")
    return settings


def postmortem(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["postmortem", "tiny", "--json", *words], catch_exceptions=False)
    return dict(json.loads(done.stdout))


def test_what_happened_is_drafted_once(project: Settings) -> None:
    with pytest.raises(UserError, match="tiny: nothing was ever rolled back"):
        postmortem()
    store, now = Store(project.database), time.time()
    with store.transaction() as connection:
        store.set_route("tiny", Route("1"), connection)
    number = controller.open(store, "tiny", "2", "1", now - 100)

    def event(
        seq: int, user: str, bad: bool, *, version: str = "2", shadow: bool = False, name: str = "tiny", at: float
    ) -> Event:
        arm = "canary" if version == "2" else "champion"
        return Event(f"{name}{seq}", user, arm, version, at, {"availability": not bad}, shadow=shadow, seq=seq)

    mine = [
        event(1, "a", True, version="1", at=now - 200),  # before the rollout
        event(2, "a", True, shadow=True, at=now - 50),  # the first bad one, and no user saw it
        event(3, "a", True, at=now - 40),
        event(4, "a", True, at=now - 30),
        event(5, "b", True, at=now - 20),
        event(6, "c", False, at=now - 10),
        event(7, "d", True, version="1", at=now - 10),
    ]
    store.append("tiny", "g", mine)
    store.append("other", "h", [event(1, "z", True, at=now - 45, name="other")])
    rollout_status.rollback(store, "tiny", "users complain", now, "ann")
    store.engine.dispose()
    row = {"at": now + 5, "runbook": "freeze", "step": 1, "text": "Nothing rises:", "code": 0, "by": "ann"}
    (project.folder("runbooks") / "tiny.jsonl").write_text(json.dumps(row) + "\n")

    told = postmortem()
    path = Path(told.pop("path"))
    assert path == project.workspace / "postmortems" / f"tiny-{number}.md"
    assert told == {
        "rollout": number,
        "version": "2",
        "detection_seconds": 50.0,
        "requests_hurt": 3,
        "users_hurt": 2,
        "users_unknown": 0,
        "samples": 0,
    }
    text = path.read_text()
    assert "mirrored: no user saw it), taken back by a person 50.0 s later" in text
    assert "| availability | 3 of 4 bad = 75.00%" in text
    assert "| 2 | 1 of 1 bad = 100.00%" in text
    assert "**rollback**: by hand, ann: users complain" in text
    assert "runbook freeze, step 1, by ann: Nothing rises: ok" in text
    assert "The registry did not tell" in text

    path.write_text(text + "a person wrote this")
    with pytest.raises(UserError, match="there already: people may have written into it"):
        postmortem()
    assert postmortem("--rollout", str(number), "--again")["requests_hurt"] == 3
    assert "a person wrote this" not in path.read_text()
    with pytest.raises(UserError, match="tiny: it has no rollout 99"):
        postmortem("--rollout", "99")

    with store.transaction() as connection:
        ledger.close(number, "rolled_back", now, connection)
    journal_rows.blank(store, "tiny", now - 25)  # by age; one of the three is younger
    store.engine.dispose()
    later = postmortem("--again")
    assert (later["requests_hurt"], later["users_hurt"], later["users_unknown"]) == (3, 1, 2)
    assert "3 requests of 1 users (users unknown for 2 rows)" in path.read_text()
