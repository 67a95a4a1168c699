"""infra/prefect.yaml, written from the specs in models/: python -m flows.stack.deployments

A deployment is `KIND/NAME` (`retrain/synopsis`), tagged with both, and never overlaps with itself: a run that is due while the
one before is at work is cancelled by the server, before any process starts for it.

The rollout's is due each minute while a rollout is open, so that a controller that died is started again, and each five
(`schedule.idle`) while none is: a run that finds none takes 3.5 CPU seconds, nearly all of them to import Prefect. `pace`
switches; should that fail, the next run finds the open rollout, watches it, and switches.
"""

import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from flows.settings import Settings
from pipelines.spec import Spec, kind_of, load, load_judge

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

POOL = "seqline"
PREFECT = "3.8.8"
PLACE = Path("infra", "prefect.yaml")
WRITTEN = """\
# Written by `python -m flows.stack.deployments` from the specs in models/: change `schedule:` there.
# `seqline up` (or `prefect deploy --all --prefect-file infra/prefect.yaml`) registers these deployments.
"""


def written(project: Path) -> str:
    """What belongs into infra/prefect.yaml of `project`.

    Raises:
        UserError: a spec in models/ breaks rules.
    """
    yaml, stream = YAML(), io.StringIO()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump({"name": POOL, "prefect-version": PREFECT, "deployments": list(deployments(project))}, stream)
    return WRITTEN + stream.getvalue()


def deployments(project: Path) -> Iterator[dict[str, Any]]:
    """Every model's and every judge's; a base is made once, by a person."""
    for path in sorted((project / "models").glob("*.yaml")):
        where = path.relative_to(project).as_posix()
        if kind_of(path) == "seq2seq":
            yield from of_model(load(path), where)
        elif kind_of(path) == "judge":
            judge = load_judge(path)
            said = "The models' data to a judge of their outputs; a new version is champion when its gate is open."
            yield _deployment(judge.name, "judging", said, {"spec": where}, judge.schedule)


def of_model(spec: Spec, path: str) -> Iterator[dict[str, Any]]:
    """The deployments of the model whose YAML lies at `path`, relative to the project."""
    name, when = spec.name, spec.schedule
    said = "Raw data to a version in production; does nothing when nothing changed."
    yield _deployment(name, "retrain", said, {"spec": path}, when.retrain)
    said = "Starts the controller of an open rollout again if it died; it ticks every 2 s by itself."
    yield _deployment(name, "rollout", said, {"name": name}, when.rollout)
    said = "Looks at drift, quality, labels and sources; starts a retrain when there is a reason."
    yield _deployment(name, "watch", said, {"name": name}, when.watch)
    said = "Deletes samples older than serving.review.keep_days from every store."
    yield _deployment(name, "retention", said, {"name": name}, when.retention)
    said = "Looks for what was scrubbed wherever it may not stand; fails when it finds any."
    yield _deployment(name, "auditing", said, {"name": name}, when.audit)


def _deployment(name: str, kind: str, said: str, parameters: dict[str, str], cron: str) -> dict[str, Any]:
    return {
        "name": name,
        "entrypoint": f"flows.{kind}.{kind}",
        "description": said,
        "tags": [name, kind],
        "parameters": parameters,
        "schedules": [{"cron": cron, "timezone": "UTC"}],
        "concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"},
        "work_pool": {"name": POOL},
    }


def pace(spec: Spec, rollout_open: bool) -> None:
    """Have the rollouts of the model looked at each minute while one is open, and each five once none is. A schedule that a
    person gave the deployment, with a cron line of its own, stays as it is.

    Where no server answers, or it has no such deployment, nothing happens.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException

    lines = spec.schedule.idle, spec.schedule.rollout
    now, wanted = lines if rollout_open else reversed(lines)
    with suppress(httpx.HTTPError, PrefectException), get_client(sync_client=True) as client:
        _switch(client, f"rollout/{spec.name}", now, wanted)  # or the next run does


def tidy(spec: Spec) -> None:
    """Forget the runs of the model's rollout deployment that never began, another being at work: one a minute, they hide all
    others. Where no server answers, or it has no such deployment, nothing happens.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException

    with suppress(httpx.HTTPError, PrefectException), get_client(sync_client=True) as client:
        for run in _never_begun(client, f"rollout/{spec.name}"):
            client.delete_flow_run(run.id)


def _never_begun(client: "SyncPrefectClient", deployment: str) -> "Iterator[FlowRun]":
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterId,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    found = DeploymentFilter(id=DeploymentFilterId(any_=[client.read_deployment_by_name(deployment).id]))
    cancelled = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CANCELLED])))
    while page := client.read_flow_runs(deployment_filter=found, flow_run_filter=cancelled):
        runs = [run for run in page if run.run_count == 0]
        yield from runs
        if not runs:
            return


def _switch(client: "SyncPrefectClient", deployment: str, now: str, wanted: str) -> None:
    """Only where it is otherwise: each switch has the server plan the deployment's runs anew."""
    from prefect.client.schemas.schedules import CronSchedule

    found = client.read_deployment_by_name(deployment)
    for planned in found.schedules:
        if isinstance(planned.schedule, CronSchedule) and planned.schedule.cron == now != wanted:
            client.update_deployment_schedule(found.id, planned.id, schedule=CronSchedule(cron=wanted, timezone="UTC"))


if __name__ == "__main__":
    settings = Settings()
    (settings.project / PLACE).write_text(written(settings.project), encoding="utf-8")
