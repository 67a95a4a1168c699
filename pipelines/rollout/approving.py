"""Which presses of Promote model open the gate, which wait for a second person, and why the others do not count. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.registry.records import Approval
from pipelines.rollout.policy import Action, Approved, Decision, Gate

OVERTAKEN = "the canary was rolled back"
PASSING = ("cut the canary off", "the last answer is", "no answer was seen yet")  # reasons of `decide` that pass by themselves


@dataclass(frozen=True)
class Presses:
    """What was pressed since the gate opened. `approval` stands on the presses `good`, and is None while they do not suffice.

    `refused` are (number of NAME-prod, reason); `missing` says what an approval still lacks.
    """

    approval: Approved | None = None
    good: tuple[Approval, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    missing: str | None = None


def weigh(gate: Gate | None, asked: Sequence[Approval], approvers: int) -> Presses:
    """Judge presses whose source, digest and age the registry's rule has judged; `approvers` distinct people must press."""
    refused = [(each.prod_version, each.reason) for each in asked if not each.accepted]
    good: list[Approval] = []
    for each in asked:
        if each.accepted and gate:
            reason = _late(each, gate) or (_same_person(each, good) if approvers > 1 else None)
            if reason:
                refused.append((each.prod_version, reason))
            else:
                good.append(each)
    if gate is None or not good:
        return Presses(refused=tuple(refused))
    if len(good) < approvers:
        names = ", ".join(each.user or "" for each in good)
        missing = f"{len(good)} of {approvers} approvals, by {names}: another person must press Promote model, too"
        return Presses(None, tuple(good), tuple(refused), missing)
    used = good[:approvers]
    who = " and ".join(each.user for each in used if each.user) or None
    approval = Approved(used[-1].prod_version, gate.digest, used[-1].at, who)
    return Presses(approval, tuple(good), tuple(refused))


def answered(presses: Presses, decision: Decision, approvers: int) -> tuple[tuple[Approval, ...], list[tuple[str, str]]]:
    """After a decision: the presses it was made on, and what is refused with its reason. Others are looked at again."""
    refused, good = list(presses.refused), presses.good
    if decision.action is Action.PROMOTE:
        used = good[:approvers] if presses.approval else ()
        by = used[-1].prod_version if used else "another"
        refused += [(each.prod_version, f"version {by} had approved already") for each in good if each not in used]
        return used, refused
    why = _vain(decision) if presses.approval else None
    if decision.action is Action.ROLLBACK:
        why = OVERTAKEN
    if decision.action is Action.OPEN_GATE:
        why = "the gate expired before it could be acted on: reload the page and press again"
    if why:
        refused += [(each.prod_version, why) for each in good]
    return (), refused


def _vain(decision: Decision) -> str | None:
    """Why a whole approval did not open the gate; None if it may yet: a blown fuse and a quiet minute settle themselves."""
    reasons = [reason for reason in decision.reasons if reason != "approved, but"]
    if decision.action is not Action.HOLD or not reasons or all(any(part in reason for part in PASSING) for reason in reasons):
        return None
    return "; ".join(reasons)


def _late(press: Approval, gate: Gate) -> str | None:
    if press.at < gate.expires_at:
        return None
    made, end = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") for at in (press.at, gate.expires_at))
    return f"it was made at {made}, after the gate expired at {end}: reload the page and press again"


def _same_person(press: Approval, good: Sequence[Approval]) -> str | None:
    if not press.user:
        return "it names nobody, and the spec asks for two approvers: MLflow's authentication must be on (infra/auth.ini)"
    if press.user in {each.user for each in good}:
        return f"{press.user} has approved already, and the spec asks for another person, too"
    return None
