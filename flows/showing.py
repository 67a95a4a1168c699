"""What a person reads of a run in Prefect's UI: its name, its tags, a table of its steps, its scores, links to what it made.

Nothing here decides anything: a run whose server does not take an artifact goes on, and says so in its log. Where a flow's
function is called without Prefect, nothing is shown.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.logging import get_logger
from prefect.runtime import deployment, flow_run

from pipelines.artifact import MANIFEST, Artifact, Report
from pipelines.errors import SeqlineError

if TYPE_CHECKING:
    from flows.settings import Settings
    from pipelines.registry import Registry, Version

T = TypeVar("T")
LOOK_SECONDS = 5.0  # between two looks at a training's log
LONGEST = 60  # characters of a reason in a run's name
TICK = 0.05  # seconds by which a file's time may lie before the clock's


@dataclass
class Step:
    """A step of a run: `found` when an earlier run had made what it makes, `failed` says why it ended without."""

    name: str
    seconds: float = 0.0
    made: str = ""
    found: bool = False
    failed: str = ""

    def row(self) -> dict[str, str]:
        done = f"failed: {self.failed}" if self.failed else "was there" if self.found else "done"
        return {"step": self.name, "took": f"{self.seconds:,.1f} s", "what": done, "made": self.made}


_steps: ContextVar[list[Step] | None] = ContextVar("steps", default=None)


def named() -> str:
    """`synopsis · scheduled · 2026-11-23 03:00`: which model, why, due when (UTC). For `flow_run_name`."""
    due = flow_run.scheduled_start_time.astimezone(UTC)
    return f"{model()} · {reason()} · {due:%Y-%m-%d %H:%M}"


def model() -> str:
    """Whose run this is: its parameter `name`, or the file that its parameter `spec` names."""
    given = flow_run.parameters
    return str(given.get("name") or Path(str(given.get("spec", ""))).stem)


def reason() -> str:
    """Why it runs: its parameter `why`, or who asked for it."""
    if why := str(flow_run.parameters.get("why") or ""):
        return why if len(why) <= LONGEST else f"{why[: LONGEST - 1].rstrip()}…"
    if "auto-scheduled" in flow_run.tags:
        return "scheduled"
    return "asked for in Prefect" if deployment.id else "by hand"


@contextmanager
def shown(name: str) -> Iterator[None]:
    """A run of model `name`: tagged with it, its kind and its reason; when it ends, however it ends, the table of its steps."""
    if FlowRunContext.get() is None:  # called as a function: nobody looks on
        yield
        return
    _show(lambda: _tag([name, flow_run.flow_name or "", f"because: {reason().partition(':')[0]}"]))
    steps: list[Step] = []
    token = _steps.set(steps)
    try:
        yield
    finally:
        _steps.reset(token)
        if steps:
            _table(f"steps-{name}", [step.row() for step in [*steps, _total(steps)]], f"What this run did for {name}")


def _tag(tags: Sequence[str]) -> None:
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, tags=sorted({*flow_run.tags, *filter(None, tags)}))


def _total(steps: Sequence[Step]) -> Step:
    failed, found = sum(bool(step.failed) for step in steps), sum(step.found for step in steps)
    counts = {"new": len(steps) - failed - found, "were there": found, "failed": failed}
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return Step(f"{len(steps)} steps", sum(step.seconds for step in steps), told)


@contextmanager
def step(name: str) -> Iterator[Callable[[object], None]]:
    """Times a step for the table; what is yielded takes its result."""
    steps, began, clock = _steps.get(), time.time(), time.monotonic()
    this = Step(name)
    if steps is not None:
        steps.append(this)

    def made(result: object) -> None:
        if isinstance(result, Artifact):
            this.made = result.path.name
            this.found = (result.path / MANIFEST).stat().st_mtime < began - TICK

    try:
        yield made
    except Exception as error:
        # what others' errors say may quote data
        told = str(error).splitlines()[:1] if isinstance(error, SeqlineError) else []
        this.failed = ": ".join([type(error).__name__, *told])[:200]
        raise
    finally:
        this.seconds = time.monotonic() - clock


class Bar:
    """A progress bar on the run's page; made at the first `show`."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._artifact: UUID | None = None

    def show(self, share: float, text: str) -> None:
        made = self._artifact
        if made is None:
            created = _show(lambda: create_progress_artifact(100 * share, key=self._key, description=text))
            self._artifact = created if isinstance(created, UUID) else None
        else:
            _show(lambda: update_progress_artifact(made, 100 * share, description=text))


@contextmanager
def training(name: str, steps: int, work: Path) -> Iterator[None]:
    """While the block trains in `work`, a progress bar, read from the training's own log; none where there is nothing to do."""
    bar, ended, began = Bar(f"training-{name}"), threading.Event(), time.time()

    def follow() -> None:
        while not ended.wait(LOOK_SECONDS):
            if log := _newest(work.glob(".weights-*.partial/log.jsonl"), began):
                bar.show(*_progress(log, steps))

    thread = threading.Thread(target=copy_context().run, args=(follow,), name="showing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if log := _newest(work.glob("weights-*.jsonl"), began):
        bar.show(1.0, _progress(log, steps)[1])


def _newest(logs: Iterable[Path], began: float) -> Path | None:
    """The log that was written to last, if that was since."""
    written = []
    for log in logs:
        with suppress(FileNotFoundError):  # the training ended, and its folder went
            written.append((log.stat().st_mtime, log))
    at, log = max(written, default=(0.0, Path()))
    return log if at >= began - TICK else None


def _progress(log: Path, steps: int) -> tuple[float, str]:
    """The share of the steps that is done, and a line for a person."""
    from pipelines.training.progress import lines

    facts = list(lines(log))
    losses = [each for each in facts if "loss" in each and "event" not in each]
    checks = [each["loss"] for each in facts if each.get("event") == "validation"]
    last = losses[-1] if losses else {"step": 0}
    told = [f"step {last['step']} of {steps}"]
    told += [f"loss {last['loss']:.3f}"] if losses else []
    told += [f"best validation loss {min(checks):.3f}"] if checks else []
    return min(1.0, last["step"] / max(steps, 1)), ", ".join(told)


def nothing_to_do(name: str, version: str) -> None:
    """Why a retrain ended at once."""
    said = f"**Nothing to do**: {name} version {version} already comes from this data, spec and code."
    _markdown(f"summary-{name}", said, f"Retrain of {name}")


def scored(name: str, report: Report) -> None:
    """A model's verdict, scores and gate rules in one summary; its whole report beside it."""
    scores, gate = (json.loads((report.path / file).read_text()) for file in ("scores.json", "gate.json"))
    closed = [rule["rule"] for rule in gate["rules"] if not rule["passed"]]
    head = f"**The gate is closed** by: {', '.join(closed)}." if closed else "**The gate is open**: every rule passed."
    text = f"{head} {scores['n']} held-out pairs; intervals at {scores['confidence']:.0%}."
    rules = [f"- {'' if rule['passed'] else '**NOT** '}**{rule['rule']}**: {rule['reason']}" for rule in gate["rules"]]
    lines = [f"# {name}", "", text, "", *_beside(scores), "", "## Gate", "", *rules]
    _markdown(f"summary-{name}", "\n".join(lines), f"Retrain of {name}: scores beside the baselines', the gate's rules")
    reported(name, report)


def _beside(scores: Mapping[str, Any]) -> Iterator[str]:
    """The metric that gates, this model's and the baselines': three columns, which fit Prefect's page."""
    from pipelines.scoring.report.markdown import METRIC_NAMES, SYSTEMS

    def cell(found: Mapping[str, Any] | None, sign: str = "") -> str:
        return "" if not found else "{value:{0}.1f} [{1:{0}.1f}, {2:{0}.1f}]".format(sign, *found["interval"], **found)

    metric = scores["metric"]
    yield f"| | {METRIC_NAMES.get(metric, metric)} | this model minus it |"
    yield "|---|---:|---:|"
    rows = {"model": scores["model"], **scores["baselines"]}
    for system in SYSTEMS:
        if system in rows:
            yield f"| {SYSTEMS[system]} | {cell(rows[system][metric])} | {cell(rows[system].get('difference'), '+')} |"


def reported(name: str, report: Report) -> None:
    """The whole report.md; its pictures, which Prefect cannot show, stand in report.html."""
    lines = (report.path / "report.md").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("!["))
    _markdown(f"report-{name}", text, f"The report of {name}")


def linked(version: "Version", registry: "Registry", settings: "Settings", rollout: int | None = None) -> None:
    """Where to look further: the version's page in MLflow, its report there and, once it ended, the page of its rollout."""
    name, ui = version.name, settings.mlflow_ui
    experiment = registry.client.get_run(version.run_id).info.experiment_id
    files = f"{ui}/#/experiments/{experiment}/runs/{version.run_id}/artifacts"
    _link(f"version-{name}", f"{ui}/#/models/{name}/versions/{version.version}", f"{name} version {version.version} in MLflow")
    _link(f"report-page-{name}", f"{files}/model/report/report.html", f"The report of version {version.version} in MLflow")
    if rollout:
        said = f"The rollout's page in MLflow, once it ended; until then: seqline page {name}"
        _link(f"rollout-page-{name}", f"{files}/rollout/{rollout}.html", said)


def said(name: str, what: str, text: str) -> None:
    """`text` (Markdown) as the artifact WHAT-NAME."""
    _markdown(f"{what}-{name}", text, f"{what.capitalize()} of {name}")


def tabled(name: str, what: str, rows: Sequence[dict[str, Any]], text: str) -> None:
    """`rows` as the artifact WHAT-NAME."""
    _table(f"{what}-{name}", rows, text)


def _markdown(key: str, text: str, about: str) -> None:
    _show(lambda: create_markdown_artifact(text, key=key, description=about))


def _table(key: str, rows: Sequence[dict[str, Any]], about: str) -> None:
    _show(lambda: create_table_artifact(list(rows), key=key, description=about))


def _link(key: str, url: str, text: str) -> None:
    _show(lambda: create_link_artifact(url, text, key=key, description=text))


def _show(make: Callable[[], T]) -> T | None:
    """What `make` makes; None where no run is, or its server does not take it."""
    if FlowRunContext.get() is None:
        return None
    try:
        return make()
    except (httpx.HTTPError, PrefectException) as error:
        get_logger("seqline").warning("Prefect did not take what the run showed: %s", type(error).__name__)
        return None
