"""Prefect runs whose process was killed: Prefect shows them RUNNING for ever, and their slots block the next ones.

A run is dead for certain in two cases: we hold the lock that it held (the system freed it with its process), or its
process was on this machine and is gone.
"""

import socket
from contextlib import suppress
from pathlib import Path

import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.runtime import flow_run
from prefect.states import Crashed

ALIVE = FlowRunFilter(
    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]))
)


def bury_rivals(flow: str, parameter: str, value: str) -> int:
    """Mark every other unfinished run of `flow` with this parameter as crashed: we hold the lock that it held."""
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])), flow_run_filter=ALIVE)
        own = flow_run.get_id()
        dead = [run for run in found if run.parameters.get(parameter) == value and str(run.id) != own]
        return _bury(client, [run for run in dead if run.state_type == StateType.RUNNING])


def bury_pool(pool: str) -> int:
    """Mark as crashed every unfinished run of `pool` whose process was on this machine and is gone.

    A run that no process took yet (PENDING, no pid) is taken for dead too: call this before the machine's worker starts.
    """
    with get_client(sync_client=True) as client:
        of_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
        found = client.read_flow_runs(work_pool_filter=of_pool, flow_run_filter=ALIVE)
        return _bury(client, [run for run in found if _gone(run)])


def _gone(run: FlowRun) -> bool:
    """Prefect's process worker writes the pid (`host:pid` in some versions), and gives the process its run's id."""
    if run.infrastructure_pid is None:
        return True
    host, _, pid = run.infrastructure_pid.rpartition(":")
    if host not in ("", socket.gethostname()):
        return False
    try:
        return psutil.Process(int(pid)).environ().get("PREFECT__FLOW_RUN_ID") != str(run.id)
    except psutil.NoSuchProcess:
        return True


def bury_servers(home: Path) -> int:
    """Stop the temporary Prefect servers over `home` whose flow was killed: Prefect starts one for a flow that is called from
    Python without a server (commands bring their own, see prefect_server), as a child that outlives it."""
    orphans = [process for process in servers_of(home) if process.ppid() == 1]
    for process in orphans:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return len(orphans)


def servers_of(home: Path) -> list[psutil.Process]:
    """The Prefect servers that Prefect started by itself over `home`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            temporary = "prefect.server.api.server:create_app" in " ".join(process.cmdline())
            if temporary and process.environ().get("PREFECT_HOME") == str(home):
                found.append(process)
    return found


def _bury(client: SyncPrefectClient, runs: list[FlowRun]) -> int:
    for run in runs:
        client.set_flow_run_state(run.id, Crashed(message="its process was killed; the next run carries on"), force=True)
    return len(runs)
