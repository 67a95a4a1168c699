"""How a model stands by the rollout database, for the status page: `seqline status` and the history that waits there."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.overview.facts import Arms, Decision, Rollout, Sli, Standing
from pipelines.overview.onlooker import Onlooker, recorded
from pipelines.registry.records import Entry
from pipelines.rollout import production, status
from pipelines.rollout.policy import Phase
from pipelines.spec import Spec


def of(store: Onlooker, spec: Spec, now: float) -> Standing:
    """How `spec.name` stands at `now` (seconds since the epoch).

    Raises:
        Transient: the rollout database does not answer.
    """
    found = status.status(store, spec, now)
    with store.transaction() as connection:
        since, approver = let_in(recorded(spec.name, connection), found["production"])
    age = found["last_event_age"]
    return Standing(
        safe=found["safe"],
        verdict=found["verdict"],
        production=found["production"],
        since=since,
        approver=approver,
        weight=found["weight"],
        held=found["held"],
        paged=tuple(each["said"] if "said" in each else each["sli"] for each in found["paged"]),
        rollout=_rollout(found["rollout"], found["weight"], spec, now) if found["rollout"] else None,
        budgets=tuple(_sli(name, each) for name, each in found["budgets"].items()),
        answered_at=None if age is None else now - age,
        untold=found["untold"],
        decisions=tuple(
            Decision(row["at"], row["version"], row["action"].replace("_", " "), "; ".join(row["reasons"][:2]))
            for row in found["decisions"]
        ),
    )


def let_in(entries: Sequence[Entry], version: str | None) -> tuple[float | None, str | None]:
    """Since when `version` is in production, and who approved it, as far as `entries` tell."""
    reigns = [each for each in production.reigns(entries) if not (each.canary or each.former)]
    if not reigns or reigns[-1].version != version:
        return None, None
    approver = reigns[-1].facts.get("approver")
    return reigns[-1].since, "a person (MLflow names nobody)" if approver == "unknown" else approver


def _sli(name: str, each: Mapping[str, Any]) -> Sli:
    return Sli(name, each["objective"], each["left"], each["burn"], int(each["requests"]), int(each["bad"]))


def _rollout(found: Mapping[str, Any], weight: float, spec: Spec, now: float) -> Rollout:
    steps, at = _steps(found["phase"], weight, spec)
    tick = found["last_tick_age"]
    return Rollout(
        version=found["version"],
        champion=found["champion"],
        phase=found["phase"],
        where=found["where"],
        steps=steps,
        at=at,
        opened_at=now - 60 * found["minutes"],
        e=found["e"],
        bar=found["bar"],
        arms=tuple(_arms(name, each) for name, each in found["slis"].items()),
        reasons=tuple(found["reasons"]),
        ticked_at=None if tick is None else now - tick,
        watched=found["watched"],
        approval=found["approval"],
    )


def _steps(phase: str, weight: float, spec: Spec) -> tuple[tuple[str, ...], int]:
    """The steps of a rollout by name, and which one it is at."""
    weights = [stage.weight for stage in spec.rollout.stages]
    steps = (
        "shadow",
        *(f"{each:g} %" for each in weights),
        spec.rollout.approval,
        "all",
    )
    if phase in (Phase.SHADOW, Phase.FIRST):
        return steps, 0
    if phase == Phase.STAGE:
        return steps, 1 + sum(each < weight for each in weights)
    return steps, len(steps) - (2 if phase == Phase.APPROVAL else 1)


def _arms(name: str, each: Mapping[str, Any]) -> Arms:
    canary, champion, mirrored = ((each[arm]["bad"], each[arm]["n"]) for arm in ("canary", "champion", "mirrored"))
    return Arms(name, canary, champion, mirrored, each["e"])
