"""Those who wait for a canary: when it is stuck, who is released, and that a hanging canary costs no sender an answer."""

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.serving.asking import Unanswered
from pipelines.serving.waiting import MOST, Waiting
from tests.serving.site import Site, site, spec, until


async def outcome(waiting: Waiting, until: asyncio.Event, *, begun: bool = False) -> str:
    """Wait for the canary until it answers, or it is given up."""
    try:
        async with waiting.one(lambda: begun):
            await until.wait()
    except Unanswered as error:
        return error.reason
    return "answered"


@given(st.integers(0, 60), st.floats(0, 100), st.integers(1, 300))
def test_a_silent_canary_is_spared_beyond_a_share_of_the_room(held: int, weight: float, room: int) -> None:
    async def main() -> None:
        waiting = Waiting()
        async with AsyncExitStack() as open_:
            for _ in range(held):
                await open_.enter_async_context(waiting.one(lambda: False))
            others = room * (1 - weight / 100)
            if waiting.spared(weight, room):
                assert held >= min(MOST, room / 2), "few never are"
            else:
                assert held < room - others / 2, "the others keep half of theirs"
                assert held < max(MOST, room / 2)
            waiting.answered()
            assert not waiting.spared(weight, room)
        assert len(waiting) == 0

    asyncio.run(main())


def test_an_answer_frees_it_until_so_many_came_after_it() -> None:
    async def main() -> None:
        waiting = Waiting()
        async with AsyncExitStack() as open_:
            await open_.enter_async_context(waiting.one(lambda: False))
            waiting.answered()  # of another one: the first still waits, as at any moment of a busy gateway
            for _ in range(MOST):
                assert not waiting.spared(50, 256)
                await open_.enter_async_context(waiting.one(lambda: False))
            assert waiting.spared(50, 256), "it hangs since, whatever was in flight at its last answer"
            assert not waiting.spared(99, 256), "on probation it has nearly all of the room"
            waiting.heard(lambda *_: None)(0, "a piece")
            assert not waiting.spared(50, 256)

    asyncio.run(main())


def test_who_is_released_is_told_and_who_reads_already_is_not() -> None:
    async def main() -> None:
        waiting, answer = Waiting(), asyncio.Event()
        plain = [asyncio.create_task(outcome(waiting, answer)) for _ in range(3)]
        reading = asyncio.create_task(outcome(waiting, answer, begun=True))
        while len(waiting) < 4:
            await asyncio.sleep(0)
        waiting.release()
        waiting.release()
        assert await asyncio.gather(*plain) == ["fuse"] * 3
        answer.set()
        assert await reading == "answered"
        assert len(waiting) == 0

    asyncio.run(main())


def test_a_timeout_of_the_work_itself_is_no_release() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with Waiting().one(lambda: False):
                raise TimeoutError

    asyncio.run(main())


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory, export: Path) -> Iterator[Site]:
    """A gateway with little room: half of the time goes on waiting for a canary."""
    given = spec(serving={"queue": 16, "timeout_ms": 16_000}, slo={"judged": 0.0})
    with site(given, tmp_path_factory.mktemp("narrow"), export) as running:
        yield running


def test_a_canary_that_hangs_costs_nobody_an_answer_nor_fills_the_gateway(narrow: Site) -> None:
    narrow.route("2", weight=50, salt="of these tests")
    narrow.faults["2"].delay, narrow.faults["2"].delay_seconds = 1.0, 600.0
    with ThreadPoolExecutor(14) as senders:
        answers = list(senders.map(lambda n: narrow.ask(user=f"user-{n}", timeout=100), range(100)))
    assert {(answer.status_code, answer.json().get("version")) for answer in answers} == {(200, "1")}
    assert narrow.faults["2"].seen <= 12, "so many hold half of the champion's share, too"
    assert narrow.metric('seqline_fallbacks_total{model="tiny",reason="spared",version="2"}') > 0


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, export: Path) -> Iterator[Site]:
    """A gateway with much room, whose senders could wait for long."""
    given = spec(serving={"timeout_ms": 240_000}, slo={"judged": 0.0})
    with site(given, tmp_path_factory.mktemp("wide"), export) as running:
        yield running


def test_of_many_senders_few_wait_for_a_canary_that_hangs_and_then_dies(wide: Site) -> None:
    wide.route("2", weight=50, salt="of these tests")
    wide.faults["2"].delay, wide.faults["2"].delay_seconds = 1.0, 600.0
    since = wide.offsets()
    with ThreadPoolExecutor(MOST + 4) as senders:
        asked = [senders.submit(wide.ask, user=f"user-{n}", timeout=200) for n in range(120)]
        until(lambda: sum(each.done() for each in asked) == 120 - MOST, 120)
        until(lambda: wide.faults["2"].seen == MOST)
        os.kill(wide.health()["engines"]["2"], signal.SIGKILL)
        answers = [each.result() for each in asked]
    assert {(answer.status_code, answer.json().get("version")) for answer in answers} == {(200, "1")}
    spared = wide.metric('seqline_requests_total{arm="canary",model="tiny",outcome="spared",version="2"}')
    assert spared > 0
    wide.offsets()
    events = [event for event in wide.events(since, 1) if event.kind == "answer"]
    assert len({event.request for event in events if event.arm == "canary"}) <= MOST, "who was spared says nothing of it"
    assert sum(event.arm == "champion" for event in events) == 120 - MOST - int(spared)
