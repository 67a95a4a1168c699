"""The doctor's checks: what each asks, in which phase, and what its answer says. Pure.

A check that cannot be told is a gap, as one that failed: an unknown never counts as well.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.errors import UserError
from pipelines.operations.facts import Facts

Phase = Literal["before", "production", "incident", "effect"]
PHASES: tuple[Phase, ...] = ("before", "production", "incident")
"""`effect` is none of these: its checks prove what a runbook did, each asked by name."""


@dataclass(frozen=True)
class Verdict:
    """`ok` is None where it cannot be told; `mend` is what to do about a gap."""

    ok: bool | None
    said: str
    mend: str = ""


@dataclass(frozen=True)
class Check:
    phase: Phase
    name: str
    look: Callable[[Facts], Verdict]


@dataclass(frozen=True)
class Finding:
    """What one check found; the fields are those of .seqline/doctor/NAME.json."""

    phase: Phase
    check: str
    ok: bool | None
    said: str
    mend: str


def examine(checks: Iterable[Check], facts: Facts) -> list[Finding]:
    """What each check finds; the mend is told of gaps alone."""
    found = []
    for check in checks:
        verdict = check.look(facts)
        found.append(Finding(check.phase, check.name, verdict.ok, verdict.said, "" if verdict.ok else verdict.mend))
    return found


def of_phase(checks: Sequence[Check], phase: str) -> list[Check]:
    """Raises:
    UserError: there is no such phase.
    """
    if phase not in PHASES:
        raise UserError(f"--phase {phase}: must be one of {', '.join(PHASES)}")
    return [check for check in checks if check.phase == phase]


def named(checks: Sequence[Check], names: Iterable[str]) -> list[Check]:
    """Raises:
    UserError: there is no such check.
    """
    known = {check.name: check for check in checks}
    for name in names:
        if name not in known:
            raise UserError(f"--only {name}: no such check: there are {', '.join(known)}")
    return [known[name] for name in names]


def phase_now(facts: Facts) -> Phase:
    """What fits now: an incident while there is one, production once something is in it."""
    if facts.incident is not None:
        return "incident"
    return "production" if facts.status and facts.status["production"] else "before"
