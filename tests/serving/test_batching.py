"""Micro-batches: never over the budget, never one text for ever, never one that nobody waits for."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.serving.batching import Batcher, Expired, Full, Waiting, pick

waits = st.lists(st.builds(Waiting, st.integers(1, 50), st.floats(0, 10), st.floats(0, 20), st.sampled_from("ab")), max_size=20)


@given(waits, st.floats(0, 20), st.integers(1, 200), st.floats(0, 5))
def test_a_pick_keeps_the_rules(waiting: list[Waiting], now: float, budget: int, patience: float) -> None:
    waiting.sort(key=lambda w: w.since)
    chosen = pick(waiting, now, budget, patience)
    batch = [waiting[i] for i in chosen.batch]
    alive = [w for w in waiting if w.deadline > now]
    assert [waiting[i] for i in chosen.expired] == [w for w in waiting if w.deadline <= now]
    if batch:
        assert batch[0] is alive[0], "the oldest leads"
        assert all(w.deadline > now for w in batch)
        assert {w.group for w in batch} == {alive[0].group}
        assert len(batch) == 1 or len(batch) * max(w.tokens for w in batch) <= budget
    elif alive:
        assert chosen.wait is not None
        assert 0 < chosen.wait <= alive[0].since + patience - now
    else:
        assert chosen.wait is None


class Recorder:
    """Decodes by upper-casing, once it is let to; remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.entered = threading.Event()

    def __call__(self, texts: list[str], group: str) -> list[str]:
        self.entered.set()
        assert self.gate.wait(10)
        self.batches.append(texts)
        if "poison" in texts:
            raise ValueError("cannot be decoded")
        return [group + text.upper() for text in texts]


@pytest.fixture
def decode() -> Recorder:
    return Recorder()


def batcher(decode: Recorder, **bounds: float) -> Batcher[str, str]:
    given = {"budget": 100, "patience": 0.0, "bound": 10, **bounds}
    return Batcher(decode, budget=int(given["budget"]), patience=given["patience"], bound=int(given["bound"]))


def hold(decode: Recorder, queue: Batcher[str, str]) -> None:
    """Busy the decoder with a first text, so that what comes next waits."""
    queue.submit(["first"], [1], time.monotonic() + 60, "x")
    assert decode.entered.wait(10)


def test_what_waits_together_is_decoded_together_by_group(decode: Recorder) -> None:
    queue = batcher(decode)
    hold(decode, queue)
    later = time.monotonic() + 60
    one, two = queue.submit(["a"], [5], later, "x"), queue.submit(["b"], [5], later, "y")
    three = queue.submit(["c", "d"], [5, 5], later, "x")
    decode.gate.set()
    assert [f.result(10) for f in (*one, *two, *three)] == ["xA", "yB", "xC", "xD"]
    assert decode.batches == [["first"], ["a", "c", "d"], ["b"]]
    queue.close()


def test_cancelled_and_expired_texts_are_never_decoded(decode: Recorder) -> None:
    queue = batcher(decode)
    hold(decode, queue)
    cancelled, expired = queue.submit(["gone", "late"], [1, 1], time.monotonic() - 1, "x")
    assert cancelled.cancel()
    decode.gate.set()
    with pytest.raises(Expired):
        expired.result(10)
    queue.close()
    assert decode.batches == [["first"]]


def test_a_full_queue_refuses_and_a_poisoned_text_fails_alone(decode: Recorder) -> None:
    queue = batcher(decode, bound=3)
    hold(decode, queue)
    later = time.monotonic() + 60
    good, poison, other = queue.submit(["a", "poison", "b"], [1, 1, 1], later, "x")
    with pytest.raises(Full):
        queue.submit(["more"], [1], later, "x")
    decode.gate.set()
    assert (good.result(10), other.result(10)) == ("xA", "xB")
    with pytest.raises(ValueError, match="cannot be decoded"):
        poison.result(10)
    queue.close()


def test_closing_decodes_what_waits(decode: Recorder) -> None:
    queue = batcher(decode, patience=60)
    (last,) = queue.submit(["last"], [1], time.monotonic() + 90, "x")
    decode.gate.set()
    queue.close()
    assert last.result(0) == "xLAST"
    with pytest.raises(Full):
        queue.submit(["after"], [1], time.monotonic() + 1, "x")
