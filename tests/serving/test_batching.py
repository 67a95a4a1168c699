"""Micro-batches: never over the budget, never one text for ever, never one that nobody waits for."""

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.serving.batching import Batcher, Bounds, Closed, Decoded, Expired, Waiting, pick

waits = st.lists(st.builds(Waiting, st.integers(1, 50), st.floats(0, 10), st.floats(0, 20), st.sampled_from("ab")), max_size=20)
bounds = st.builds(Bounds, st.integers(1, 200), st.integers(1, 20), st.floats(0, 5))


@given(waits, st.floats(0, 20), bounds, st.floats(0, 2))
def test_a_pick_keeps_the_rules(waiting: list[Waiting], now: float, bounds: Bounds, takes: float) -> None:
    waiting.sort(key=lambda w: w.since)
    chosen = pick(waiting, now, bounds, takes)
    batch = [waiting[i] for i in chosen.batch]
    alive = [w for w in waiting if w.deadline > now + takes]
    assert [waiting[i] for i in chosen.expired] == [w for w in waiting if w.deadline <= now + takes]
    if batch:
        assert batch[0] is alive[0], "the oldest leads"
        assert all(w.deadline > now + takes for w in batch)
        assert {w.group for w in batch} == {alive[0].group}
        assert len(batch) <= bounds.texts
        assert len(batch) == 1 or len(batch) * max(w.tokens for w in batch) <= bounds.tokens
        assert len(set(chosen.batch)) == len(batch)
    elif alive:
        assert chosen.wait is not None
        assert 0 < chosen.wait <= alive[0].since + bounds.patience - now
    else:
        assert chosen.wait is None


@given(waits.filter(bool), st.integers(1, 20))
def test_those_nearest_in_length_to_the_oldest_go_with_it(waiting: list[Waiting], texts: int) -> None:
    waiting.sort(key=lambda w: w.since)
    chosen = pick(waiting, -1.0, Bounds(10_000, texts, -100.0))
    leader = waiting[0]
    left = [w for i, w in enumerate(waiting) if i not in chosen.batch and w.group == leader.group]
    farthest = max(abs(waiting[i].tokens - leader.tokens) for i in chosen.batch)
    assert all(abs(w.tokens - leader.tokens) >= farthest for w in left)
    assert not left or len(chosen.batch) == texts


@given(waits, bounds)
def test_everybody_is_decoded_within_as_many_batches_as_are_older(waiting: list[Waiting], bounds: Bounds) -> None:
    left = sorted((Waiting(w.tokens, w.since, 100.0, w.group) for w in waiting), key=lambda w: w.since)
    while left:
        chosen = pick(left, 50.0, bounds)
        assert 0 in chosen.batch
        left = [w for i, w in enumerate(left) if i not in chosen.batch]


def test_ten_thousand_waiting_texts_are_sorted_once_not_compared_with_each_other() -> None:
    class Counted(int):
        looks = 0

        def __sub__(self, other: int) -> int:
            Counted.looks += 1
            return int(self) - int(other)

    rng = random.Random(7)
    waiting = [Waiting(Counted(rng.randrange(1, 512)), float(n), 1e9, "a") for n in range(10_000)]
    assert len(pick(waiting, 1e6, Bounds(100_000, 16)).batch) == 16
    assert Counted.looks < 20_000


class Item(str):
    """A text of as many tokens as it has characters."""


class Recorder:
    """Decodes by upper-casing, once it is let to; remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.entered = threading.Event()

    def __call__(self, texts: list[Item], group: str) -> list[str]:
        self.entered.set()
        assert self.gate.wait(10)
        self.batches.append(list(texts))
        if "poison" in texts:
            raise ValueError("cannot be decoded")
        return [group + text.upper() for text in texts]


Queue = Batcher[Item, str, str]


@asynccontextmanager
async def batcher(decode: Recorder, *, held: bool = True, patience: float = 0) -> AsyncIterator[Queue]:
    """A batcher, its decoder busy with a first text if it is `held`, so that what comes next waits."""
    queue: Queue = Batcher(decode, Bounds(100, 10, patience))
    if held:
        queue.submit([Item("first")], later(), "x")
        assert await asyncio.to_thread(decode.entered.wait, 10)
    yield queue
    decode.gate.set()
    await asyncio.to_thread(queue.close)


def later() -> float:
    return time.monotonic() + 60


def submit(queue: Queue, *texts: str, group: str = "x", deadline: float | None = None) -> "list[asyncio.Future[Decoded[str]]]":
    return queue.submit([Item(text) for text in texts], later() if deadline is None else deadline, group)


async def answers(futures: "list[asyncio.Future[Decoded[str]]]") -> list[str]:
    return [each.answer for each in await asyncio.gather(*futures)]


def in_a_loop(test: Callable[[Recorder], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def whole() -> None:
            async with asyncio.timeout(30):
                await test(Recorder())

        asyncio.run(whole())

    run.__name__ = test.__name__
    return run


@in_a_loop
async def test_what_waits_together_is_decoded_together_by_group(decode: Recorder) -> None:
    async with batcher(decode) as queue:
        one, two, three = submit(queue, "a"), submit(queue, "b", group="y"), submit(queue, "c", "d")
        assert queue.waiting == 4
        decode.gate.set()
        assert await answers([*one, *two, *three]) == ["xA", "yB", "xC", "xD"]
        assert decode.batches == [["first"], ["a", "c", "d"], ["b"]]
        told = one[0].result()
        assert (told.batch, two[0].result().batch) == (3, 1)
        assert told.queue > 0 <= told.decode


@in_a_loop
async def test_an_idle_decoder_starts_at_once_and_groups_form_while_it_is_busy(decode: Recorder) -> None:
    decode.gate.set()
    async with batcher(decode, held=False) as queue:
        for text in ("a", "b"):
            assert await answers(submit(queue, text)) == ["x" + text.upper()]
        assert decode.batches == [["a"], ["b"]]


@in_a_loop
async def test_cancelled_and_expired_texts_are_never_decoded(decode: Recorder) -> None:
    async with batcher(decode) as queue:
        rng = random.Random(11)
        gone: list[asyncio.Future[Decoded[str]]] = []
        late, good = gone[:], gone[:]
        for n in range(1_000):
            kind = rng.choice((gone, late, good))
            kind += submit(queue, f"{n:04d}", deadline=time.monotonic() - 1 if kind is late else None)
        for future in gone:
            future.cancel()
        decode.gate.set()
        assert len(await answers(good)) == len(good)
        for future in late:
            with pytest.raises(Expired):
                await future
    assert queue.decoded == 1 + len(good) == sum(map(len, decode.batches))
    assert queue.waiting == 0


@in_a_loop
async def test_one_cancelled_while_it_is_decoded_does_not_disturb_its_neighbours(decode: Recorder) -> None:
    async with batcher(decode, held=False) as queue:
        one, two = submit(queue, "one", "two")
        assert await asyncio.to_thread(decode.entered.wait, 10)
        one.cancel()
        decode.gate.set()
        assert (await two).answer == "xTWO"


@in_a_loop
async def test_a_text_that_cannot_make_it_any_more_is_dropped_but_not_for_ever(decode: Recorder) -> None:
    clock = [1_000.0]

    def slow(texts: list[Item], group: str) -> list[str]:
        clock[0] += 30
        return decode(texts, group)

    decode.gate.set()
    queue: Queue = Batcher(slow, Bounds(100, 10), clock=lambda: clock[0])
    assert await answers(submit(queue, "first", deadline=clock[0] + 1)) == ["xFIRST"], "nothing is known yet"
    tried = 0
    while decode.batches[-1] != ["hopeless"]:
        tried += 1
        with suppress(Expired):
            await answers(submit(queue, "hopeless", deadline=clock[0] + 10))
    assert 2 < tried < 10, "a batch takes 30 s, 10 s are left: it must be dropped; but one day batches may be quicker"
    await asyncio.to_thread(queue.close)


@in_a_loop
async def test_a_poisoned_text_fails_alone(decode: Recorder) -> None:
    async with batcher(decode) as queue:
        good, poison, other = submit(queue, "a", "poison", "b")
        decode.gate.set()
        assert await answers([good, other]) == ["xA", "xB"]
        with pytest.raises(ValueError, match="cannot be decoded"):
            await poison


@in_a_loop
async def test_idle_threads_share_what_waits(decode: Recorder) -> None:
    decode.gate.set()
    both = threading.Barrier(2, timeout=10)  # passes only if two threads are decoding at once

    def together(texts: list[Item], group: str) -> list[str]:
        both.wait()
        return decode(texts, group)

    queue: Queue = Batcher(together, Bounds(100, 10), threads=2)
    assert await answers(submit(queue, "a", "b", "c", "d")) == ["xA", "xB", "xC", "xD"]
    assert [len(batch) for batch in decode.batches] == [2, 2]
    await asyncio.to_thread(queue.close)


@in_a_loop
async def test_how_long_the_longest_batch_is_decoded_already(decode: Recorder) -> None:
    clock = [100.0]
    queue: Queue = Batcher(decode, Bounds(100, 10), clock=lambda: clock[0])
    assert queue.longest == 0
    pending = submit(queue, "a", deadline=1_000)
    assert await asyncio.to_thread(decode.entered.wait, 10)
    clock[0] = 170.0
    assert queue.longest == 70
    decode.gate.set()
    assert await answers(pending) == ["xA"]
    await asyncio.to_thread(queue.close)
    assert queue.longest == 0


@in_a_loop
async def test_closing_decodes_what_waits(decode: Recorder) -> None:
    async with batcher(decode, held=False, patience=60) as queue:
        last = submit(queue, "last")
        assert queue.waiting == 1
        decode.gate.set()
        await asyncio.to_thread(queue.close)
        assert await answers(last) == ["xLAST"]
        with pytest.raises(Closed):
            submit(queue, "after")
