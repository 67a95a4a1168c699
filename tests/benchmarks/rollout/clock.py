"""The real fold and decide on a virtual clock: a controller that ticks every 2 s, and a gateway that polls every 0.2 s.

Nothing is decided differently between two ticks that saw no bad answer of the canary, so those are passed over, up to the
next time that the canary might move on; what happened meanwhile is counted, not drawn (`counted`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipelines.rollout import evidence as ev
from pipelines.rollout import policy as po
from pipelines.rollout.decide import decide, step
from pipelines.rollout.evidence import Count, Evidence
from pipelines.rollout.policy import Action, Approved, Gate, Observed, Phase, Policy, Rule
from pipelines.rollout.store import Event
from tests.benchmarks.rollout.traffic import World

TICK = 2.0
POLL = 0.2
LOOKS = 200  # requests, whoever they went to, after which it is looked at again whether the canary may move on
CLASSIC = Policy(
    (Rule("availability", 0.999),), ((1, 50), (5, 10), (25, 4), (50, 2)), shadow_requests=0, stage_seconds=120.0, person=False
)
SHADOW = replace(CLASSIC, shadow_requests=100)
MIRRORED = replace(SHADOW, mirrored=True)


def with_slis(policy: Policy, n: int) -> Policy:
    """`policy` with n SLIs of the same objective."""
    return replace(policy, slis=(policy.slis[0], *(replace(policy.slis[0], name=f"sli{i}") for i in range(1, n))))


@dataclass
class Ended:
    """How a rollout went: what users met, from its first moment to 100 % or to weight 0."""

    phase: Phase
    seconds: float
    served: int  # answers that users got from the canary
    bad: int  # of these, bad in the first SLI
    mirrored: int  # bad answers of the canary that no user saw
    weight: float  # at the end

    @property
    def rolled_back(self) -> bool:
        return self.phase is Phase.ROLLED_BACK

    @property
    def promoted(self) -> bool:
        return self.phase is Phase.PROMOTED


@dataclass
class Clock:
    """One rollout of `policy` on `world`, for `longest` virtual seconds at most.

    In the `gaps` (from, to; seconds) the journal brings nothing, and all of it at the first tick after.
    """

    world: World
    policy: Policy = CLASSIC
    longest: float = 6 * 3600.0
    gaps: Sequence[tuple[float, float]] = ()

    def __post_init__(self) -> None:
        self.state = po.prepared(po.start("2", "1", 0.0), self.policy)
        self.now = 0.0
        self.unread: list[tuple[float, float, float, bool]] = []  # from, to, share of the users, mirrored
        self.served = self.bad = self.mirrored = self.request = 0
        self.look = max(TICK, math.ceil(LOOKS / self.world.rate / TICK) * TICK)
        self.actions: list[tuple[float, Action]] = []
        self.approval: Approved | None = None

    def run(self) -> Ended:
        while self.now < self.longest and self.state.phase not in po.TERMINAL:
            weight, _ = po.traffic(self.state, self.policy)
            self.tick()
        if self.state.phase is Phase.ROLLED_BACK:  # the gateways hear of it a poll later
            late = [e for e in self.live(self.now, self.now + POLL, weight / 100) if self.policy.slis[0].name in e.slis]
            self.served += len(late)
            self.bad += len(late)
        return Ended(self.state.phase, self.now, self.served, self.bad, self.mirrored, weight)

    def tick(self) -> None:
        """Fold what happens up to the next tick at which something may be decided, decide, and do it."""
        weight, shadow = po.traffic(self.state, self.policy)
        w, end = weight / 100, self.now + self.look
        hurt = self._events("canary", self.now, end, 0.0, 1.0 if shadow else w)
        if hurt:
            end = min(end, math.ceil(min(each.at for each in hurt) / TICK) * TICK)
        self.unread.append((self.now, end, w, shadow))
        self.now = end
        if not any(start < end <= until for start, until in self.gaps):
            for span in self.unread:
                self.state = replace(self.state, evidence=self.folded(*span))
            self.unread = []
        decision = decide(self.state, Observed(end, self.approval), self.policy)
        gate = Gate(end, end + self.policy.gate_seconds, "digest", "") if decision.action is Action.OPEN_GATE else None
        self.state = step(self.state, decision, end, self.policy, gate)
        if gate:
            self.approval = Approved("1", gate.digest, end)
        if decision.action is not Action.HOLD:
            self.actions.append((end, decision.action))

    def folded(self, start: float, end: float, w: float, shadow: bool) -> Evidence:
        """The evidence after what the journal holds of (start, end]."""
        events = self.live(start, end, w) + self.champions(start, end, w, shadow)
        events += self.unseen(start, end, w) if shadow else []
        good = self.counted(events, start, end, w, shadow)
        return ev.fold(good, sorted(self.halved(events), key=lambda event: event.at))

    def live(self, start: float, end: float, w: float) -> list[Event]:
        """Bad answers of the canary to its own users."""
        return self._events("canary", start, end, 0.0, w)

    def unseen(self, start: float, end: float, w: float) -> list[Event]:
        """Bad answers of the canary to the champion's users' requests; those that are bad in both come with the champion's."""
        found = self._events("canary", start, end, w, 1.0, shadow=True)
        champion = self.world.champion
        return [e for e in found if self.world.draw.random() >= champion[next(iter(e.slis))].mean(e.at, e.at)]

    def champions(self, start: float, end: float, w: float, shadow: bool) -> list[Event]:
        """Bad answers of the champion to its users, and what the canary said to the same requests."""
        found = self._events("champion", start, end, w, 1.0)
        if not shadow:
            return found
        for e in list(found):
            name = next(iter(e.slis))
            good = self.world.draw.random() >= self.world.canary[name].mean(e.at, e.at)
            found.append(replace(e, arm="canary", version="2", shadow=True, slis={name: good}))
        return found

    def halved(self, events: list[Event]) -> list[Event]:
        """`events`, and the champion's good answer to each request that only the canary failed."""
        other = {e.request for e in events if e.arm == "champion"}
        alone = [e for e in events if e.shadow and e.request not in other]
        return events + [replace(e, arm="champion", version="1", shadow=False, slis={next(iter(e.slis)): True}) for e in alone]

    def counted(self, events: list[Event], start: float, end: float, w: float, shadow: bool) -> Evidence:
        """The evidence after the good answers of (start, end]: what a fold of each gives (tests/rollout/test_clock.py)."""
        world, first = self.world, self.policy.slis[0].name
        ours, theirs = world.share(0.0, w), world.share(w, 1.0)
        canary = world.requests(start, end, ours, world.canary[first].mean(start, end))
        champion = world.requests(start, end, theirs, world.champion[first].mean(start, end))
        hurt = [e for e in events if e.arm == "canary" and not e.shadow and first in e.slis]
        self.served += canary + len(hurt)
        self.bad += len(hurt)
        self.mirrored += sum(e.shadow and e.slis.get(first) is False for e in events)
        return calm(self.state.evidence, end, champion, canary, champion if shadow else 0)

    def _events(self, arm: str, start: float, end: float, low: float, high: float, shadow: bool = False) -> list[Event]:
        made = []
        for rule in self.policy.slis:
            found = self.world.bads(arm, rule.name, start, end)
            for i in ((found.place >= low) & (found.place < high)).nonzero()[0]:
                self.request += 1
                who, at = f"u{found.user[i]}", float(found.at[i])
                version = "2" if arm == "canary" else "1"
                made.append(Event(f"r{self.request}", who, arm, version, at, {rule.name: False}, shadow=shadow))
        return made


def calm(evidence: Evidence, at: float, champion: int, canary: int, pairs: int) -> Evidence:
    """`evidence` after so many answers, good in every SLI, up to `at`; `pairs` of the champion's were mirrored, as well."""
    slis = {
        name: replace(
            s,
            champion=s.champion + Count(champion),
            canary=s.canary + Count(canary),
            stage_champion=s.stage_champion + Count(champion),
            stage_canary=s.stage_canary + Count(canary),
            mirror_champion=s.mirror_champion + Count(pairs),
            mirror_canary=s.mirror_canary + Count(pairs),
            stage_mirror=s.stage_mirror + Count(pairs),
            recent=s.recent.add(champion, 0, at),
        )
        for name, s in evidence.slis.items()
    }
    return replace(evidence, slis=slis, last=at if champion or canary else evidence.last)
