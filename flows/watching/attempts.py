"""The retrains that a watch started, and what came of each: what its back-off rests on. One that somebody else started and that
was promoted ends it (`relieved_at`).

Kept are when and why, in the workspace (watch/attempts/NAME.json); what came of them is read anew each time, from the registry
and the rollout database, so that a rollback after the promotion counts, too.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.settings import Settings
from pipelines.errors import UserError
from pipelines.monitoring.triggers import Attempt
from pipelines.rollout import ledger
from pipelines.rollout.policy import Phase

if TYPE_CHECKING:
    from pipelines.registry import Registry
    from pipelines.registry.records import Made
    from pipelines.rollout.store import Store

KEPT = 20  # attempts; the longest wait is reached long before
CLOCK = 0.001  # seconds: MLflow writes whole milliseconds


def add(name: str, at: float, why: str, settings: Settings) -> None:
    """Write down, before it starts, that a retrain is started `at` (seconds since the epoch)."""
    path = _path(name, settings)
    kept = [*_read(path), {"at": at, "why": why}][-KEPT:]
    write(path, kept)


def withdraw(name: str, at: float, settings: Settings) -> None:
    """Forget the one that was to start `at`: it could not begin, which says nothing of what a retrain would bring."""
    path = _path(name, settings)
    write(path, [each for each in _read(path) if each["at"] != at])


def history(name: str, at_work: bool, registry: "Registry", store: "Store", settings: Settings) -> list[Attempt]:
    """Every attempt that is kept, the oldest first. Of the last one nothing is decided while a retrain is `at_work`."""
    kept = _read(_path(name, settings))
    if not kept:
        return []
    own = {_attempt_of(each, kept): each for each in reversed(registry.made(name))}
    last = len(kept) - 1
    return [
        _settled(each, own.get(number), name, at_work and number == last, registry, store) for number, each in enumerate(kept)
    ]


def relieved_at(name: str, registry: "Registry", store: "Store", settings: Settings) -> float:
    """When a version was last promoted that a person or the schedule had made (seconds since the epoch); 0 where none was.

    What a watch tried before that tells nothing of the model that is in production since.
    """
    whys = {each["why"] for each in _read(_path(name, settings))}
    theirs = [each.version for each in registry.made(name) if each.why not in whys]
    with store.transaction() as connection:
        rollouts = [ledger.rollout_of(name, version, connection) for version in theirs]
    return max((each.closed_at or 0.0 for each in rollouts if each and each.outcome == Phase.PROMOTED), default=0.0)


def _attempt_of(made: "Made", kept: Sequence[dict[str, Any]]) -> int | None:
    """Which of the attempts a version came of: the last one before it for the same reason."""
    started = [number for number, each in enumerate(kept) if each["why"] == made.why and each["at"] <= made.at + CLOCK]
    return started[-1] if started else None


def _settled(
    kept: dict[str, Any], made: "Made | None", name: str, undecided: bool, registry: "Registry", store: "Store"
) -> Attempt:
    """An attempt with what came of it: it helped if its version was let in, and is better."""
    if made is None:
        return Attempt(kept["at"], kept["why"], None, None if undecided else False)
    with store.transaction() as connection:
        rollout = ledger.rollout_of(name, made.version, connection)
    if rollout is None:
        helped = None if undecided else False
    elif rollout.outcome in (None, "superseded"):
        helped = None
    else:
        helped = rollout.outcome == Phase.PROMOTED and better(registry.scores(made.run_id))
    return Attempt(kept["at"], kept["why"], made.version, helped)


def better(scores: dict[str, Any]) -> bool:
    """Whether a report shows its model to be better than the champion then: over all held-out pairs, or in a slice (by Holm's
    p). The first of all models is."""
    rival = scores.get("comparison", {}).get("champion")
    if rival is None:
        return True
    sliced = [each["difference"]["verdict"] for each in scores.get("slices", []) if each["against"] == "champion"]
    return "better" in (rival["verdict"], *sliced)


def write(path: Path, content: Any) -> None:
    """`content` as JSON, in one piece or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    fresh.replace(path)


def _read(path: Path) -> Sequence[dict[str, Any]]:
    """Raises UserError where somebody broke the file: a back-off must not be forgotten in silence."""
    if not path.is_file():
        return []
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return [{"at": float(each["at"]), "why": str(each["why"])} for each in found]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"watch/attempts/{path.name}: not as `seqline watch` wrote it: remove it (earlier attempts are forgotten)"
        ) from None


def _path(name: str, settings: Settings) -> Path:
    return settings.folder("watch", "attempts") / f"{name}.json"
