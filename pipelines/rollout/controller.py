"""One tick: read everything anew, decide, commit; then tell the registry.

A transaction holds the journal's offsets, the evidence, the decision, the route and the outbox. Killed before the commit, the
tick never was; killed after it, the next tick finds the outbox and goes on. The registry may be away: traffic is still
decided, and the registry is told later. Of several controllers only the one with the lease acts (`leases.py`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from pipelines.errors import Transient
from pipelines.registry.records import PRODUCTION, Approval
from pipelines.rollout import approving, dossier, effects, holding, leases, ledger, page, paging, probation, waking, watch
from pipelines.rollout import evidence as ev
from pipelines.rollout import policy as po
from pipelines.rollout.decide import decide, step
from pipelines.rollout.effects import Memory
from pipelines.rollout.leases import Lease
from pipelines.rollout.opening import enqueue, open  # noqa: A004
from pipelines.rollout.policy import TERMINAL, Action, Decision, Gate, Phase, Policy, State
from pipelines.rollout.store import LEASE_SECONDS, Rollout, Route, Store
from pipelines.spec import Spec

__all__ = ["HERE", "Outcome", "open", "open_rollout", "tell", "tick"]

HERE = "this controller"  # the holder of the lease where there is but one


@dataclass(frozen=True)
class Outcome:
    """How a rollout stands after a tick; `open` until the registry, too, knows how it ended.

    `approved`: a person has pressed, and what holds the promotion settles itself (no news yet, a blown fuse).
    """

    name: str
    version: str | None
    state: State | None
    action: Action
    reasons: tuple[str, ...]
    where: str
    open: bool
    approved: bool = False

    @property
    def waiting_for_approval(self) -> bool:
        """Is there nothing to do until a person presses?"""
        return self.state is not None and self.state.phase is Phase.APPROVAL and not self.approved

    @property
    def on_probation(self) -> bool:
        return self.state is not None and self.state.phase is Phase.PROBATION

    @property
    def summary(self) -> str:
        """One line that changes only when something happens."""
        if self.version is None:
            return f"{self.name}: no rollout is open"
        if self.action is Action.HOLD and self.approved:
            return f"{self.name} version {self.version}: {self.where}: approved, and let in with the next good answers"
        said = "" if self.action in (Action.HOLD, Action.FINISH) else f": {'; '.join(self.reasons)}"
        return f"{self.name} version {self.version}: {self.where}{said}"


def open_rollout(store: Store, name: str) -> Rollout | None:
    """The rollout of `name` that is open, if any."""
    return store.open_rollout(name)


def tick(store: Store, memory: Memory, spec: Spec, now: float, holder: str = HERE) -> Outcome:
    """Carry the open rollout of `spec.name` on by what was seen since the last tick.

    `holder` names the controller, the same after a restart; while another one has the lease, this one only looks on.

    Raises:
        Transient: the rollout database does not answer, or another controller was faster; nothing was changed.
    """
    with store.transaction() as connection:
        lease = leases.take(spec.name, holder, now, connection)
    if not lease.mine:
        return _looking_on(store, lease)
    told = tell(store, memory, lease, now)
    asked = _ask(store, memory, spec.name) if told else ()
    with store.transaction() as connection:
        leases.check(lease, connection)
        rollout = store.open_rollout(spec.name, connection)
        policy = Policy.of(spec.slo, spec.rollout)
        paging.look(store, spec.name, policy, now, connection)
        outcome = _carry_on(store, rollout, asked, spec, policy, now, connection) if rollout else _idle(spec.name)
    tell(store, memory, lease, now)
    return outcome


def tell(store: Store, memory: Memory, lease: Lease, now: float) -> bool:
    """Apply the outbox in order; False if the registry is away, and the rest waits for the next tick.

    Raises:
        Stale: the lease was lost meanwhile. What was told too late is told anew, with all that came after it, by who has it.
    """
    while True:
        with store.transaction() as connection:
            leases.check(lease, connection)
            effect = next(iter(ledger.pending(lease.name, connection)), None)
        if effect is None:
            return True
        rollout = effect.rollout
        try:
            effects.tell(memory, effect, lambda: page.html(store, rollout))  # noqa: B023 (called at once)
        except Transient:
            return False
        with store.transaction() as connection:
            if leases.lost(lease, connection):
                ledger.again(effect, connection)
            else:
                ledger.done(effect.id, now, connection)


def _ask(store: Store, memory: Memory, name: str) -> Sequence[Approval]:
    """What was pressed in the registry since the gate opened and nobody judged; nothing while the registry is away.

    Where no gate is open, what was pressed is refused here and now: it decides nothing.
    """
    rollout = store.open_rollout(name)
    state = ledger.state_of(rollout) if rollout else None
    try:
        if rollout and state and state.phase is Phase.APPROVAL and state.gate:
            return memory.approvals(memory.version(name, rollout.version), state.gate.digest, state.gate.opened_at)
        for number in memory.unjudged(name):
            memory.refuse(name + PRODUCTION, number, _unasked(state))
    except Transient:
        pass
    return ()


def _unasked(state: State | None) -> str:
    if state is None:
        return "no version asks for an approval now"
    if state.phase is Phase.ROLLED_BACK:
        return approving.OVERTAKEN
    if state.phase in (Phase.PROBATION, Phase.PROMOTED):
        return f"version {state.evidence.canary} was let in already"
    return f"version {state.evidence.canary} asks for no approval yet: it has not passed all stages"


def _carry_on(
    store: Store, rollout: Rollout, asked: Sequence[Approval], spec: Spec, policy: Policy, now: float, connection: sa.Connection
) -> Outcome:
    name, approvers = rollout.name, spec.rollout.approvers
    route = store.route(name, connection) or Route(None)
    journal = store.read(name, rollout.offsets, connection)
    state = ledger.with_users(rollout.id, ledger.state_of(rollout), journal.events, connection)
    state = _counted(po.prepared(state, policy), name, policy, connection)
    known = state.evidence.users
    state = probation.read(state, journal.events)
    state = waking.awake(state, route, policy, rollout.state["last"].get("at"), now)
    state = replace(state, evidence=ev.fold(state.evidence, journal.events))

    presses = approving.weigh(state.gate, asked, approvers)
    drained = not ledger.pending(name, connection)
    decision = decide(state, po.Observed(now, presses.approval, drained), policy)
    if presses.missing and decision.action is Action.HOLD and state.phase is Phase.APPROVAL:
        decision = replace(decision, reasons=(presses.missing,))
    decision = holding.checked(decision, holding.held(name, rollout.id, connection))
    used, refused = approving.answered(presses, decision, approvers)
    gate = _gate(state, decision, policy, now, connection, rollout.id)
    after = step(state, decision, now, policy, gate)

    route = _move(store, name, route, after, decision, policy, now, connection)
    ledger.add_users(rollout.id, after.evidence.users - known, connection)
    last = {"at": now, "action": decision.action, "reasons": decision.reasons, "numbers": dict(decision.numbers)}
    ledger.save(rollout.id, after, last, journal.offsets, connection)
    happened = decision.action is not Action.HOLD
    if happened:
        ledger.add_decision(rollout.id, now, route.generation, decision, connection)
    if state.phase not in TERMINAL:
        ledger.measure(rollout.id, rollout.opened_at, now, _numbers(after, route, policy, now), connection, always=happened)
    by = presses.approval if used else None
    told = effects.decided(state.phase, after, decision, now, gate, by, used, policy.holdback)
    enqueue(rollout.id, told, connection)
    enqueue(rollout.id, effects.refused(name, refused), connection)
    finished = decision.action is Action.FINISH
    if finished:
        ledger.close(rollout.id, after.phase, now, connection)
    approved = presses.approval is not None and presses.approval.prod_version not in dict(refused)
    where = po.stage_name(after, policy)
    return Outcome(name, rollout.version, after, decision.action, decision.reasons, where, not finished, approved)


def _counted(state: State, name: str, policy: Policy, connection: sa.Connection) -> State:
    """`state` with what users met in the budget's window before the rollout: counted once, at its first tick."""
    if state.counted_since is not None:
        return state
    counts, first = ledger.served(name, state.opened_at - policy.window, state.opened_at, connection)
    return replace(state, before=counts, counted_since=state.opened_at if first is None else first)


def _numbers(state: State, route: Route, policy: Policy, now: float) -> dict[str, float]:
    """How the rollout stands, for its page: weight in percent, log e-values and their bar, budgets."""
    weight = 100.0 if state.phase is Phase.PROMOTED else route.weight
    found = {"weight": weight, "log_bar": policy.bar, "log_e": ev.log_worse(state.evidence)}
    for rule in policy.slis:
        found[f"log_e.{rule.name}"] = state.evidence.slis[rule.name].log
        if rule.objective is not None:
            what = po.budget(state, rule, policy, now)
            found |= {f"left.{rule.name}": what.left, f"burn.{rule.name}": what.burn}
    if state.watched:
        found["log_e.on probation"] = watch.log_worse(state.watched)
    return found


def _gate(state: State, decision: Decision, policy: Policy, now: float, connection: sa.Connection, rollout: int) -> Gate | None:
    """The evidence that a decision needs: a new gate's, or that on which a version is let in."""
    if decision.action is Action.PROMOTE and state.gate:
        return state.gate
    if decision.action not in (Action.OPEN_GATE, Action.PROMOTE):
        return None
    history = [*ledger.decisions_of(rollout, connection), {"at": now, "action": decision.action, "reasons": decision.reasons}]
    return dossier.gate(state, policy, history, now)


def _move(
    store: Store,
    name: str,
    route: Route,
    state: State,
    decision: Decision,
    policy: Policy,
    now: float,
    connection: sa.Connection,
) -> Route:
    """Bring the route to what the state wants; if it is there already, renew the canary's lease."""
    wanted = _wanted(route, state, policy)
    if decision.action is Action.SET_BACK:  # users drawn anew, independently of all that was seen: else no bet on them is fair
        wanted = replace(wanted, salt=hashlib.sha256(f"{route.salt} {route.generation}".encode()).hexdigest()[:32])
    if wanted != route or decision.action is Action.REARM:
        return store.set_route(name, replace(wanted, lease_until=now + LEASE_SECONDS), connection)
    if wanted.canary:
        store.renew(name, route.generation, connection, now)
    return route


def _wanted(route: Route, state: State, policy: Policy) -> Route:
    found = state.evidence
    if state.phase is Phase.FIRST:
        return route
    if state.phase in TERMINAL:
        champion = found.canary if state.phase is Phase.PROMOTED else found.champion or None
        return replace(route, champion=champion, canary=None, weight=0.0, shadow=False)
    weight, shadow = po.traffic(state, policy)
    return replace(route, champion=found.champion, canary=found.canary, weight=weight, shadow=shadow)


def _looking_on(store: Store, lease: Lease) -> Outcome:
    """How it stands while another controller acts."""
    why = (f"{lease.holder} has the lease: this controller looks on, and takes over {LEASE_SECONDS:.0f} s after its last tick",)
    rollout = store.open_rollout(lease.name)
    if rollout is None:
        return replace(_idle(lease.name), reasons=why)
    state = ledger.state_of(rollout)
    return Outcome(lease.name, rollout.version, state, Action.HOLD, why, f"{state.phase.replace('_', ' ')} ({why[0]})", True)


def _idle(name: str) -> Outcome:
    return Outcome(name, None, None, Action.HOLD, ("no rollout is open",), "", False)
