"""What a person sees and the undo that a person has: both from the rollout database alone, at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.errors import UserError
from pipelines.rollout import effects, holding, leases, ledger, paging
from pipelines.rollout import evidence as ev
from pipelines.rollout.budget import Budget
from pipelines.rollout.evidence import Count
from pipelines.rollout.policy import (
    CERTAIN,
    TERMINAL,
    Action,
    Decision,
    Phase,
    Policy,
    State,
    prepared,
    stage_name,
)
from pipelines.rollout.store import LEASE_SECONDS, Rollout, Route, Store
from pipelines.rollout.wording import number
from pipelines.spec import Spec

DECISIONS = 5


def status(store: Store, spec: Spec, now: float) -> dict[str, Any]:
    """How `spec.name` stands: what serves, the rollout if one is open, budgets, the last decisions. Plain JSON, in seconds.

    Raises:
        Transient: the rollout database does not answer.
    """
    policy = Policy.of(spec.slo, spec.rollout)
    with store.transaction() as connection:
        route = store.route(spec.name, connection) or Route(None)
        rollout = store.open_rollout(spec.name, connection)
        decided = ledger.latest_decisions(spec.name, DECISIONS, connection)
        last_event = ledger.last_event(spec.name, connection)
        untold = len(ledger.pending(spec.name, connection))
        served, first = ledger.served(spec.name, now - policy.window, now, connection)
        hold = holding.held(spec.name, rollout.id if rollout else None, connection)
        lease = leases.read(spec.name, connection)
        paged = paging.paged(spec.name, connection)
    budgets = _budgets(policy, served, now - first if first is not None else 0.0)
    found = _rollout(rollout, route, policy, now, spec.rollout.approvers) if rollout else None
    safe, verdict = _verdict(found, route, budgets, [page.said for page in paged])
    return {
        "name": spec.name,
        "safe": safe,
        "verdict": verdict,
        "paged": [vars(page) for page in paged],
        "production": ledger.in_production(route.champion, rollout),
        "held": hold.said if hold else None,
        "controller": lease.holder if lease else None,
        "canary": route.canary,
        "weight": route.weight,
        "rollout": found,
        "budgets": budgets,
        "last_event_age": None if last_event is None else now - last_event,
        "untold": untold,
        "decisions": [
            {"at": row["at"], "version": row["version"], "action": row["action"], "reasons": row["reasons"]} for row in decided
        ],
    }


def in_production(store: Store, name: str) -> str | None:
    """The version that was let in last and not taken back, on probation, too; None before the first one."""
    with store.transaction() as connection:
        route = store.route(name, connection)
        return ledger.in_production(route.champion if route else None, store.open_rollout(name, connection))


def _budgets(policy: Policy, served: Mapping[str, Count], span: float) -> dict[str, dict[str, float]]:
    found = {}
    for rule in policy.slis:
        if rule.objective is not None:
            what = Budget(rule.objective, policy.window, span, served[rule.name])
            found[rule.name] = {
                "objective": rule.objective,
                "requests": what.seen.n,
                "bad": what.seen.bad,
                "left": what.left,
                "burn": what.burn,
            }
    return found


def _rollout(rollout: Rollout, route: Route, policy: Policy, now: float, approvers: int) -> dict[str, Any]:
    state = prepared(ledger.state_of(rollout), policy)
    last = rollout.state["last"]
    return {
        "version": rollout.version,
        "champion": rollout.champion,
        "phase": state.phase.value,
        "where": stage_name(state, policy),
        "minutes": (now - state.opened_at) / 60,
        "e": number(ev.log_worse(state.evidence)),
        "bar": number(policy.bar),
        "slis": {rule.name: _sli(state, rule.name) for rule in policy.slis},
        "reasons": list(last.get("reasons", [])),
        "last_tick_age": now - last["at"] if "at" in last else None,
        "watched": route.canary is None or now < route.lease_until,
        "approval": _press(rollout, state, approvers),
    }


def _sli(state: State, name: str) -> dict[str, Any]:
    sli = state.evidence.slis[name]
    counts = {"canary": sli.canary, "champion": sli.champion, "mirrored": sli.mirror_canary}
    return {"e": number(sli.log)} | {arm: {"n": count.n, "bad": count.bad} for arm, count in counts.items()}


def _press(rollout: Rollout, state: State, approvers: int) -> str | None:
    """Who is asked for what."""
    if state.phase is not Phase.APPROVAL or state.gate is None:
        return None
    page = f"models/{rollout.name}/versions/{rollout.version}"
    who = "a person" if approvers == 1 else f"{approvers} people"
    end = datetime.fromtimestamp(state.gate.expires_at).astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return f"{who}, until {end}, in the MLflow UI, page {page}: press Promote model and choose {rollout.name}-prod"


def _verdict(
    found: Mapping[str, Any] | None, route: Route, budgets: Mapping[str, Mapping[str, float]], paged: Sequence[str]
) -> tuple[bool, str]:
    """Whether users are safe now, and why, in one line."""
    if route.champion is None:
        return False, "nothing is in production yet"
    if paged:
        return False, f"a person is needed: {'; '.join(paged)}"
    if found and not found["watched"]:
        return False, f"no controller for {LEASE_SECONDS:.0f} s or more: everybody is sent to version {route.champion}"
    broke = [name for name, each in budgets.items() if each["left"] <= 0]
    if broke:
        return False, f"the error budget of {' and '.join(broke)} is spent"
    return True, _calm(found, route)


def _calm(found: Mapping[str, Any] | None, route: Route) -> str:
    if found is None:
        return f"version {route.champion} serves everybody; no rollout is open"
    if found["approval"]:
        return f"version {found['version']} waits for an approval at {route.weight:g} %"
    if found["phase"] == Phase.PROBATION:
        return f"version {found['version']} has {found['where']}; version {route.champion} has the rest, to go back to"
    if found["phase"] in TERMINAL:
        return f"version {route.champion} serves everybody; version {found['version']} was {found['where']}"
    return f"version {found['version']} against {route.champion}: {found['where']}"


def rollback(store: Store, name: str, why: str, now: float, by: str) -> str:
    """Send everybody to the champion, or, with no rollout open, to the champion before this one; return what was done.

    One transaction; gateways follow within 0.2 s. The registry is told by the next tick.

    Raises:
        UserError: there is nothing to go back to.
    """
    store.create()
    reason = f"by hand, {by}: {why or 'no reason given'}"
    with store.transaction() as connection:
        rollout = store.open_rollout(name, connection)
        route = store.route(name, connection) or Route(None)
        state = ledger.state_of(rollout) if rollout else None
        if rollout and state and state.phase not in TERMINAL:
            return _abort(store, rollout, state, route, reason, now, connection)
        if rollout and state:
            ledger.close(rollout.id, state.phase.value, now, connection)
        return _revert(store, name, route, reason, now, connection)


def _abort(
    store: Store, rollout: Rollout, state: State, route: Route, reason: str, now: float, connection: sa.Connection
) -> str:
    """Roll the open rollout back; the next tick finds it rolled back and closes it."""
    decision = Decision(Action.ROLLBACK, (reason,), {})
    after = replace(state, phase=Phase.ROLLED_BACK, since=now)
    if rollout.champion:
        wanted = replace(route, champion=rollout.champion, canary=None, weight=0.0, shadow=False)
        route = store.set_route(rollout.name, wanted, connection)
    last = {"at": now, "action": decision.action, "reasons": decision.reasons, "numbers": {}}
    ledger.save(rollout.id, after, last, rollout.offsets, connection)
    ledger.add_decision(rollout.id, now, route.generation, decision, connection)
    former = rollout.champion if state.phase is Phase.PROBATION else None
    told = effects.reverted(former, now, [reason]) if former else effects.closed("rolled back", now, [reason])
    for effect, payload in told:
        ledger.enqueue(rollout.id, effect, payload, connection)
    left = f"version {rollout.champion} serves everybody" if rollout.champion else "nothing is in production"
    return f"{rollout.name}: version {rollout.version} is rolled back; {left}"


def _revert(store: Store, name: str, route: Route, reason: str, now: float, connection: sa.Connection) -> str:
    """Undo the promotion that brought the present champion."""
    promoted = ledger.rollout_of(name, route.champion, connection) if route.champion else None
    if promoted is None or promoted.champion is None or promoted.outcome != Phase.PROMOTED:
        serves = f"version {route.champion} has no champion before it" if route.champion else "nothing is in production"
        raise UserError(f"{name}: nothing to roll back: no rollout is open, and {serves}")
    wanted = replace(route, champion=promoted.champion, canary=None, weight=0.0, shadow=False)
    moved = store.set_route(name, wanted, connection)
    ledger.close(promoted.id, "reverted", now, connection)
    ledger.add_decision(promoted.id, now, moved.generation, Decision(Action.ROLLBACK, (reason,), {}), connection)
    for effect, payload in effects.reverted(promoted.champion, now, [reason]):
        ledger.enqueue(promoted.id, effect, payload, connection)
    return f"{name}: version {promoted.champion} serves everybody again instead of {promoted.version}"


def render(found: Mapping[str, Any]) -> RenderableType:
    """`status` for a terminal: safe or not on top, then the numbers."""
    head = Text(
        " SAFE " if found["safe"] else " NOT SAFE ", style="bold white on green" if found["safe"] else "bold white on red"
    )
    lines: list[RenderableType] = [Text.assemble(head, f" {found['name']}: {found['verdict']}")]
    rollout = found["rollout"]
    if found["held"]:
        lines.append(Text(f"{found['held'].capitalize()}. Go on: seqline resume {found['name']}", style="yellow"))
    if rollout:
        if rollout["approval"]:
            lines.append(Text(f"Asked: {rollout['approval']}. To refuse: seqline rollback {found['name']}"))
        weight = f"{found['weight']:g} % of the users, {rollout['minutes']:.0f} minutes old"
        lines.append(Text(f"Worse than the champion? e = {rollout['e']}, rolled back at {rollout['bar']} ({weight})"))
        lines.append(_table(rollout["slis"], found["budgets"]))
        lines.append(Text("Now, and what would end it:", style="dim"))
        lines += [Text(f"  {reason}") for reason in rollout["reasons"] or ["no tick yet: the controller is to start"]]
        lines.append(
            Text(f"Last tick {_age(rollout['last_tick_age'])}, last answer {_age(found['last_event_age'])}", style="dim")
        )
    else:
        lines += [Text(f"{name}: {_left(each)}") for name, each in found["budgets"].items()]
    lines += [Text(line, style="dim") for line in _past(found["decisions"])]
    if found["untold"]:
        lines.append(Text(f"{found['untold']} effects wait for the registry (the next tick applies them)", style="yellow"))
    return Group(*lines)


def _table(slis: Mapping[str, Mapping[str, Any]], budgets: Mapping[str, Mapping[str, float]]) -> RenderableType:
    table = Table("bad answers", "canary", "champion", "mirrored", "e", "budget", box=None, header_style="dim")
    for name, each in slis.items():
        cells = [f"{each[arm]['bad']:,} of {each[arm]['n']:,}" for arm in ("canary", "champion", "mirrored")]
        table.add_row(name, *cells, each["e"], _left(budgets[name]) if name in CERTAIN else "compared only")
    return table


def _left(each: Mapping[str, float]) -> str:
    return f"{each['left']:.1%} left, burn {each['burn']:.2g}"


def _past(decisions: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for row in decisions:
        clock = datetime.fromtimestamp(row["at"]).astimezone().strftime("%m-%d %H:%M:%S")
        yield f"{clock}  version {row['version']}  {row['action']}: {row['reasons'][0]}"


def _age(seconds: float | None) -> str:
    return "never" if seconds is None else f"{max(0.0, seconds):.0f} s ago"
