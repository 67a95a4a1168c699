"""Scheduled runs as `seqline up` has them: a real Prefect server, its scheduler and a process worker; and what they show."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

import httpx
import psutil
import pytest
from pydantic import ValidationError

from flows.settings import DEPENDENCY_DEFAULTS
from flows.stack import deployments, prefect_tables
from pipelines.spec import Schedule
from tests.flows.project import Project, free_port

T = TypeVar("T")
PATIENCE = 240.0  # seconds: the machine may be busy with other things
SOON = 'schedule: {rollout: "* * * * *", idle: "7 7 7 7 *", retention: "* * * * *", watch: "7 7 7 7 *"}\n'


class Prefect:
    """A server, asked over HTTP; and the processes that know of it."""

    def __init__(self, project: Project) -> None:
        self.project, port = project, free_port()
        self.url = f"http://127.0.0.1:{port}/api"
        home = project.settings.folder("prefect")
        prefect_tables.lay(home)
        self.environment = {
            **project.environment,
            **DEPENDENCY_DEFAULTS,
            "SEQLINE_PROJECT": str(project.folder),
            "SEQLINE_HOME": str(project.settings.workspace),
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT1M",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "3",
        }

    @contextmanager
    def member(self, *arguments: str) -> Iterator[None]:
        """`python -m prefect ARGUMENTS` beside the block, stopped with all that it started."""
        log = self.project.settings.folder("logs") / f"{arguments[0]}.log"
        with log.open("w") as stream:
            command = self.project.command("prefect", *arguments)
            process = subprocess.Popen(command, cwd=self.project.folder, env=self.environment, stdout=stream, stderr=stream)
        try:
            yield
        finally:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            for each in family:
                each.kill()
            process.wait()
            psutil.wait_procs(family)

    def run(self, *arguments: str) -> None:
        command = self.project.command(*arguments)
        done = subprocess.run(
            command, cwd=self.project.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def up(self) -> bool:
        return httpx.get(f"{self.url}/health", timeout=PATIENCE, trust_env=False).is_success

    def ask(self, what: str, **content: Any) -> Any:
        """What the server answers to a POST."""
        answer = httpx.post(f"{self.url}/{what}", json=content, timeout=PATIENCE, trust_env=False)
        return answer.raise_for_status().json()

    def runs(self, kind: str, *states: str) -> list[dict[str, Any]]:
        """Runs of the flow `kind` in these states, in the order in which they were due."""
        wanted = {"state": {"type": {"any_": states}}}
        order = "EXPECTED_START_TIME_ASC"
        return list(self.ask("flow_runs/filter", flows={"name": {"any_": [kind]}}, flow_runs=wanted, sort=order, limit=20))

    def cron(self, kind: str) -> str:
        """The cron line by which the server plans runs of the deployment."""
        found = httpx.get(f"{self.url}/deployments/name/{kind}/tiny", timeout=PATIENCE, trust_env=False)
        (planned,) = found.raise_for_status().json()["schedules"]
        return str(planned["schedule"]["cron"])

    def artifact(self, key: str) -> Any:
        """The newest artifact's content: Markdown, rows, or a percentage."""
        (found,) = until(lambda: self.ask("artifacts/latest/filter", artifacts={"key": {"any_": [key]}}))
        return json.loads(found["data"]) if found["type"] == "table" else found["data"]


def until(true: Callable[[], T | None]) -> T:
    """What `true` says at last; a server that is not up, or too busy to answer, has not said it yet."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(httpx.HTTPError):
            if found := true():
                return found
        assert time.monotonic() < deadline, f"still not so after {PATIENCE} s"
        time.sleep(1)


def first(prefect: "Prefect", kind: str, state: str) -> dict[str, Any]:
    """The first run of `kind` in `state`, once there is one."""
    return until(lambda: next(iter(prefect.runs(kind, state)), None))


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    """A server that has the deployments of a small project, due each minute."""
    project = Project(tmp_path_factory.mktemp("scheduled"))
    spec = project.folder / "models" / "tiny.yaml"
    spec.write_text(spec.read_text() + SOON)
    (project.folder / "infra").mkdir()
    (project.folder / deployments.PLACE).write_text(deployments.written(project.folder))
    found = Prefect(project)
    with ExitStack() as around:
        around.enter_context(found.member("server", "start", "--host", "127.0.0.1"))
        until(found.up)
        found.run("prefect", "work-pool", "create", deployments.POOL, "--type", "process")
        found.run("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(deployments.PLACE))
        yield found


def test_scheduled_runs_end_and_one_that_overlaps_never_begins(prefect: Prefect) -> None:
    planned = first(prefect, "rollout", "SCHEDULED")
    first(prefect, "retention", "SCHEDULED")
    due = {"type": "SCHEDULED", "state_details": {"scheduled_time": planned["expected_start_time"]}}
    until(lambda: prefect.ask(f"deployments/{planned['deployment_id']}/create_flow_run", state=due))
    with prefect.member("worker", "start", "--pool", deployments.POOL, "--type", "process"):
        rollout, retention = (first(prefect, kind, "COMPLETED") for kind in ("rollout", "retention"))
        overlapping = first(prefect, "rollout", "CANCELLED")
    assert "rollout" in rollout["tags"]
    assert {"tiny", "retention", "auto-scheduled", "because: scheduled"} <= set(retention["tags"])
    minute = retention["expected_start_time"][:16].replace("T", " ")
    assert retention["name"] == f"tiny · scheduled · {minute}"
    assert (rollout["run_count"], overlapping["run_count"], overlapping["infrastructure_pid"]) == (1, 0, None)
    swept = {row["what"]: row["value"] for row in prefect.artifact("retention-tiny")}
    assert (swept["sampled answers deleted"], swept["sampled answers kept"], swept["the oldest of them"]) == (0, 0, "none")
    assert prefect.cron("rollout") == "7 7 7 7 *", "no rollout is open"


def test_a_cron_line_of_a_persons_own_stays(prefect: Prefect) -> None:
    """Switched are the two lines of the YAML, to and fro; what somebody set in Prefect's pages is theirs."""
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.schedules import CronSchedule

    def lines() -> list[str]:
        return sorted(each.schedule.cron for each in client.read_deployment_by_name("rollout/tiny").schedules)  # type: ignore[union-attr]

    with SyncPrefectClient(prefect.url) as client:
        found = client.read_deployment_by_name("rollout/tiny")
        before = lines()
        client.create_deployment_schedules(found.id, [(CronSchedule(cron="13 5 * * 1", timezone="UTC"), True)])
        for now, wanted in (("7 7 7 7 *", "* * * * *"), ("* * * * *", "7 7 7 7 *")):
            deployments._switch(client, "rollout/tiny", now, wanted)
            assert lines() == sorted(["13 5 * * 1", wanted])
        (theirs,) = [each for each in client.read_deployment_by_name("rollout/tiny").schedules if each.schedule.cron[0] == "1"]  # type: ignore[union-attr]
        client.delete_deployment_schedule(found.id, theirs.id)
        assert lines() == ["7 7 7 7 *"] == before


def test_what_a_run_shows(prefect: Prefect) -> None:
    prefect.run("tests.flows.shown", str(prefect.project.settings.folder("work", "tiny")))
    (run,) = prefect.runs("retrain", "FAILED")
    assert run["name"].startswith("tiny · drift: other words · 20")
    assert set(run["tags"]) == {"tiny", "retrain", "because: drift"}
    steps = [(row["step"], row["what"], row["made"]) for row in prefect.artifact("steps-tiny")]
    assert steps == [
        ("scrub", "done", "clean-2"),
        ("scrub again", "was there", "clean-1"),
        ("train", "done", ""),
        ("check the data", "failed: UserError: pairs.csv: row 3: has no target", ""),
        ("4 steps", "done", "2 new, 1 were there, 1 failed"),
    ]
    assert prefect.artifact("training-tiny") == 100
    assert "tiny version 7 already comes from" in prefect.artifact("summary-tiny")
    assert prefect.cron("rollout") == "* * * * *", "one is open"
    assert prefect.runs("rollout", "CANCELLED") == []


@pytest.mark.parametrize("line", ["@hourly", "99 99 x y z", "* * * * * *", ""])
def test_a_cron_line_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(ValidationError, match="5 fields"):
        Schedule(watch=line)
