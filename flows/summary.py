"""The end of a retrain: what was made, how good it is, where it lies, what to do next."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.settings import Settings
from pipelines.artifact import Clean
from pipelines.scoring.report.markdown import summary as scores

if TYPE_CHECKING:
    from flows.retrain import Retrained
    from flows.rollout import Watched
    from pipelines.spec import Spec


def facts(made: "Retrained", settings: Settings) -> dict[str, Any]:
    """The summary as JSON."""
    watched = made.watched
    return {
        "name": made.version.name,
        "version": made.version.version,
        "run_id": made.version.run_id,
        "report": str(made.report.path / "report.html"),
        "scores": json.loads((made.report.path / "scores.json").read_text()),
        "privacy": json.loads((made.clean.path / "scrub.json").read_text()),
        "rollout": watched.outcome.summary if watched else None,
        "waiting_for_approval": bool(watched and watched.outcome.waiting_for_approval),
        "traffic": watched.traffic if watched else {},
        "next": list(what_next(made.spec, watched, settings)),
    }


def lines(made: "Retrained", settings: Settings) -> Iterator[str]:
    """The summary for a terminal."""
    yield f"\n{made.version.name} version {made.version.version} is registered (MLflow run {made.version.run_id})\n"
    yield from scores(made.report.path)
    yield ""
    yield from privacy(made.clean)
    yield ""
    elsewhere = f"not watched by this run: `seqline status {made.version.name}` shows how it stands"
    yield f"rollout        {made.watched.outcome.summary if made.watched else elsewhere}"
    yield from traffic(made.watched)
    yield f"report         {shown(made.report.path / 'report.html')}"
    yield f"data page      {shown(made.page.path / 'data.html')}"
    yield f"data           data/{made.version.name}/, versioned in data.dvc: commit it with `git commit data.dvc`"
    for line in what_next(made.spec, made.watched, settings):
        yield f"next           {line}"


def privacy(clean: Clean) -> Iterator[str]:
    """What was replaced and how much of it is missed, a line for each entity and language; and what was set aside."""
    found = json.loads((clean.path / "scrub.json").read_text())
    for entity, count in found["entities"].items():
        yield f"scrubbed       {entity:<14} {count['spans']:>6} spans, {count['values']} values"
    for language, entities in found["verdicts"].items():
        for entity, verdict in entities.items():
            for where in ("known", "planted"):
                if measured := verdict[where]:
                    low, high = measured["interval"]
                    recall = f"{measured['recall']:.1%} [{low:.1%}, {high:.1%}]"
                    yield f"recall         {entity:<14} {language}, {where:<7} {recall} of {measured['values']} values"
            if verdict["verdict"] == "not measured":
                yield f"recall         {entity:<14} {language}, not measured: not called scrubbed"
    for reason, pairs in found["quarantined"].items():
        yield f"quarantined    {pairs} pairs: {reason}"


def traffic(watched: "Watched | None") -> Iterator[str]:
    counted = watched.traffic if watched else {}
    if counted:
        yield f"traffic        {counted['sent']:,} replayed requests, {counted['failed']} failed for their sender"


def what_next(spec: "Spec", watched: "Watched | None", settings: Settings) -> Iterator[str]:
    """Where to press, or how to serve."""
    if watched and watched.outcome.waiting_for_approval:
        page = f"{settings.mlflow_ui}/#/models/{spec.name}/versions/{watched.outcome.version}"
        yield f"an approval: `make up`, open {page}, press Promote model and choose {spec.name}-prod"
        yield f"then `seqline rollout {spec.name} --watch` lets it in (with `make up` that happens by itself)"
    if watched and watched.outcome.on_probation:
        yield "the scheduled `rollout` flow (`make up`) ends the probation; without it all users get the former version"
    url = f"http://{spec.serving.host}:{spec.serving.port}/v1/generate"
    yield f"`seqline serve {spec.name}` answers POST {url}; `seqline status {spec.name}` shows how it does"


def shown(path: Path) -> str:
    return os.path.relpath(path)
