"""What the registry has to be told of a decision: rows for the outbox, and the doing of one. Each is idempotent."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from pipelines.registry.records import Approval, Version
from pipelines.rollout.ledger import Effect
from pipelines.rollout.policy import Action, Approved, Decision, Gate, Phase, State

Row = tuple[str, Mapping[str, Any]]  # effect, payload
UNKNOWN = "unknown"  # who approved, where MLflow runs without authentication: not a guess
GATES = "nobody: the gates alone"
PAGE: Row = ("page", {})


class Memory(Protocol):
    """What the controller asks of the registry; `pipelines.registry.Registry` is one."""

    def version(self, name: str, number: str) -> Version: ...
    def open_gate(self, version: Version, evidence: str, digest: str, at: float) -> None: ...
    def close_gate(self, version: Version, outcome: str) -> None: ...
    def approvals(self, version: Version, digest: str, opened_at: float) -> list[Approval]: ...
    def unjudged(self, name: str) -> list[str]: ...
    def refuse(self, prod: str, prod_version: str, reason: str) -> None: ...
    def confirm(self, version: Version, approval: Approval, evidence: str, digest: str) -> None: ...
    def let_in(self, version: Version, evidence: str, digest: str, why: str) -> str: ...
    def set_alias(self, name: str, alias: str, version: str | None) -> None: ...
    def data_md5(self, version: Version) -> str | None: ...
    def keep(self, version: Version, path: str, text: str) -> None: ...
    def record(self, version: Version, event: str, detail: Mapping[str, Any], at: float, id: str) -> None: ...  # noqa: A002


def opened(version: str, champion: str | None, now: float) -> list[Row]:
    return [_alias("canary", version), _record("rollout opened", now, champion=champion)]


def closed(outcome: str, now: float, reasons: Sequence[str] = (), *, canary: bool = True) -> list[Row]:
    """A rollout that ends without a promotion. `canary` = False: the alias goes to another version anyway."""
    free = [_alias("canary", None)] if canary else []
    said = f"{outcome}: {reasons[0]}" if reasons else outcome
    return [*free, ("close_gate", {"outcome": said}), _record(outcome, now, reasons=list(reasons)), PAGE]


def reverted(champion: str, now: float, reasons: Sequence[str]) -> list[Row]:
    """A promoted version gives way to the champion before it."""
    said = [_alias("champion", champion), _alias("canary", None), ("close_gate", {"outcome": f"rolled back: {reasons[0]}"})]
    return [*said, _record("rolled back", now, reasons=list(reasons), champion=champion), PAGE]


def set_back(state: State, now: float, reasons: Sequence[str]) -> list[Row]:
    """A version on probation gives way to the champion before it, and begins at the first stage again."""
    found, why = state.evidence, list(reasons)
    told = _record("set back", now, weight=100 * found.weights[-1][1], reasons=why, champion=found.champion)
    aliases = (_alias("champion", found.champion), _alias("canary", found.canary))
    return [*aliases, ("close_gate", {"outcome": f"set back: {why[0]}"}), told, PAGE]


def ended(reasons: Sequence[str], now: float) -> list[Row]:
    """A probation is over, and nobody has the former champion any more."""
    return [_record("probation ended", now, reasons=list(reasons)), PAGE]


def ordered(order: str, now: float, why: str) -> list[Row]:
    """A person's order: paused, frozen, resumed."""
    return [_record(order, now, reasons=[why])]


def paged(sli: str, burn: float, since: float, why: str, now: float) -> list[Row]:
    """A person is paged, since an SLI burns."""
    return [_record("paged", now, sli=sli, burn=burn, since=since, reasons=[why]), PAGE]


def decided(
    before: Phase, state: State, decision: Decision, now: float, evidence: Gate | None, by: Approved | None = None,
    presses: Sequence[Approval] = (), holdback: float = 0.0,
) -> list[Row]:  # fmt: skip
    """The rows of a controller's decision, made in the phase `before`.

    `state` is the one after it; `evidence` the gate (opened now, or let in on); `presses` those that the approval stands on;
    `holdback` the percent of the users who keep the champion in a probation.
    """
    action, reasons, rows = decision.action, decision.reasons, list[Row]()
    if action is Action.ADVANCE:
        rows = [_record("stage", now, weight=100 * state.evidence.weights[-1][1], reasons=list(reasons))]
    elif action is Action.REARM:
        rows = [_record("tried again", now, reasons=list(reasons))]
    elif action is Action.OPEN_GATE and evidence:
        page = {"evidence": evidence.markdown, "digest": evidence.digest, "at": evidence.opened_at}
        rows = [("open_gate", page), _record("gate opened", now, digest=evidence.digest), PAGE]
    elif action is Action.PROMOTE and evidence:
        kept = {"holdback": holdback} if state.phase is Phase.PROBATION else {}
        rows = [*_promoted(state, reasons, now, evidence, by, presses, kept)]
    elif action is Action.SET_BACK:
        rows = set_back(state, now, reasons)
    elif action is Action.END_PROBATION:
        rows = ended(reasons, now)
    elif action is Action.ROLLBACK and before is Phase.PROBATION:
        rows = reverted(state.evidence.champion, now, reasons)
    elif action is Action.ROLLBACK:
        rows = closed("rolled back", now, reasons)
    return rows


def refused(name: str, versions: Iterable[tuple[str, str]]) -> list[Row]:
    """Versions of NAME-prod (number, reason) that change nothing."""
    return [("refuse", {"prod": f"{name}-prod", "prod_version": number, "reason": reason}) for number, reason in versions]


def _promoted(
    state: State, reasons: Sequence[str], now: float, evidence: Gate, by: Approved | None, presses: Sequence[Approval],
    kept: Mapping[str, float],
) -> Iterable[Row]:  # fmt: skip
    page = {"evidence": evidence.markdown, "digest": evidence.digest}
    if by:
        for press in presses:
            yield "confirm", page | {"approval": asdict(press)}
    else:
        yield "let_in", page | {"why": reasons[0]}
    yield _alias("champion", state.evidence.canary)
    yield _alias("canary", None)
    yield "close_gate", {"outcome": "promoted"}
    who = {"approver": by.user or UNKNOWN, "production": by.prod_version} if by else {"approver": GATES}
    former = state.evidence.champion or None
    yield _record("promoted", now, reasons=list(reasons), digest=evidence.digest, former=former, **who, **kept)
    yield PAGE


def _alias(alias: str, version: str | None) -> Row:
    return "set_alias", {"alias": alias, "version": version}


def _record(event: str, now: float, **detail: object) -> Row:
    return "record", {"event": event, "at": now, "detail": detail}


def tell(memory: Memory, effect: Effect, page: Callable[[], str]) -> None:
    """Do one effect; doing it again changes nothing. `page` draws the page of the effect's rollout."""
    payload = dict(effect.payload)
    if effect.effect == "set_alias":
        memory.set_alias(effect.name, payload["alias"], payload["version"])
        return
    if effect.effect == "refuse":
        memory.refuse(**payload)
        return
    version = memory.version(effect.name, effect.version)
    if effect.effect == "page":
        memory.keep(version, f"rollout/{effect.rollout}.html", page())
    elif effect.effect == "record":
        if payload["event"] == "promoted":
            payload["detail"] = {**payload["detail"], "data_md5": memory.data_md5(version)}
        memory.record(version, **payload, id=f"{int(payload['at'] * 1000)}-{effect.id}")
    elif effect.effect == "confirm":
        memory.confirm(version, Approval(**payload.pop("approval")), **payload)
    elif effect.effect == "open_gate":
        memory.open_gate(version, **payload)
    elif effect.effect == "close_gate":
        memory.close_gate(version, **payload)
    elif effect.effect == "let_in":
        memory.let_in(version, **payload)
    else:
        raise ValueError(f"the outbox holds an effect of no known kind: {effect.effect}")
