"""Seeded traffic on a virtual clock through the real fold and decide: what a gateway would journal, without a gateway."""

import random
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate

from pipelines import spec
from pipelines.rollout import evidence as ev
from pipelines.rollout import policy as po
from pipelines.rollout.decide import decide, step
from pipelines.rollout.dossier import gate
from pipelines.rollout.policy import Action, Approved, Observed, Phase, Policy, State
from pipelines.rollout.store import Event

POLICY = replace(Policy.of(spec.Slo(), spec.Rollout()), stage_seconds=15.0, probation_seconds=0.0)
TWO = replace(POLICY, slis=POLICY.slis[:2])  # no judge
TICK = 2.0


@dataclass
class World:
    """Who asks, how often, and how the two versions answer: `bad(arm, sli, at, user)` is the chance of a bad answer."""

    bad: Callable[[str, str, float, int], float]
    rate: float = 40.0
    users: int = 5_000
    heavy: float = 0.0  # exponent of a Zipf law of requests a user; 0: all alike
    judged: float = 0.25
    seed: int = 1
    weights: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.place = [self.chance.random() for _ in range(self.users)]
        self.weights = list(accumulate((i + 1) ** -self.heavy for i in range(self.users)))
        self.n = 0

    def answers(self, start: float, end: float, weight: float, shadow: bool, slis: tuple[str, ...]) -> Iterator[Event]:
        at = start
        while (at := at + self.chance.expovariate(self.rate)) < end:
            user = bisect(self.weights, self.chance.random() * self.weights[-1])
            arm = "canary" if self.place[user] < weight / 100 else "champion"
            self.n += 1
            judged = self.chance.random() < self.judged
            arms = [(arm, False)] + ([("canary", True)] if shadow else [])
            for each, mirrored in arms:
                yield from self._answer(each, mirrored, at, user, judged, slis)

    def _answer(self, arm: str, mirrored: bool, at: float, user: int, judged: bool, slis: tuple[str, ...]) -> Iterator[Event]:
        good = {sli: self.chance.random() >= self.bad(arm, sli, at, user) for sli in slis if sli not in ev.SCORED}
        version = "2" if arm == "canary" else "1"
        told = {sli: value for sli, value in good.items() if sli != "judge"}
        event = Event(str(self.n), f"u{user}", arm, version, at, told, shadow=mirrored)
        yield event
        if judged and "judge" in good:
            score = self.chance.betavariate(1, 4) if not good["judge"] else self.chance.betavariate(8, 2)
            yield replace(event, kind="verdict", slis={"judge": good["judge"]}, scores={"quality": score})


@dataclass
class Run:
    state: State
    seconds: float
    served: int  # answers that the canary gave to users
    bad: int  # of these, bad in any SLI
    actions: list[Action]

    @property
    def rolled_back(self) -> bool:
        return self.state.phase is Phase.ROLLED_BACK


def run(world: World, policy: Policy = TWO, longest: float = 1_800.0, approve: bool = True) -> Run:
    """Tick a rollout to its end on `world`'s traffic; an approval comes as soon as one is asked for."""
    now, actions = 1_000.0, []
    state = po.prepared(po.start("2", "1", now), policy)
    slis = tuple(rule.name for rule in policy.slis)
    served = bad = 0
    approval = None
    while now < 1_000.0 + longest and state.phase not in po.TERMINAL:
        weight, shadow = po.traffic(state, policy)
        batch = list(world.answers(now, now + TICK, weight, shadow, slis))
        mine = [e for e in batch if e.arm == "canary" and not e.shadow and e.kind == "answer"]
        served += len(mine)
        bad += sum(not all(e.slis.values()) for e in mine)
        now += TICK
        state = replace(state, evidence=ev.fold(state.evidence, batch))
        decision = decide(state, Observed(now, approval), policy)
        opened = gate(state, policy, [], now) if decision.action is Action.OPEN_GATE else None
        state = step(state, decision, now, policy, opened)
        if opened and approve:
            approval = Approved("1", opened.digest, now + 0.5)
        actions.append(decision.action)
    return Run(state, now - 1_000.0, served, bad, actions)


def same(rate: float) -> Callable[[str, str, float, int], float]:
    """Both versions fail alike."""
    return lambda _arm, _sli, _at, _user: rate


def canary(rate: float, champion: float = 0.002, sli: str = "availability") -> Callable[[str, str, float, int], float]:
    """The canary fails `rate` of its requests in one SLI, the champion `champion` in every one."""
    return lambda arm, which, _at, _user: rate if arm == "canary" and which == sli else champion
