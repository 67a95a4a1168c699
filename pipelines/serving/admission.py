"""Who is let in: by room and by money, before anything of a request is read."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pipelines.serving.intake import Refused
from pipelines.serving.overload import NOTHING, Place, Relief, Room, relief
from pipelines.serving.spend import Spend
from pipelines.spec import Serving


@dataclass
class TooMuch(Refused):
    """429: there is no room, or no money, before `retry_seconds` from now."""


@dataclass(frozen=True)
class Admitted:
    """A request that was let in: what it has to do without, and whether the backup is to answer it."""

    relief: Relief
    by_backup: bool = False


class Admission:
    """The room and the money of one gateway.

    A sender is told to come again after the time in which what there is, and those told so before, can be answered.
    """

    def __init__(self, serving: Serving, target: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`target` is the latency that is promised, in seconds."""
        self.spend = Spend(serving.cost.cap_per_hour)
        self.room = Room(serving.queue, min(target, serving.timeout_ms / 1000))
        self._serving, self._clock = serving, clock
        self._by_backup = 0
        self._timers: dict[Place, asyncio.Timeout] = {}

    @property
    def in_flight(self) -> int:
        return self.room.requests + self._by_backup

    def check(self) -> None:
        """Would a request be let in now? To be asked before its body is read: nothing is cheaper than that.

        Raises:
            TooMuch: 429.
        """
        now = self._clock()
        if seconds := self.spend.retry_seconds(now):
            raise TooMuch(429, "serving.cost.cap_per_hour is spent: try again later", seconds)
        if self.room.full() and not self._backup_has_room():
            raise self._refused(now)

    @asynccontextmanager
    async def place(self, texts: int, *, timed: bool = True) -> AsyncIterator[Admitted]:
        """Hold a place for a request of so many texts. A `timed` one can be taken back while it waits.

        Raises:
            TooMuch: 429, at once, or once its place was taken back.
        """
        self.check()
        now = self._clock()
        if self.room.full():
            self._by_backup += 1
            try:
                yield Admitted(NOTHING, by_backup=True)
            finally:
                self._by_backup -= 1
            return
        given_up = relief(self.room.used, self.spend.share(now), self._serving.overload)
        place, answered = self.room.enter(texts, now), False
        try:
            async with asyncio.timeout(None) as timer:
                if timed:
                    self._timers[place] = timer
                yield Admitted(given_up)
                answered = True
        except TimeoutError:
            if not place.sent_away:
                raise
            raise self._refused(self._clock()) from None
        finally:
            self._timers.pop(place, None)
            self.room.leave(place, self._clock(), answered=answered)

    def _backup_has_room(self) -> bool:
        return self._serving.overload.backup is not None and self._by_backup < self._serving.queue

    def _refused(self, now: float) -> TooMuch:
        seconds, taken_back = self.room.refuse(now)
        for place in taken_back:
            if timer := self._timers.pop(place, None):
                timer.reschedule(0)
        return TooMuch(429, f"too much to do: try again in {seconds} s", seconds)
