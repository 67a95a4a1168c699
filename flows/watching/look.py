"""`seqline watch NAME`: one look at a model in production; if there is a reason, and nothing speaks against it, a retrain.

What was seen and decided lies in the workspace, for whoever shows it: watch/NAME.json, drift/NAME.json.
"""

import logging
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.reporting import report
from flows.settings import Settings, find_spec
from flows.sole import Busy, sole
from pipelines.errors import Transient
from pipelines.spec import load

if TYPE_CHECKING:
    from pipelines.monitoring import Drift
    from pipelines.monitoring.triggers import Attempt, Decision
    from pipelines.spec import Spec

Name = Annotated[str, typer.Argument(help="The model's name, or the path of its YAML.")]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Look and say; keep no verdict and start nothing (caches under work/ and live/ are filled)."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class Looked:
    """What a watch saw and decided, and what came of it: `started` is empty where no retrain was started."""

    name: str
    at: float
    decision: "Decision"
    drift: "Drift | None"
    last: "Attempt | None"
    started: str = ""

    def plain(self) -> dict[str, Any]:
        """As watch/NAME.json."""
        return {
            "name": self.name,
            "at": self.at,
            "triggers": [asdict(each) for each in self.decision.triggers],
            "decision": {"retrain": self.decision.retrain, "why": self.decision.why},
            "backoff_until": self.decision.backoff_until,
            "last": asdict(self.last) if self.last else None,
        }

    def lines(self) -> list[str]:
        """For a terminal."""
        shown = [f"{each.kind:<14} {'FIRED' if each.fired else '-':<6} {each.said}" for each in self.decision.triggers]
        said = "retrain: " + self.decision.why if self.decision.retrain else self.decision.why
        return [*shown, f"decision       {said}", *([f"started        {self.started}"] if self.started else [])]


def watch(name: Name, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Is there a reason to train again (schedule, drift, quality, hallucination, labels, sources)? If so, do it."""
    settings = Settings().apply()
    path = find_spec(name, settings)
    found = look(path, settings, time.time(), dry_run=dry_run)
    where = "" if dry_run else str(settings.folder("watch") / f"{found.name}.json")
    lines = [*found.lines(), *([f"written        {where}"] if where else []), f"next           `seqline status {found.name}`"]
    report({**found.plain(), "started": found.started}, as_json, "\n".join(lines))


def look(path: Path, settings: Settings, now: float, *, dry_run: bool = False) -> Looked:
    """One look at the model of the spec `path`, at `now` (seconds since the epoch), and the retrain that it asks for.

    A retrain that runs in this process is over when this returns. What it made is told by the next look.

    Raises:
        Busy: another watch looks at this model. Whatever a retrain raises that runs here: the attempt stands all the same, but
            for Busy and Transient from before it began.
    """
    from flows import receipt
    from flows.commands import cost
    from flows.watching import attempts, starting
    from flows.watching.reasons import Looks
    from pipelines.monitoring.triggers import decide
    from pipelines.registry import Registry
    from pipelines.rollout.store import Store

    spec = load(path)
    with sole("watch", spec.name, settings):
        store, registry = Store(settings.database), Registry(settings.mlflow, settings.artifacts)
        store.create()
        busy = starting.at_work(spec.name, settings)
        history = attempts.history(spec.name, bool(busy), registry, store, settings)
        looks = Looks(spec, path, registry, settings, now, keep=not dry_run)
        observed = looks.observed(busy or starting.held(spec.name, store, settings), history[-1].at if history else None)
        since = attempts.relieved_at(spec.name, registry, store, settings)
        decision = decide(observed, spec.watch, [each for each in history if each.at > since])
        if decision.retrain and receipt.find(spec, receipt.key(spec, path, settings), settings):
            # What calls for it brought no data that training reads: nothing is started, and no back-off is spent on it.
            decision = replace(decision, retrain=False, why=f"a retrain would find nothing new ({decision.why})")
        found = Looked(spec.name, now, decision, looks.drift, history[-1] if history else None)
        if dry_run:
            return found
        try:
            cost.look(spec, settings, now)
        except Exception:  # what it cost is shown beside: whatever is wrong there must keep no retrain
            logging.getLogger("seqline.watch").exception("what %s costs cannot be told", spec.name)
        if not decision.retrain:
            keep(found, settings)
            return found
        return start(found, spec, path, settings)


def start(found: Looked, spec: "Spec", path: Path, settings: Settings) -> Looked:
    """Start the retrain that was decided, written down first: a kill must not make it forgotten. Raises as `look`."""
    from flows.watching import attempts, starting
    from pipelines.monitoring.triggers import Attempt

    why, at = found.decision.why, found.at
    begun = replace(found, last=Attempt(at, why))
    attempts.add(found.name, at, why, settings)
    keep(begun, settings)
    with ExitStack() as around:
        try:
            begin = around.enter_context(starting.ready(spec, path, settings))
        except (Busy, Transient):  # says nothing of what a retrain would bring
            attempts.withdraw(found.name, at, settings)
            keep(found, settings)
            raise
        return replace(begun, started=begin(why, at))


def keep(found: Looked, settings: Settings) -> None:
    """Write what was seen and decided into the workspace."""
    from flows.watching.attempts import write

    write(settings.folder("watch") / f"{found.name}.json", found.plain())
    if found.drift:
        told = found.drift.plain()
        for side in told["sides"]:
            side["examples"] = []  # texts, scrubbed as they are, stay on the page and in MLflow, where their age is watched
        write(settings.folder("drift") / f"{found.name}.json", {**told, "at": found.at})
