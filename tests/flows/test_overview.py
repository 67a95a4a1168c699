"""The status page as it is served: fresh, with a rollout in flight, with servers that answer, lie or are away."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from flows.overview import gathering
from flows.overview.page import Desk
from flows.settings import Settings
from pipelines.errors import Transient
from pipelines.overview import page
from pipelines.overview.facts import Known, Overview
from pipelines.overview.onlooker import Onlooker
from pipelines.rollout import controller
from pipelines.rollout.store import Event, Route, Store
from tests.flows.project import ROOT, SPEC
from tests.overview.overviews import model, overview

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 120.0  # seconds
LONG = 1_000 * PATIENCE  # the same for a browser, which counts in milliseconds


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A fresh workspace with one model that nobody trained; its servers are named, and none runs."""
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    (project / "models" / "tiny.yaml").write_text(SPEC.format(steps=10, test=20, port=free_port()))
    (project / "infra" / "runbooks").mkdir(parents=True)
    (project / "infra" / "runbooks" / "gateway-down.md").write_text("# GatewayDown\n")
    away = f"http://127.0.0.1:{free_port()}"
    return Settings.model_validate({"SEQLINE_PROJECT": project, "SEQLINE_HOME": tmp_path / "home", "SEQLINE_MLFLOW_UI": away})


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack that happens to run on this machine is asked."""
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    monkeypatch.setattr(gathering, "PORTS", {"prometheus": free_port(), "alertmanager": free_port()})


def gathered(settings: Settings) -> Overview:
    with gathering.Gatherer(settings).at_work() as gatherer:
        return gatherer.gather(PATIENCE)


def produce(settings: Settings, now: float) -> Store:
    """Version 1 is in production and answered a hundred requests; version 2's rollout is open."""
    settings.folder()
    store = Store(settings.database)
    store.create()
    controller.open(store, "tiny", "1", None, now - 7_200)
    with store.transaction() as connection:
        store.set_route("tiny", Route("1"), connection)
    rows = [
        Event(f"r{i}", f"u{i}", "champion", "1", now - 60, {"availability": i > 1, "latency": True}, seq=2 * i, gateway="g")
        for i in range(100)
    ]
    verdicts = [
        Event(f"r{i}", f"u{i}", "champion", "1", now - 60, {"judge": i > 9}, "verdict", seq=2 * i + 1, gateway="g")
        for i in range(100)
    ]
    store.append("tiny", "g", sorted([*rows, *verdicts], key=lambda event: event.seq))
    return store


def test_a_fresh_workspace_is_told_as_such_and_nothing_fails(settings: Settings) -> None:
    found = gathered(settings)
    (model,) = found.models
    content = page.plain(found)["models"][0]
    assert content["verdict"]["word"] == "NOT IN PRODUCTION", model.standing
    assert model.standing.value is not None
    for known, said in (
        (model.gateway, "the gateway does not answer"),
        (model.memory, "MLflow does not answer"),
        (model.scheduled, "Prefect does not answer"),
        (model.alerts, "Prometheus does not answer"),
    ):
        assert (known.value, known.problem) == (None, said)
    assert [each.answers for each in found.places] == [False, False, False, False, None]
    assert (model.watch, model.cost.value, found.runbooks) == (
        Known(stale_after=model.watch.stale_after),
        None,
        ("gateway-down",),
    )
    assert str(settings.workspace) not in page.html(found)


def test_production_rollout_budgets_and_the_judge_are_those_of_status(settings: Settings) -> None:
    now = time.time()
    store = produce(settings, now)
    controller.open(store, "tiny", "2", "1", now)
    found = gathered(settings)
    standing = found.models[0].standing.value
    assert standing is not None
    assert standing.rollout is not None
    assert (standing.rollout.version, standing.rollout.steps[standing.rollout.at]) == ("2", "shadow")
    assert {sli.name: (sli.bad, sli.requests) for sli in standing.budgets} == {"availability": (2, 100), "latency": (0, 100)}
    days = found.models[0].judged.value
    assert days is not None
    assert [(day.bad, day.n) for day in days] == [(10, 100)]
    text = page.html(found)
    assert "Rollout: version 2 against version 1" in text
    assert "NOT SAFE" in text  # the gateway does not run


def test_files_are_shown_as_of_when_they_were_written_and_broken_ones_are_named(settings: Settings) -> None:
    watch = {
        "name": "tiny", "at": 1_000.0, "triggers": [], "decision": {"retrain": False, "why": "nothing calls for a retrain"},
        "backoff_until": None, "last": None,
    }  # fmt: skip
    (settings.folder("watch") / "tiny.json").write_text(json.dumps(watch))
    (settings.folder("cost") / "tiny.json").write_text('{"at": 3, "versions": 7')
    (settings.folder("doctor") / "tiny.json").write_text('{"at": 3, "checks": 7}')
    (model,) = gathered(settings).models
    assert model.watch.value is not None
    assert (model.watch.value.why, model.watch.at) == ("nothing calls for a retrain", 1_000.0)
    assert not model.watch.fresh(time.time())
    assert model.cost.problem.startswith("cost/tiny.json says nothing that can be read")
    assert model.doctor.problem.startswith("doctor/tiny.json says nothing that can be read")


def test_a_broken_spec_is_named_and_the_others_are_shown(settings: Settings) -> None:
    (settings.project / "models" / "other.yaml").write_text("name: other\nkind: nonsense\n")
    found = gathered(settings)
    assert [model.name for model in found.models] == ["tiny"]
    assert found.problem.startswith("other.yaml")


def test_who_looks_on_cannot_write_and_keeps_nobody_waiting(settings: Settings) -> None:
    store = produce(settings, time.time())
    onlooker = Onlooker(settings.database)
    with onlooker.transaction() as connection:
        seen = onlooker.route("tiny", connection)
        with store.transaction() as writing:  # another connection writes meanwhile
            store.set_route("tiny", Route("9", generation=seen.generation if seen else 0), writing)
        assert onlooker.route("tiny", connection) == seen  # a snapshot
    assert (onlooker.route("tiny") or Route(None)).champion == "9"
    with pytest.raises(Transient, match="readonly"), onlooker.transaction() as connection:
        onlooker.set_route("tiny", Route("3"), connection)
    for each in (store, onlooker):
        each.engine.dispose()


def polled(look: Callable[[], Any]) -> Any:
    """What `look` finds once it finds something; it may fail until then."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if found := look():
                return found
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The real command in a process of its own; yields its address once a gathering was shown."""
    port = free_port()
    command = [sys.executable, "-m", "flows.cli", "overview", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **settings.environment()}, stdout=subprocess.DEVNULL
    ) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            polled(lambda: httpx.get(f"{url}/overview.json", trust_env=False).json()["models"])
            yield url
        finally:
            process.terminate()
            assert process.wait(PATIENCE) in (0, -15)


def test_it_is_served_with_its_json_runbooks_and_rollouts_to_this_machine_alone(settings: Settings) -> None:
    store = produce(settings, time.time())
    with serving(settings) as url, httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE) as http:
        health = http.get("/healthz")
        assert (health.status_code, health.json()["ok"]) == (200, True)
        shown = http.get("/")
        assert shown.headers["content-security-policy"] == page.headers()["Content-Security-Policy"]
        assert "tiny" in shown.text
        assert polled(lambda: http.get("/overview.json").json()["models"][0]["standing"]["value"])["production"] == "1"
        assert http.get("/runbook/gateway-down").text == "# GatewayDown\n"
        for path in ("/runbook/..%2f..%2fmodels%2ftiny", "/runbook/none", "/rollout/none", "/nothing"):
            assert http.get(path).status_code == 404
        assert "version 1" in http.get("/rollout/tiny").text
        assert http.get("/", headers={"Host": "elsewhere.example"}).status_code == 400
        assert http.post("/").status_code == 405
        taken = subprocess.run(
            [sys.executable, "-m", "flows.cli", "overview", "--port", url.rpartition(":")[2]],
            capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **settings.environment()},
        )  # fmt: skip
        assert (taken.returncode, "is taken" in taken.stderr) == (2, True)
    store.engine.dispose()


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
def test_a_person_reads_it_on_a_phone_with_and_without_scripts(settings: Settings, browser: Browser) -> None:
    store = produce(settings, time.time())
    with serving(settings) as url:
        for scripts in (True, False):
            context = browser.new_context(viewport={"width": 380, "height": 780}, java_script_enabled=scripts)
            context.set_default_timeout(LONG)
            shown, problems = context.new_page(), list[str]()
            shown.on("console", lambda message, told=problems: told.append(message.text))
            shown.goto(url)
            expect(shown.get_by_role("article", name="tiny")).to_contain_text("the gateway does not answer", timeout=LONG)
            assert re.match("1 not safe", shown.title())
            assert problems == []
            if scripts:
                assert shown.evaluate("document.documentElement.scrollWidth") == 380
                shown.get_by_text("Last decisions").or_(shown.get_by_text("Next and last runs")).first.click()
                (settings.project / "models" / "tiny.yaml").rename(settings.project / "models" / "tiny.txt")
                expect(shown.locator("h1")).to_have_text("seqline: no models", timeout=LONG)  # without a reload
                (settings.project / "models" / "tiny.txt").rename(settings.project / "models" / "tiny.yaml")
                expect(shown.get_by_role("article", name="tiny")).to_be_visible(timeout=LONG)
            context.close()
    store.engine.dispose()


def test_no_thread_outlives_the_application(settings: Settings) -> None:
    desk = Desk(settings)

    async def served() -> None:
        async with desk.lifespan(None):
            while not desk.answered:
                await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(served(), PATIENCE))
    assert not [each for each in threading.enumerate() if each.name.startswith(("overview", "gathering"))]


def test_a_yaml_that_is_no_text_is_named_and_the_others_are_shown(settings: Settings) -> None:
    (settings.project / "models" / "other.yaml").write_bytes(b"name: caf\xe9\n")
    found = gathered(settings)
    assert [model.name for model in found.models] == ["tiny"]
    assert found.problem.startswith("other.yaml")


def test_two_yamls_of_one_name_are_told(settings: Settings) -> None:
    models = settings.project / "models"
    (models / "twin.yaml").write_bytes((models / "tiny.yaml").read_bytes())
    problem = gathered(settings).problem
    assert problem == "tiny.yaml: another YAML has the name tiny; twin.yaml: another YAML has the name tiny"


def test_what_no_gathering_followed_is_no_longer_called_safe(settings: Settings) -> None:
    """Whatever keeps the next one: a thread that hangs or died, a disk that does not answer."""
    desk = Desk(settings)
    desk._gatherer.latest = overview(model())  # gathered at overviews.NOW, which is not now
    assert abs(overview(model()).at - time.time()) > page.LATE
    answered = [asyncio.run(each(None)).body.decode() for each in (desk.page, desk.facts, desk.metrics)]
    assert "NOT KNOWN" in answered[0]
    assert "nothing was gathered for" in answered[0]
    assert json.loads(answered[1])["models"][0]["verdict"]["tone"] == "unknown"
