"""`seqline doctor` as typed: facts gathered from a real database, infra/ and a backup; 3 on a gap; what W1's page reads."""

import json
import shutil
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.commands.facts import Gathered, addresses
from flows.settings import Settings
from flows.stack.observing import found
from pipelines.rollout import controller
from pipelines.rollout import status as rollout_status
from pipelines.rollout.evidence import Count
from pipelines.rollout.store import Event, Route, Store

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The repository's specs and infra/, an empty workspace, and ports where nothing answers."""
    shutil.copytree(ROOT / "models", tmp_path / "models", ignore=shutil.ignore_patterns("base", "*.md"))
    shutil.copytree(ROOT / "infra", tmp_path / "infra")
    monkeypatch.setenv("SEQLINE_PROJECT", str(tmp_path))
    monkeypatch.setenv("SEQLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    settings = Settings()
    settings.folder("run")
    return settings


def doctor(*words: str, code: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["doctor", "synopsis", "--json", *words], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return dict(json.loads(done.stdout))


def checks(told: dict[str, Any]) -> dict[str, bool | None]:
    return {each["check"]: each["ok"] for each in told["checks"]}


def happened(store: Store, now: float) -> None:
    """Version 2 was rolled out against version 1, failed for two users of eight, and was rolled back."""
    with store.transaction() as connection:
        store.set_route("synopsis", Route("1"), connection)
    controller.open(store, "synopsis", "2", "1", now - 60)
    met = [("champion", "1", True)] * 9 + [("canary", "2", True)] * 6 + [("canary", "2", False)] * 2
    batch = [
        Event(f"r{n}", f"u{n}", arm, version, now - 30 + n, {"availability": good, "latency": True}, seq=n)
        for n, (arm, version, good) in enumerate(met)
    ]
    store.append("synopsis", "g", batch)
    rollout_status.rollback(store, "synopsis", "a drill", now, "ann")


def test_before_anything_was_made_everything_but_the_spec_is_a_gap(project: Settings) -> None:
    told = doctor(code=3)
    assert told["phase"] == "before"
    found_ = checks(told)
    assert found_.pop("slo-defined") is True
    assert not any(found_.values())
    kept = json.loads((project.workspace / "doctor" / "synopsis.json").read_text())
    assert kept == {**told, "name": "synopsis"}
    assert all(set(each) == {"phase", "check", "ok", "said", "mend"} for each in kept["checks"])


def test_in_production_the_rules_the_routes_and_the_backup_are_looked_at(project: Settings) -> None:
    there = found("promtool") is not None and found("amtool") is not None
    store = Store(project.database)
    store.create()
    with store.transaction() as connection:
        store.set_route("synopsis", Route("1"), connection)
    store.engine.dispose()
    assert CliRunner().invoke(app, ["backup"], catch_exceptions=False).exit_code == 0
    told = doctor(code=3)
    assert told["phase"] == "production"
    said = checks(told)
    assert said["restore-defined"] is True
    assert said["routes-tested"] is (True if there else None)
    assert said["escalation-defined"] is (False if there else None)  # the repository's addresses are nobody's
    assert said["samples-flowing"] is None
    rules = project.project / "infra" / "prometheus" / "rules" / "synopsis.yml"
    rules.write_text("groups: []\n")
    again = doctor("--only", "dashboards-and-rules", code=3)
    assert again["checks"][0]["said"] == "infra/prometheus/rules/synopsis.yml: not what the specs say"
    assert json.loads((project.workspace / "doctor" / "synopsis.json").read_text())["phase"] == "production"  # of a whole look


def test_facts_are_those_of_the_database(project: Settings) -> None:
    store, now = Store(project.database), time.time()
    store.create()
    happened(store, now)
    store.engine.dispose()
    facts = Gathered("synopsis", project)
    assert facts.actions == {"rollback"}
    assert facts.latency == Count(9, 0)
    assert facts.recent is not None
    assert facts.recent["2"]["availability"] == Count(8, 2)
    assert facts.incident == pytest.approx(now)
    assert (facts.gateway, facts.metrics, facts.probe, facts.backup_at, facts.drained) == (None,) * 5
    assert facts.damage == ["mlflow.db: is missing"]
    told = doctor("--phase", "incident", "--only", "severity-and-impact", "--only", "postmortem-opened", code=3)
    assert checks(told) == {"severity-and-impact": True, "postmortem-opened": False}
    assert told["checks"][0]["said"].startswith("SEV1: version 2, availability: 2 of 8 bad in the last hour")


def test_another_models_postmortem_is_not_taken_for_this_ones(project: Settings) -> None:
    (project.folder("postmortems") / "synopsis-de-1.md").write_text("# of synopsis-de")
    assert Gathered("synopsis", project).postmortem_at is None
    (project.folder("postmortems") / "synopsis-1.md").write_text("# of synopsis")
    assert Gathered("synopsis", project).postmortem_at == pytest.approx(time.time(), abs=600)


def test_a_broken_database_is_said_and_is_no_traceback(project: Settings) -> None:
    (project.workspace / "rollout.db").write_bytes(b"garbage" * 1000)
    told = doctor("--only", "nothing-rises", "--only", "canary-path-proved", "--only", "memory-whole", code=3)
    assert checks(told) == {"nothing-rises": None, "canary-path-proved": None, "memory-whole": False}


def test_another_program_on_prometheus_port_is_no_traceback(
    project: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = tmp_path / "elsewhere" / "api" / "v1"
    served.mkdir(parents=True)
    (served / "query").write_text("[]")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path / "elsewhere")) as other:
        thread = Thread(target=other.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            monkeypatch.setattr("flows.commands.facts.PORTS", {"prometheus": other.server_port})
            assert Gathered("synopsis", project).scraped is None
        finally:
            other.shutdown()
            thread.join()


def test_the_addresses_of_all_receivers_are_found(tmp_path: Path) -> None:
    path = tmp_path / "alertmanager.yml"
    path.write_text(
        "receivers:\n- {name: a, webhook_configs: [{url: 'http://x'}]}\n- {name: b, email_configs: [{to: ann@example.org}]}\n"
        "- {name: c}\n"
    )
    assert addresses(path) == ["http://x", "ann@example.org"]
