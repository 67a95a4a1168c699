"""Micro-batches: which waiting texts are decoded together, and when. The policy is pure; a few threads carry it out.

Batches form while the decoder is busy, and an idle decoder starts at once. Small batches of like length are best on a CPU:
with 15M parameters on one core 1 text at a time makes 105 texts/s, 4 make 170, 8 to 20 about 190, 32 make 175 and 64 make 150.
And while a small one is decoded the senders of the last come back, so that the next stands ready.
"""

import asyncio
import heapq
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence, Sized
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from pipelines.errors import SeqlineError

T = TypeVar("T", bound=Sized)
A = TypeVar("A")
G = TypeVar("G", bound=Hashable)
REMEMBERED = 16  # batches whose times say how long one takes at least
MILDER = 0.8  # what is left of that estimate when it has cost a text its answer: a wrong one must not go on for ever


class Closed(SeqlineError):
    """The batcher takes no more texts."""


class Expired(SeqlineError):
    """The text could not be decoded before its deadline."""


@dataclass(frozen=True)
class Waiting:
    """A text in the queue: its length in tokens, when it came and when its answer is too late (seconds of one clock).

    Only texts of the same `group` (their decoding settings) can be decoded together.
    """

    tokens: int
    since: float
    deadline: float
    group: Hashable


@dataclass(frozen=True)
class Bounds:
    """Of a batch: `tokens` with the padding (texts x longest), `texts`, and seconds that its first text waits for company.

    A batch of its own costs as much as decoding `fixed` tokens of padding: a text that costs its share of more is left out.
    """

    tokens: int
    texts: int
    patience: float = 0.0
    fixed: float = math.inf


@dataclass(frozen=True)
class Pick:
    """What to do with the queue now (indices into it): decode `batch`, drop `expired`; with no batch, look again in `wait`."""

    batch: tuple[int, ...]
    expired: tuple[int, ...]
    wait: float | None


def pick(waiting: Sequence[Waiting], now: float, bounds: Bounds, takes: float = 0.0) -> Pick:
    """Choose the next micro-batch from texts in order of arrival; decoding `takes` seconds at least.

    The oldest text leads, so that none starves; with it go those of its group that are nearest in length, as many as make the
    waste (padding, and what a batch costs anyhow) the least for each of them. A batch leaves when there is nobody left who may
    join it or its leader has waited `bounds.patience`.
    """
    expired = tuple(i for i, w in enumerate(waiting) if w.deadline <= now + takes)
    alive = [i for i, w in enumerate(waiting) if w.deadline > now + takes]
    if not alive:
        return Pick((), expired, None)
    leader = waiting[alive[0]]
    company = [i for i in alive[1:] if waiting[i].group is leader.group or waiting[i].group == leader.group]
    nearest = heapq.nsmallest(bounds.texts - 1, company, key=lambda i: abs(waiting[i].tokens - leader.tokens))
    batch = (alive[0], *nearest[: _worth([leader.tokens, *(waiting[i].tokens for i in nearest)], bounds) - 1])
    wait = leader.since + bounds.patience - now
    if len(batch) < bounds.texts and len(batch) == len(company) + 1 and wait > 0:
        return Pick((), expired, wait)
    return Pick(batch, expired, None)


def _worth(tokens: Sequence[int], bounds: Bounds) -> int:
    """How many of these texts, from the first on, to decode together."""
    best, least, total, longest = 1, math.inf, 0, 0
    for count, length in enumerate(tokens, 1):
        total, longest = total + length, max(longest, length)
        if count > 1 and count * longest > bounds.tokens:
            break
        waste = (bounds.fixed + count * longest - total) / count
        if waste <= least:
            best, least = count, waste
    return best


@dataclass(frozen=True)
class Decoded(Generic[A]):
    """An answer, the seconds that its text waited and was decoded, and the number of texts decoded with it."""

    answer: A
    queue: float
    decode: float
    batch: int


@dataclass(frozen=True, eq=False)
class Text(Waiting, Generic[T, A]):
    """A text in the queue and the future of its answer; cancelling the future takes it out."""

    item: T
    future: "asyncio.Future[Decoded[A]]"


class Batcher(Generic[T, G, A]):
    """A queue in front of `threads` decoding threads. `submit` belongs to one event loop, which must outlive the batcher.

    `decode(items, group)` returns an answer an item; len(item) is in tokens. `decoded` counts the items it was given.
    """

    def __init__(
        self,
        decode: Callable[[list[T], G], Sequence[A]],
        bounds: Bounds,
        *,
        threads: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.decoded = 0
        self._decode, self._bounds, self._clock = decode, bounds, clock
        self._waiting: list[Text[T, A]] = []
        self._took: deque[float] = deque(maxlen=REMEMBERED)
        self._began: dict[int, float] = {}
        self._changed = threading.Condition()
        self._idle = threads
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = [threading.Thread(target=self._run, name=f"decode-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Texts that wait."""
        return len(self._waiting)

    @property
    def longest(self) -> float:
        """Seconds for which the longest of the batches that are decoded now has been."""
        return self._clock() - min(self._began.copy().values(), default=self._clock())

    def submit(self, items: Sequence[T], deadline: float, group: G) -> "list[asyncio.Future[Decoded[A]]]":
        """Queue `items`, to be answered before `deadline` (by the clock), and return a future each.

        Raises:
            Closed: too late.
        """
        self._loop = loop = asyncio.get_running_loop()
        now = self._clock()
        rows = [Text[T, A](len(item), now, deadline, group, item, loop.create_future()) for item in items]
        with self._changed:
            if self._closed:
                raise Closed
            self._waiting += rows
            self._changed.notify(len(rows))
        return [row.future for row in rows]

    def close(self) -> None:
        """Decode what waits, then end the threads. The loop must still run, or run again, to hear of it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while batch := self._next():
            self._answer(batch)
            with self._changed:
                self._idle += 1
                del self._began[threading.get_ident()]

    def _next(self) -> list[Text[T, A]]:
        """The next batch, as soon as there is one; empty at the end."""
        with self._changed:
            while True:
                batch, wait = self._take(self._clock())
                if batch or (self._closed and not self._waiting):
                    self._idle -= 1
                    return batch
                self._changed.wait(wait)

    def _take(self, now: float) -> tuple[list[Text[T, A]], float | None]:
        waiting = [row for row in self._waiting if not row.future.cancelled()]
        share = -(-len(waiting) // self._idle)  # idle threads share what waits
        texts = max(1, min(self._bounds.texts, share))
        takes = min(self._took, default=0.0)
        chosen = pick(
            waiting, now, replace(self._bounds, texts=texts, patience=0 if self._closed else self._bounds.patience), takes
        )
        expired = [waiting[i] for i in chosen.expired]
        if any(row.deadline > now for row in expired):
            self._took.append(takes * MILDER)
        if expired:
            self._tell([(row, Expired()) for row in expired])
        taken = {*chosen.batch, *chosen.expired}
        self._waiting = [row for i, row in enumerate(waiting) if i not in taken]
        return [waiting[i] for i in chosen.batch], chosen.wait

    def _answer(self, batch: list[Text[T, A]]) -> None:
        group: G = batch[0].group  # type: ignore[assignment]
        self.decoded += len(batch)
        began = self._began[threading.get_ident()] = self._clock()
        try:
            answers = self._decode([row.item for row in batch], group)
        except Exception as error:
            if len(batch) == 1:
                self._tell([(batch[0], error)])
            for row in batch if len(batch) > 1 else ():  # one that cannot be decoded does not fail its neighbours
                if not row.future.cancelled():
                    self._answer([row])
            return
        took = self._clock() - began
        with self._changed:
            self._took.append(took)
        self._tell([
            (row, Decoded(answer, began - row.since, took, len(batch))) for row, answer in zip(batch, answers, strict=True)
        ])  # fmt: skip

    def _tell(self, told: "list[tuple[Text[T, A], Decoded[A] | Exception]]") -> None:
        """Let the event loop set the futures: one wake-up a batch."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(_settle, told)


def _settle(told: "list[tuple[Text[T, A], Decoded[A] | Exception]]") -> None:
    for row, outcome in told:
        if row.future.done():  # cancelled
            continue
        if isinstance(outcome, Exception):
            row.future.set_exception(outcome)
        else:
            row.future.set_result(outcome)
