"""What retrains took, from Prefect's memory of their steps: those that a gate closed or that broke, too.

A step's wall time counts, not the flow's: that also waits for a rollout. Prefect knows no CPU seconds.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from flows.settings import Settings, find_spec
from pipelines.monitoring.cost import HOUR, Retrain

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, TaskRun

FLOW, REGISTER = "retrain", "register"
PAGE = 200
SLACK = 5.0  # seconds between two clocks' readings of one moment


def retrains(name: str, registered: dict[str, float], since: float, per_hour: float, settings: Settings) -> list[Retrain]:
    """The retrains of model `name` that began since then (seconds since the epoch) and have ended, oldest first.

    `registered` says when each version was: it is the one of the retrain that registered it.
    """
    from prefect.client.orchestration import get_client

    from flows.stack.prefect_server import served

    path = find_spec(name, settings).resolve()
    with served(settings), get_client(sync_client=True) as client:
        found = [
            _retrain(_steps(run, client), registered, per_hour)
            for run in _runs(client, since)
            if run.end_time is not None and _spec_of(run, settings) == path
        ]
    return sorted((each for each in found if each), key=lambda each: each.at)


def _runs(client: "SyncPrefectClient", since: float) -> "list[FlowRun]":
    from datetime import UTC, datetime

    from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterStartTime

    after = FlowRunFilter(start_time=FlowRunFilterStartTime(after_=datetime.fromtimestamp(since, UTC)))
    of = FlowFilter(name=FlowFilterName(any_=[FLOW]))
    runs: list[FlowRun] = []
    while len(page := client.read_flow_runs(flow_filter=of, flow_run_filter=after, limit=PAGE, offset=len(runs))) == PAGE:
        runs += page
    return [*runs, *page]


def _spec_of(run: "FlowRun", settings: Settings) -> Path:
    return (settings.project / str(run.parameters.get("spec", ""))).resolve()


def _steps(run: "FlowRun", client: "SyncPrefectClient") -> "list[TaskRun]":
    """The steps of a run that have ended."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    found = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])), limit=PAGE)
    return [each for each in found if each.start_time is not None and each.end_time is not None]


def _retrain(steps: "list[TaskRun]", registered: dict[str, float], per_hour: float) -> Retrain | None:
    """None of a run that found nothing to do."""
    if not steps:
        return None
    spans = [(each.name, each.start_time.timestamp(), each.end_time.timestamp()) for each in steps]  # type: ignore[union-attr]
    seconds = sum(ended - began for _, began, ended in spans)
    made = [
        version
        for name, began, ended in spans
        for version, at in registered.items()
        if name.rpartition("-")[0] == REGISTER and began - SLACK <= at <= ended + SLACK
    ]
    return Retrain(made[-1] if made else None, max(ended for _, _, ended in spans), seconds, seconds * per_hour / HOUR)
