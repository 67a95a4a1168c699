"""The evidence that an approver reads in a minute, and its digest. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipelines.artifact import digest
from pipelines.rollout import evidence as ev
from pipelines.rollout.evidence import Count
from pipelines.rollout.policy import Gate, Policy, State, budget
from pipelines.rollout.wording import number


def content(state: State, policy: Policy, history: Sequence[Mapping[str, Any]], now: float) -> dict[str, Any]:
    """All that the evidence says, as plain JSON; `history` are the rollout's decisions so far, oldest first."""
    found = state.evidence
    return {
        "canary": found.canary,
        "champion": found.champion,
        "weight": policy.stages[state.stage][0] if policy.stages else 0.0,
        "opened_at": state.opened_at,
        "at": now,
        "log_e": round(ev.log_worse(found), 6) if found.slis else 0.0,
        "alpha": policy.alpha,
        "confidence": policy.confidence,
        "slis": {rule.name: _sli(state, rule.name) for rule in policy.slis},
        "budgets": {
            rule.name: {"objective": rule.objective, "left": round(what.left, 6), "burn": round(what.burn, 6)}
            for rule in policy.slis
            if rule.objective is not None
            for what in (budget(state, rule, policy, now),)
        },
        "history": [{"at": row["at"], "action": row["action"], "reasons": list(row["reasons"])} for row in history],
    }


def gate(state: State, policy: Policy, history: Sequence[Mapping[str, Any]], now: float) -> Gate:
    """A gate on the evidence as it is now."""
    told = content(state, policy, history, now)
    opened = int(now * 1000) / 1000  # the registry keeps whole milliseconds
    return Gate(opened, opened + policy.gate_seconds, digest(told), markdown(told))


def markdown(told: Mapping[str, Any]) -> str:
    """`content` for a person."""
    worse = number(told["log_e"])
    lines = [
        f"### Version {told['canary']} against version {told['champion']}, {(told['at'] - told['opened_at']) / 60:.0f} minutes",
        "",
    ]
    if told["champion"]:
        lines += [
            f"Worse than the champion? e = {worse} (rolled back from {1 / told['alpha']:g} on). "
            f"Every stage excluded its burn at {told['confidence']:.0%}.",
            "",
            "| bad answers | canary | champion | canary, mirrored | champion, mirrored | e | budget left |",
            "|---|---|---|---|---|---|---|",
        ]
    else:
        lines += ["There is no champion to compare with, and nobody was served yet: the offline gates alone let it in.", ""]
    for name, sli in told["slis"].items():
        left = f"{told['budgets'][name]['left']:.1%}" if name in told["budgets"] else "-"
        cells = [_cell(sli[key]) for key in ("canary", "champion", "mirror_canary", "mirror_champion")]
        if told["champion"]:
            lines.append(f"| {name} | {' | '.join(cells)} | {number(sli['log_e'])} | {left} |")
    lines += ["", *(f"- {_clock(row['at'])} **{row['action']}**: {'; '.join(row['reasons'])}" for row in told["history"])]
    return "\n".join(lines).rstrip() + "\n"


def _sli(state: State, name: str) -> dict[str, Any]:
    sli = state.evidence.slis[name]
    counts = {key: getattr(sli, key) for key in ("canary", "champion", "mirror_canary", "mirror_champion")}
    return {"log_e": round(sli.log, 6)} | {key: _count(count) for key, count in counts.items()}


def _count(count: Count) -> dict[str, Any]:
    low, high = count.interval()
    return {"n": count.n, "bad": count.bad, "interval": [round(low, 6), round(high, 6)]}


def _cell(count: Mapping[str, Any]) -> str:
    if not count["n"]:
        return "none seen"
    low, high = count["interval"]
    return f"{count['bad']:,} of {count['n']:,} = {count['bad'] / count['n']:.2%} ({low:.2%} to {high:.2%})"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
