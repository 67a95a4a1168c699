"""Too much to do: who is let in, what is given up first, and when to come again. Pure: the clock is passed in (seconds).

Up to `queue` requests are let in: many who wait are no overload, and nothing less than a full queue proves one (rates of
arrival do not: eager senders who ask again at once look like any number). Once it is full a long queue only makes everybody
late. From then on (`Room.overloaded`) the limit is the number of texts at which an answer takes TARGET times as long as it did
in calm (the gradient of Netflix's concurrency-limits, with the no-load latency measured in calm rather than guessed under
load); those who wait beyond it are sent away too. That lasts until hardly anybody has to be refused any more, or for LONGEST
seconds: then it is tried anew.
"""

import math
from collections import deque
from dataclasses import dataclass

from pipelines.spec import Overload

TARGET = 1.0  # mean latency under overload over the 95th percentile in calm: the 99th then stays within twice that in calm
FEWEST = 4  # texts that are always let in
KEPT = 16  # requests, the oldest ones, that a beginning overload does not send away
CALM = 1  # texts of others in flight, when one came, up to which its latency is one of calm
CALM_KEPT = 256  # latencies of calm that are remembered
ROUND = 8  # answers, at least, between two changes of the limit
SHRINK, GROW = 0.5, 1.25  # of the limit, at most, in one round
WINDOW = 2.0  # seconds over which arrivals and refusals are weighed
LONGEST = 60.0  # seconds of an overload: eager senders, few enough for the queue, would keep it up for ever
FORGIVEN = 0.05  # share of the arrivals that may be refused when an overload ends
BUSY = 16  # texts in flight from which on the rate of answers says what can be done, not what is asked
MEASURED = 0.25  # seconds of that from which on the rate is worth something: answers come in batches
LONGEST_RETRY = 30  # seconds


@dataclass(frozen=True)
class Relief:
    """What is given up for everybody now."""

    smaller_beam: bool = False
    stale: bool = False


NOTHING = Relief()


def relief(used: float, spent: float, overload: Overload) -> Relief:
    """What to give up when `used` of the queue is in use and `spent` of the money (both shares)."""
    return Relief(smaller_beam=used >= overload.smaller_beam_at or spent >= 0.8, stale=used >= overload.stale_at)


class Fading:
    """A sum that forgets: what was added `memory` seconds ago counts for a third."""

    def __init__(self, memory: float) -> None:
        self._memory, self._sum, self._at = memory, 0.0, 0.0

    def at(self, now: float) -> float:
        return self._sum * math.exp(min(0.0, self._at - now) / self._memory)

    def add(self, amount: float, now: float) -> None:
        self._sum, self._at = self.at(now) + amount, now


@dataclass(eq=False)
class Place:
    """A request's place in the gateway, from `since` on; `sent_away` once an overload took it back."""

    texts: int
    since: float
    calm: bool
    sent_away: bool = False


class Room:
    """The places of one gateway. Nobody waits here: there is room, or there is not.

    `queue` bounds the requests; `promised` is the latency (seconds) that an overload must keep where no calm was ever seen.
    """

    def __init__(self, queue: int, promised: float) -> None:
        self.overloaded = False
        self.limit = float(max(queue, FEWEST))
        self._queue, self._promised = queue, promised
        self._places: dict[Place, None] = {}  # in order of arrival
        self._texts = 0
        self._calm: deque[float] = deque(maxlen=CALM_KEPT)
        self._arrived, self._refused = Fading(WINDOW), Fading(WINDOW)
        self._done, self._worked, self._since = 0.0, 0.0, 0.0
        self._round: list[float] = []
        self._began, self._changed = 0.0, 0.0

    @property
    def requests(self) -> int:
        return len(self._places)

    @property
    def rate(self) -> float | None:
        """Texts a second that can be answered, as measured while there was enough to do; None before that."""
        return self._done / self._worked if self._worked >= MEASURED else None

    @property
    def used(self) -> float:
        """Share of the queue in use."""
        return 1.0 if self.overloaded else len(self._places) / self._queue

    def full(self) -> bool:
        """Would the next one be refused?"""
        if self.overloaded:
            return self._texts >= self.limit
        return len(self._places) >= self._queue

    def enter(self, texts: int, now: float) -> Place:
        """Take a place; ask `full` first. Lasts until `leave`."""
        self._arrived.add(1, now)
        if self.overloaded and self._is_over(now):
            self.overloaded, self.limit = False, self._bounded(self._queue)
            self._done = self._worked = 0.0  # the rate may be that of a fault which is over
        self._work(now, 0)
        place = Place(texts, now, self._texts <= CALM)
        self._places[place] = None
        self._texts += texts
        return place

    def refuse(self, now: float) -> tuple[int, list[Place]]:
        """One is refused. Returns the seconds after which to come again, and the places that an overload takes back now."""
        self._arrived.add(1, now)
        self._refused.add(1, now)
        taken = [] if self.overloaded else self._overload(now)
        backlog = self._texts + self._refused.at(now)  # those sent away come again
        rate = self.rate
        return max(1, min(LONGEST_RETRY, round(backlog / rate))) if rate else 1, taken

    def leave(self, place: Place, now: float, *, answered: bool) -> None:
        """Give the place back; `answered` unless the request failed or its sender left."""
        self._work(now, place.texts if answered else 0)
        del self._places[place]
        self._texts -= place.texts
        if answered and place.calm:
            self._calm.append(now - place.since)
        if answered and self.overloaded and place.since >= self._changed:
            self._adjust(now - place.since, now)

    def _is_over(self, now: float) -> bool:
        lasted = now - self._began
        return lasted > LONGEST or (lasted > WINDOW and self._refused.at(now) <= FORGIVEN * self._arrived.at(now))

    def _work(self, now: float, done: int) -> None:
        """Measure the rate, over the last seconds in which there was enough to do."""
        if self._texts >= BUSY:
            passed = max(0.0, now - self._since)
            kept = math.exp(-passed / WINDOW)
            self._done, self._worked = self._done * kept + done, self._worked * kept + passed
        self._since = now

    def _target(self) -> float:
        """Seconds that an answer may take, in the mean, while there is an overload."""
        if not self._calm:
            return self._promised / 2
        return TARGET * sorted(self._calm)[int(0.95 * (len(self._calm) - 1))]

    def _overload(self, now: float) -> list[Place]:
        self.overloaded, self._began, self._changed = True, now, now
        self._round.clear()
        self.limit = self._bounded((self.rate or 0.0) * self._target())
        taken, texts = [], self._texts
        for place in list(self._places)[: KEPT - 1 : -1]:  # the youngest first
            if texts <= self.limit:
                break
            place.sent_away = True
            taken.append(place)
            texts -= place.texts
        return taken

    def _adjust(self, seconds: float, now: float) -> None:
        """Count a latency of somebody let in under the limit of now; after enough of them, move the limit."""
        self._round.append(seconds)
        if len(self._round) < max(ROUND, self.limit / 2):
            return
        mean = sum(self._round) / len(self._round)
        self.limit = self._bounded(self.limit * min(GROW, max(SHRINK, self._target() / mean)))
        self._changed = now
        self._round.clear()

    def _bounded(self, limit: float) -> float:
        return min(float(max(self._queue, FEWEST)), max(float(FEWEST), limit))
