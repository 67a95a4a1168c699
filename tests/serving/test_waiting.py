"""Those who wait for a canary: when it is stuck, who is released, and that a hanging canary costs no sender an answer."""

import asyncio
import math
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


@given(st.integers(0, 60), st.floats(0, 100), st.integers(1, 90))
def test_a_silent_canary_is_stuck_with_half_of_the_others_room_and_else_spared(held: int, weight: float, room: int) -> None:
    async def main() -> None:
        waiting = Waiting()
        async with AsyncExitStack() as open_:
            for _ in range(held):
                await open_.enter_async_context(waiting.one(lambda: False))
            fair, others = room * weight / 100, room * (1 - weight / 100)
            refusal = waiting.refusal(weight, room)
            if held and not math.isclose(held, fair + others / 2):
                assert refusal == ("stuck" if held >= fair + others / 2 else "spared" if held >= MOST else None)
            waiting.answered()  # the oldest came before this
            assert waiting.refusal(weight, room) is None
        assert len(waiting) == 0

    asyncio.run(main())


def test_an_answer_frees_it_until_so_many_came_after_it() -> None:
    async def main() -> None:
        waiting = Waiting()
        async with waiting.one(lambda: False):
            waiting.answered()
            async with waiting.one(lambda: False), waiting.one(lambda: False):
                assert waiting.refusal(0, 6) is None, "the oldest of the three came before the answer"
        async with waiting.one(lambda: False), waiting.one(lambda: False), waiting.one(lambda: False):
            assert waiting.refusal(0, 6) == "stuck"
            assert waiting.refusal(50, 6) is None
            waiting.heard(lambda *_: None)(0, "a piece")
            assert waiting.refusal(0, 6) is None

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
    """A gateway with little room, whose senders could wait for long."""
    given = spec(serving={"queue": 16, "timeout_ms": 120_000}, slo={"judged": 0.0})
    with site(given, tmp_path_factory.mktemp("narrow"), export) as running:
        yield running


def test_a_canary_that_hangs_costs_nobody_an_answer_nor_fills_the_gateway(narrow: Site) -> None:
    narrow.route("2", weight=50, salt="of these tests")
    narrow.faults["2"].delay, narrow.faults["2"].delay_seconds = 1.0, 600.0
    with ThreadPoolExecutor(14) as senders:
        answers = list(senders.map(lambda n: narrow.ask(user=f"user-{n}", timeout=100), range(100)))
    assert {(answer.status_code, answer.json().get("version")) for answer in answers} == {(200, "1")}
    assert narrow.health()["fused"]
    line = 'seqline_fallbacks_total{{model="tiny",reason="{}",version="2"}}'
    assert narrow.metric(line.format("fuse")) == 12, "so many hold half of the champion's share, too"
    assert narrow.metric(line.format("stuck")) == 20


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
        assert wide.faults["2"].seen == MOST
        os.kill(wide.health()["engines"]["2"], signal.SIGKILL)
        answers = [each.result() for each in asked]
    assert {(answer.status_code, answer.json().get("version")) for answer in answers} == {(200, "1")}
    spared = wide.metric('seqline_requests_total{arm="canary",model="tiny",outcome="spared",version="2"}')
    assert spared > 0
    failed = [event for event in wide.events(since, 120 - MOST - int(spared) + 1) if event.slis.get("availability") is False]
    assert len(failed) <= MOST, "who was spared says nothing of it"
