"""What a killed stack leaves behind: processes that hold its ports, and runs that Prefect takes for alive."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import Running
from prefect.testing.utilities import prefect_test_harness

from flows.settings import Settings
from flows.stack import members
from flows.stack.members import MARK, down, running, stop_members
from flows.zombies import bury_pool
from pipelines.errors import UserError


def settings_of(folder: Path) -> Settings:
    return Settings.model_validate({"SEQLINE_PROJECT": folder, "SEQLINE_HOME": folder / ".seqline"})


def sleeper(**environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={**os.environ, **environment})


def test_only_what_this_workspaces_stack_started_is_stopped(tmp_path: Path) -> None:
    ours, theirs = settings_of(tmp_path / "ours"), settings_of(tmp_path / "theirs")
    with sleeper(**{MARK: str(ours.workspace)}) as left, sleeper(**{MARK: str(theirs.workspace)}) as other:
        assert stop_members(ours) == 1
        assert not psutil.pid_exists(left.pid)
        assert other.poll() is None
        other.kill()


def test_down_without_a_stack_says_so(tmp_path: Path) -> None:
    assert down(settings_of(tmp_path)) is False


def test_a_stack_is_known_by_its_workspace_whatever_the_clock_or_a_torn_file_says(tmp_path: Path) -> None:
    ours, theirs = settings_of(tmp_path / "ours"), settings_of(tmp_path / "theirs")
    with sleeper(**{MARK: str(ours.workspace)}) as stack, sleeper(**{MARK: str(theirs.workspace)}) as other:
        told = ours.folder("run") / "stack.json"
        for content, found in (
            ({"pid": stack.pid, "created": psutil.Process(stack.pid).create_time() - 3_600}, True),
            ({"pid": other.pid}, False),
            ({"pid": os.getpid()}, False),
        ):
            told.write_text(json.dumps(content))
            assert (running(ours) is not None) is found
        for torn in ("", '{"pid": ', "7"):
            told.write_text(torn)
            assert running(ours) is None
        stack.kill()
        other.kill()


def test_a_second_stack_is_not_told_up_on_the_addresses_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = settings_of(tmp_path / "ours")
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        url = f"http://127.0.0.1:{theirs.getsockname()[1]}"
        monkeypatch.setattr(members, "addresses", lambda *_: [members.Address("MLflow", url, f"{url}/health")])
        with pytest.raises(UserError, match=f"MLflow: {url} is taken"):
            list(members.up("tiny", ours))
    assert not (ours.workspace / "run" / "stack.json").exists()


def test_a_stack_with_another_models_gateway_is_not_told_as_this_ones(tmp_path: Path) -> None:
    ours = settings_of(tmp_path / "ours")
    with sleeper(**{MARK: str(ours.workspace), "SEQLINE_MODEL": "synopsis"}) as stack:
        (ours.folder("run") / "stack.json").write_text(json.dumps({"pid": stack.pid}))
        try:
            with pytest.raises(UserError, match="runs with synopsis's gateway: `seqline down` first"):
                next(members.up("packages-de", ours))
            assert stack.poll() is None
        finally:
            stack.kill()


@pytest.fixture
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=180):
        yield


@flow
def controller() -> None:
    """Stands for a scheduled flow."""


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Prefect's harness leaves a socket open
@pytest.mark.usefixtures("prefect")
def test_the_runs_of_killed_processes_are_buried_and_living_ones_are_not() -> None:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="seqline", type="process"))
        flow_id = client.create_flow(controller)
        deployment = client.create_deployment(flow_id, "synopsis", work_pool_name="seqline")
        runs = [client.create_flow_run_from_deployment(deployment) for _ in range(2)]
        alive, dead = runs
        with sleeper(PREFECT__FLOW_RUN_ID=str(alive.id)) as process, sleeper() as gone:
            gone.kill()
            gone.wait()
            for run, pid in ((alive, process.pid), (dead, gone.pid)):
                client.set_flow_run_state(run.id, Running(), force=True)
                client.update_flow_run(run.id, infrastructure_pid=str(pid))
            assert bury_pool("seqline") == 1
            process.kill()
        assert client.read_flow_run(alive.id).state_name == "Running"
        assert client.read_flow_run(dead.id).state_name == "Crashed"
