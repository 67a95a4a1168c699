"""Micro-batches: which waiting texts are decoded together, and when. The policy is pure; one thread carries it out."""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipelines.errors import SeqlineError

A = TypeVar("A")
G = TypeVar("G", bound=Hashable)


class Full(SeqlineError):
    """The queue has no room."""


class Expired(SeqlineError):
    """The deadline passed before the text was decoded."""


@dataclass(frozen=True)
class Waiting:
    """A text in the queue: its length in tokens (an estimate), when it came and when it is too late (seconds of one clock).

    Only texts of the same `group` (their decoding settings) can be decoded together.
    """

    tokens: int
    since: float
    deadline: float
    group: Hashable


@dataclass(frozen=True)
class Pick:
    """What to do with the queue now (indices into it): decode `batch`, drop `expired`; with no batch, look again in `wait`."""

    batch: tuple[int, ...]
    expired: tuple[int, ...]
    wait: float | None


def pick(waiting: Sequence[Waiting], now: float, budget: int, patience: float) -> Pick:
    """Choose the next micro-batch.

    The oldest text leads, so that none starves; others of its group join in order of arrival while the padded size (texts x
    longest) stays within `budget` tokens. A batch leaves when it cannot grow any more or its leader has waited `patience` s.
    """
    expired = tuple(i for i, w in enumerate(waiting) if w.deadline <= now)
    alive = [i for i, w in enumerate(waiting) if w.deadline > now]
    if not alive:
        return Pick((), expired, None)
    leader = waiting[alive[0]]
    batch, longest, left = [alive[0]], leader.tokens, False
    for i in alive[1:]:
        if waiting[i].group != leader.group:
            continue
        padded = max(longest, waiting[i].tokens)
        if (len(batch) + 1) * padded <= budget:
            batch.append(i)
            longest = padded
        else:
            left = True
    wait = leader.since + patience - now
    if left or wait <= 0 or (len(batch) + 1) * longest > budget:
        return Pick(tuple(batch), expired, None)
    return Pick((), expired, wait)


@dataclass(frozen=True)
class Text(Waiting, Generic[A]):
    """A text in the queue and the future of its answer; cancelling the future takes it out."""

    text: str = ""
    future: "Future[A]" = field(default_factory=Future, compare=False)


class Batcher(Generic[G, A]):
    """A bounded queue in front of one decoding thread.

    `decode(texts, group)` returns an answer a text. `bound` texts may wait; a request that finds room is let in whole.
    """

    def __init__(self, decode: Callable[[list[str], G], Sequence[A]], *, budget: int, patience: float, bound: int) -> None:
        self._decode = decode
        self._budget, self._patience, self._bound = budget, patience, bound
        self._waiting: list[Text[A]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)
        self._thread.start()

    def submit(self, texts: Sequence[str], lengths: Sequence[int], deadline: float, group: G) -> "list[Future[A]]":
        """Queue the texts of one request (`lengths` in tokens, `deadline` by time.monotonic) and return a future each.

        Raises:
            Full: `bound` texts wait already.
        """
        now = time.monotonic()
        rows = [Text[A](n, now, deadline, group, text) for text, n in zip(texts, lengths, strict=True)]
        with self._changed:
            if self._closed or len(self._waiting) >= self._bound:
                raise Full
            self._waiting += rows
            self._changed.notify()
        return [row.future for row in rows]

    def close(self) -> None:
        """Decode what waits, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            self._answer(batch)

    def _next(self) -> list[Text[A]]:
        with self._changed:
            while True:
                self._waiting = [row for row in self._waiting if not row.future.cancelled()]
                chosen = pick(self._waiting, time.monotonic(), self._budget, 0 if self._closed else self._patience)
                batch = [self._waiting[i] for i in chosen.batch]
                expired = [self._waiting[i] for i in chosen.expired]
                taken = {*chosen.batch, *chosen.expired}
                self._waiting = [row for i, row in enumerate(self._waiting) if i not in taken]
                for row in _still_wanted(expired):
                    row.future.set_exception(Expired())
                if (batch := _still_wanted(batch)) or (self._closed and not self._waiting):
                    return batch
                if not chosen.batch:
                    self._changed.wait(chosen.wait)

    def _answer(self, batch: list[Text[A]]) -> None:
        group: G = batch[0].group  # type: ignore[assignment]
        try:
            answers = self._decode([row.text for row in batch], group)
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for row in batch:  # one text that cannot be decoded does not fail its neighbours
                self._answer([row])
            return
        for row, answer in zip(batch, answers, strict=True):
            row.future.set_result(answer)


def _still_wanted(rows: Sequence[Text[A]]) -> list[Text[A]]:
    return [row for row in rows if row.future.set_running_or_notify_cancel()]
