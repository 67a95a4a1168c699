"""Where a retrain is started that nobody asked for by hand, and what keeps it from being started now. Never two at once.

Where a Prefect server has the deployment `retrain/NAME` and a worker that takes its runs, it is a run of that deployment; else
it runs here. Either way it holds the lock of retrains (`sole`) while it works, so that two at once are impossible even where
two watches of different machines look at the same moment: the second is refused.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flows.settings import Settings
from flows.sole import Busy, sole
from pipelines.errors import Transient

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

    from pipelines.rollout.store import Store
    from pipelines.spec import Spec

Start = Callable[[str, float], str]
"""Starts a retrain because of the first, at the second (seconds since the epoch), and says what was done."""
NOTHING_TO_DO = "retrained here: nothing to do, neither data nor spec nor code changed"


def at_work(name: str, settings: Settings) -> str:
    """Says that a retrain of `name` is under way, here or as a run of its deployment, or due; empty where none is."""
    try:
        with sole("retrain", name, settings):
            pass
    except Busy:
        return "a retrain is at work"
    with _asking(settings) as client:
        found = client and deployed(client, name)
        return f"a run of retrain/{name} is under way in Prefect" if client and found and _unfinished(client, found) else ""


def held(name: str, store: "Store", settings: Settings) -> str:
    """Why a retrain would be of no use now: a rollout is open, a person froze the model or paused its deployment; or empty."""
    from pipelines.rollout import holding

    with store.transaction() as connection:
        rollout, hold = store.open_rollout(name, connection), holding.held(name, None, connection)
    if rollout:
        return f"version {rollout.version} is being rolled out"
    if hold:
        return hold.said
    with _asking(settings) as client:
        found = client and deployed(client, name)
        return f"retrain/{name} is paused in Prefect" if found and found.paused else ""


@contextmanager
def ready(spec: "Spec", path: Path, settings: Settings) -> Iterator[Start]:
    """All that a retrain needs to begin, in the block: what is given starts it, as a run of its deployment or here.

    Raises:
        Busy: one is at work. Transient: the disk is full, Prefect or a source does not answer. UserError: the data is wrong.
    """
    with _asking(settings) as client:
        found = client and deployed(client, spec.name)
        if client and found and taken(client, found):
            yield partial(_as_a_run, client, found)
            return
    with _here(spec, path, settings) as start:
        yield start


def _as_a_run(client: "SyncPrefectClient", found: "DeploymentResponse", why: str, at: float) -> str:
    """Asked twice with the same `at`, it is started once."""
    key = f"watch {found.name} {at}"
    run = client.create_flow_run_from_deployment(found.id, parameters={"why": why}, idempotency_key=key)
    return f"started as run {run.id} of retrain/{found.name} in Prefect"


@contextmanager
def _here(spec: "Spec", path: Path, settings: Settings) -> Iterator[Start]:
    """The whole retrain in this process, as `seqline retrain` does it."""
    from flows import receipt
    from pipelines import sources

    settings.check_disk()
    with sole("retrain", spec.name, settings):
        if receipt.find(spec, receipt.key(spec, path, settings), settings):
            yield lambda _why, _at: NOTHING_TO_DO
            return
        # What is wrong with the data is told before the seconds that Prefect's start costs; the flow finds what is made here.
        sources.ingest(spec.data, path.parent, settings.source_cache, settings.quarantine(spec.name), settings.source_urls)
        from flows.stack.prefect_server import served

        with served(settings):
            yield partial(_retrained, path)


def _retrained(path: Path, why: str, _at: float) -> str:
    from flows.retrain import retrain

    made = retrain(str(path), why=why)
    return NOTHING_TO_DO if made is None else f"retrained here: version {made.version.version}"


@contextmanager
def _asking(settings: Settings) -> "Iterator[SyncPrefectClient | None]":
    """A client of the Prefect server that the environment names, or of `seqline up`'s; None where there is none.

    Raises:
        Transient: there should be one, and it does not answer.
    """
    import httpx
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.settings import get_current_settings

    from flows.stack import members as stack

    url = get_current_settings().api.url or (stack.PREFECT_API if stack.running(settings) else None)
    if not url:
        yield None
        return
    try:
        with SyncPrefectClient(url) as client:
            yield client
    except httpx.TransportError as error:
        raise Transient(
            f"Prefect at {url} does not answer ({type(error).__name__}): start it, or unset PREFECT_API_URL"
        ) from None


def deployed(client: "SyncPrefectClient", name: str) -> "DeploymentResponse | None":
    """The deployment of model `name`'s retrain, if the server has it."""
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(f"retrain/{name}")
    except ObjectNotFound:
        return None


def taken(client: "SyncPrefectClient", found: "DeploymentResponse") -> bool:
    """Whether a worker is there that takes its runs."""
    if not found.work_pool_name:
        return False
    return any(worker.status == "ONLINE" for worker in client.read_workers_for_work_pool(found.work_pool_name))


def _unfinished(client: "SyncPrefectClient", found: "DeploymentResponse") -> bool:
    """Whether a run of it is at work, or should be: one of the schedule's that is due later is not."""
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterId,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    states = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[found.id])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states))),
    )
    now = datetime.now(UTC)
    return any(
        run.state_type is not StateType.SCHEDULED or run.expected_start_time is None or run.expected_start_time <= now
        for run in runs
    )
