"""The whole line as a user runs it: real processes, a real registry, a real gateway, replayed traffic. The tests build on
one another, in the order of the file, since each step of a model's life needs the one before."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import pytest

from flows.zombies import bury_servers, servers_of
from tests.flows.project import Project

TINY = "models/tiny.yaml"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = Project(tmp_path_factory.mktemp("project"))
    yield made
    bury_servers(made.settings.workspace / "prefect")


def until(true: Any, seconds: float = 600) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.05)
    return found


def phase(project: Project) -> str | None:
    rollout = project.store.open_rollout("tiny")
    return rollout.state["state"]["phase"] if rollout else None


@contextmanager
def broken_gateway(project: Project, *faults: str) -> Iterator[None]:
    """A gateway whose canary is broken by a proxy."""
    log = (project.folder / "gateway.log").open("w")
    process = project.start("tests.faults.gateway", "tiny", *faults, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{project.port}/healthz"

        def up() -> bool:
            try:
                return httpx.get(url, trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        until(up)
        yield
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def test_killed_in_training_the_next_run_carries_on_to_the_first_champion(project: Project) -> None:
    work = project.folder / ".seqline" / "work" / "tiny"
    log = project.folder / "killed.log"
    with log.open("w") as stream:
        process = project.start("flows.cli", "retrain", TINY, stdout=stream, stderr=stream)
    until(lambda: list(work.glob(".weights-*.partial/step-*")) or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, log.read_text()
    assert project.registry.champion("tiny") is None

    done = project.seqline("retrain", TINY)
    assert done.code == 0, done.err
    lines = [json.loads(line) for log in work.glob("weights-*.jsonl") for line in log.read_text().splitlines()]
    resumed = [line for line in lines if line.get("event") == "resume"]
    assert len(resumed) == 1
    assert resumed[0]["step"] >= 5
    assert resumed[0]["repeated"] <= 5
    assert "let in by the gates alone" in done.out
    assert "tiny version 1" in done.out
    champion = project.registry.champion("tiny")
    assert champion is not None
    assert champion.version == "1"
    assert project.seqline("status", "tiny").out.lstrip().startswith("SAFE")
    assert [each.pid for each in servers_of(project.settings.workspace / "prefect")] == [], "the killed run's server is gone"


def test_an_unchanged_retrain_does_nothing(project: Project) -> None:
    before = sorted(project.folder.rglob("*"))
    done = project.seqline("retrain", TINY)
    assert (done.code, "nothing to do" in done.out) == (0, True)
    assert [path for path in sorted(project.folder.rglob("*")) if path not in before] == []


def test_lineage_names_data_commit_spec_and_approver(project: Project) -> None:
    found = project.json("lineage", "tiny@champion")
    assert found["commit"] == project.git("rev-parse", "HEAD").strip()
    assert found["data_md5"] in (project.folder / "data.dvc").read_text()
    assert found["spec"]["name"] == "tiny"
    assert "let in by the gates alone" in json.dumps(found["production"])


def test_an_old_data_dvc_gives_its_bytes_back(project: Project) -> None:
    project.commit("data of version 1")
    old = {path.name: path.read_bytes() for path in (project.folder / "data" / "tiny").iterdir()}
    project.write_spec(test=61)
    pointer = (project.folder / "data.dvc").read_text()
    done = project.seqline("retrain", TINY)
    assert done.code == 0, done.err
    assert (project.folder / "data.dvc").read_text() != pointer
    assert "Promote model" in done.out
    (project.folder / "data.dvc").write_text(pointer)
    pull = subprocess.run(project.command("dvc", "pull", "-q", "-f"), cwd=project.folder, check=False, capture_output=True)
    assert pull.returncode == 0, pull.stderr
    assert {path.name: path.read_bytes() for path in (project.folder / "data" / "tiny").iterdir()} == old


def test_the_second_version_waits_for_a_person(project: Project) -> None:
    status = project.json("status", "tiny")
    assert status["production"] == "1"
    assert status["canary"] == "2"
    assert "Promote model" in status["rollout"]["approval"]
    assert phase(project) == "approval"
    page = project.registry.client.get_model_version("tiny", "2")
    assert "Promote model" in page.description


def test_a_promotion_of_another_version_is_refused_and_the_right_one_lets_it_in(project: Project) -> None:
    client = project.registry.client
    other = client.get_model_version("tiny", "1")
    wrong = client.create_model_version("tiny-prod", "models:/tiny/1", other.run_id, tags=dict(other.tags))
    ticked = project.seqline("rollout", "tiny")
    assert ticked.code == 0, ticked.err
    assert phase(project) == "approval"
    assert "refused" in str(client.get_model_version("tiny-prod", wrong.version).tags)

    waiting = client.get_model_version("tiny", "2")
    client.create_model_version("tiny-prod", "models:/tiny/2", waiting.run_id, tags=dict(waiting.tags))
    done = project.seqline("rollout", "tiny", "--watch")
    assert done.code == 0, done.err
    assert "promoted" in done.out
    champion = project.registry.champion("tiny")
    assert champion is not None
    assert champion.version == "2"
    assert [entry["event"] for entry in project.json("history", "tiny")].count("promoted") == 2


def test_a_canary_that_fails_is_rolled_back_and_no_sender_sees_it(project: Project) -> None:
    project.write_spec(steps=41, test=61)
    with broken_gateway(project, "--version", "3", "--fail", "0.3"):
        done = project.seqline("retrain", TINY, "--json")
        assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["version"] == "3"
    assert told["traffic"]["sent"] > 50
    assert told["traffic"]["failed"] == 0
    rolled = [entry for entry in project.json("history", "tiny") if entry["event"] == "rolled back"]
    assert [entry["version"] for entry in rolled] == ["3"]
    assert project.json("status", "tiny")["production"] == "2"
    assert project.registry.by_alias("tiny", "canary") is None


def test_controller_and_canary_killed_in_mid_stage(project: Project) -> None:
    project.write_spec(steps=42, test=61)
    with broken_gateway(project, "--version", "none"):
        retrain = project.start("flows.cli", "retrain", TINY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: phase(project) == "stage" or retrain.poll() is not None)
        retrain.kill()
        retrain.wait()
        health = httpx.get(f"http://127.0.0.1:{project.port}/healthz", trust_env=False).json()
        psutil.Process(health["engines"]["4"]).kill()
        done = project.seqline("rollout", "tiny", "--watch", "--json")
        assert done.code == 0, done.err
    told = [entry for entry in project.json("history", "tiny") if entry["version"] == "4"]
    weights = [entry["detail"]["weight"] for entry in told if entry["event"] == "stage"]
    assert weights in ([10], [10, 50]), "no stage twice, none left out"
    assert told[-1]["event"] in ("gate opened", "rolled back")
    assert len({entry["id"] for entry in told}) == len(told)


def test_rollback_is_instant_and_told_to_the_registry_later(project: Project) -> None:
    if phase(project) is None:
        pytest.skip("version 4 was rolled back by itself: its engine was killed")
    done = project.seqline("rollback", "tiny", "--why", "I do not like it")
    assert done.code == 0, done.err
    route = project.store.route("tiny")
    assert route is not None
    assert (route.champion, route.canary, route.weight) == ("2", None, 0)
    assert project.seqline("rollout", "tiny").code == 0
    assert phase(project) is None
    assert "I do not like it" in json.dumps(project.json("history", "tiny"))


def test_no_personal_value_is_left_outside_the_quarantine(project: Project) -> None:
    assert project.personal_values_left() == []
