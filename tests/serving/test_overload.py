"""Room under overload, against a simulated engine that decodes in batches: no clock, no sleep. And the ladder."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from pipelines.serving.overload import FEWEST, LONGEST_RETRY, Fading, Place, Relief, Room, relief
from pipelines.spec import Overload

QUEUE, PROMISED = 256, 1.0


def seconds_of(texts: int, longest: float) -> float:
    """Of a batch on one core: 15M parameters, int8, greedy, as measured; `longest` is its longest text over a usual one."""
    return (0.006 + 0.0028 * texts + 0.00003 * texts**2) * longest


@dataclass
class Site:
    """A gateway's room before one engine that takes up to 16 texts at once, the oldest first."""

    room: Room
    seed: int = 1
    overhead: float = 0.004
    now: float = 0.0
    waiting: list[tuple[Place, float]] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    retries: list[int] = field(default_factory=list)
    events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    number: int = 0
    busy: bool = False

    def run(self, rate: float, seconds: float) -> None:
        """Poisson arrivals; the latencies of what was answered, what was refused and what it was told are kept."""
        draw = random.Random(self.seed)
        self.latencies, self.refused, self.retries = [], 0, []
        at, end = self.now, self.now + seconds
        while at < end:
            at += draw.expovariate(rate)
            self._later(at, partial(self._arrive, draw.choice((0.3, 0.6, 1.0, 1.0, 1.6))))
        while self.events:
            self.now, _, what = heapq.heappop(self.events)
            what()

    def _later(self, at: float, what: Callable[[], None]) -> None:
        self.number += 1
        heapq.heappush(self.events, (at, self.number, what))

    def _arrive(self, size: float) -> None:
        if not self.room.full():
            self.waiting.append((self.room.enter(1, self.now), size))
            if not self.busy:
                self._begin()
            return
        self.refused += 1
        again, taken = self.room.refuse(self.now)
        self.retries.append(again)
        for place in taken:
            self.room.leave(place, self.now, answered=False)

    def _begin(self) -> None:
        waiting = [each for each in self.waiting if not each[0].sent_away]
        batch, self.waiting = waiting[:16], waiting[16:]
        if batch:
            self.busy = True
            taken = seconds_of(len(batch), max(size for _, size in batch))
            self._later(self.now + taken, partial(self._finish, [place for place, _ in batch]))

    def _finish(self, batch: list[Place]) -> None:
        self.busy = False
        for place in batch:
            if not place.sent_away:
                self.room.leave(place, self.now, answered=True)
                self.latencies.append(self.now - place.since + self.overhead)
        self._begin()

    def quantile(self, share: float) -> float:
        return sorted(self.latencies)[int(share * (len(self.latencies) - 1))]


PEAK = 174.0  # texts a second that the simulated engine makes of a queue that is never empty


def test_four_times_too_much_is_answered_as_fast_as_can_be_and_nobody_waits_long() -> None:
    site = Site(Room(QUEUE, PROMISED))
    site.run(PEAK * 0.4, 60)
    calm, began = site.quantile(0.99), site.now
    assert not site.refused
    site.run(PEAK * 4, 60)
    assert site.room.overloaded
    assert len(site.latencies) / (site.now - began) >= 0.9 * PEAK
    assert site.quantile(0.99) <= 2 * calm
    assert min(site.retries) >= 1
    assert max(site.retries) <= LONGEST_RETRY


def test_an_overload_ends_when_there_is_less_to_do() -> None:
    site = Site(Room(QUEUE, PROMISED))
    site.run(PEAK * 0.4, 10)
    site.run(PEAK * 3, 10)
    site.run(PEAK * 0.4, 10)
    assert not site.room.overloaded
    assert site.refused < 20, "only while the overload was still being felt"


def test_a_load_that_can_be_carried_is_refused_nothing() -> None:
    site = Site(Room(QUEUE, PROMISED))
    site.run(PEAK * 0.85, 30)
    assert not site.refused


def test_many_who_wait_for_their_answers_are_no_overload() -> None:
    room = Room(QUEUE, PROMISED)
    places = [room.enter(1, 0.0) for _ in range(QUEUE)]
    assert not room.overloaded
    assert room.full()
    assert room.refuse(0.0) == (1, places[:15:-1]), "all but the oldest are sent away, the youngest first"


def test_eager_senders_wait_long_and_are_refused_nothing() -> None:
    room, now = Room(QUEUE, PROMISED), 0.0
    places = [room.enter(8, now) for _ in range(32)]  # who has an answer asks again
    for _ in range(200):
        now += 0.1  # 80 texts a second: everybody waits three seconds
        room.leave(places.pop(0), now, answered=True)
        assert not room.full()
        places.append(room.enter(8, now))
    assert room.rate is not None
    assert round(room.rate) == 80


def test_eager_senders_who_fit_the_queue_are_let_in_again_after_an_overload() -> None:
    room, now = Room(16, PROMISED), 0.0
    places = [room.enter(1, now) for _ in range(16)]
    room.refuse(now)
    while room.overloaded:
        now += 0.02
        room.leave(places.pop(0), now, answered=True)
        while len(places) < 15 and not room.full():  # they are fifteen, and never tire
            places.append(room.enter(1, now))
        if len(places) < 15:
            room.refuse(now)
        assert now < 120


def test_a_lone_request_always_finds_room() -> None:
    room = Room(1, 0.001)
    place = room.enter(64, 0.0)
    room.leave(place, 60.0, answered=False)
    assert not room.full()


@given(st.lists(st.tuples(st.sampled_from("eearl"), st.integers(1, 8), st.floats(0, 0.3)), max_size=200), st.integers(1, 12))
def test_whatever_happens_the_room_counts_right(steps: list[tuple[str, int, float]], queue: int) -> None:
    room, now = Room(queue, PROMISED), 0.0
    inside: list[Place] = []
    for step, texts, passed in steps:
        now += passed
        if step == "e" and not room.full():
            inside.append(room.enter(texts, now))
        elif step == "r" or (step == "e" and room.full()):
            again, taken = room.refuse(now)
            assert 1 <= again <= LONGEST_RETRY
            for place in taken:
                assert place.sent_away
                inside.remove(place)
                room.leave(place, now, answered=False)
        elif inside:
            room.leave(inside.pop(0), now, answered=step == "a")
        assert room.requests == len(inside) <= max(queue, FEWEST)
        assert FEWEST <= room.limit <= max(queue, FEWEST)
        assert room.used >= 0
        if not inside:
            assert not room.full(), "an empty room always has room"


@given(st.floats(0, 2), st.floats(0, 2), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_more_use_never_gives_up_less(used: float, spent: float, more: float, smaller: float, stale: float) -> None:
    overload = Overload(smaller_beam_at=smaller, stale_at=stale)
    before, after = relief(used, spent, overload), relief(used + more, spent + more, overload)
    assert after.smaller_beam >= before.smaller_beam
    assert after.stale >= before.stale


def test_the_ladder() -> None:
    overload = Overload()
    assert relief(0.49, 0.79, overload) == Relief()
    assert relief(0.5, 0, overload) == Relief(smaller_beam=True)
    assert relief(0.7, 0, overload) == Relief(smaller_beam=True, stale=True)
    assert relief(0, 0.8, overload) == Relief(smaller_beam=True), "saving money makes no answer older"


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), min_size=1), st.floats(0.1, 10))
def test_what_fades_is_never_more_than_was_added(added: list[tuple[float, float]], memory: float) -> None:
    fading, now = Fading(memory), 0.0
    for amount, passed in added:
        now += passed
        fading.add(amount, now)
    assert 0 <= fading.at(now) <= sum(amount for amount, _ in added) * 1.000001
    assert fading.at(now + 1) <= fading.at(now)
