"""The guard with its real worker: what is scrubbed, what is found in outputs, what becomes of texts that break it."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pipelines.scrub.detect import Detector
from pipelines.serving import scrubber
from pipelines.serving.guard import Busy, Guard, GuardDown, Leak
from pipelines.spec import Privacy
from tests.serving.hostile import DIE, FAIL, HANG

PATTERNS = Privacy(level="patterns", entities=("EMAIL_ADDRESS", "IP_ADDRESS", "PERSON"))
HOSTILE = Privacy(level="patterns", entities=("EMAIL_ADDRESS", "SPELL"), recognizers=("tests.serving.hostile:Hostile",))
TEXTS = ("write to ann@example.org", "nothing here", "", "a\ud800b bob@example.org", "<PERSON_1> knows", "x" * 30_000)


@asynccontextmanager
async def running(privacy: Privacy = PATTERNS, **options: Any) -> AsyncIterator[Guard]:
    guard = Guard(privacy, **options)
    await guard.start()
    try:
        yield guard
    finally:
        await guard.close()


OTHERS: set[Any] = set()


@pytest.fixture(autouse=True)
def others() -> None:
    """The guards of gateways that other tests leave running are none of these tests'."""
    OTHERS.clear()
    OTHERS.update(multiprocessing.active_children())


def workers() -> list[Any]:
    return [child for child in multiprocessing.active_children() if child not in OTHERS]


def run(test: Callable[[Guard], Awaitable[None]], privacy: Privacy = PATTERNS, **options: Any) -> None:
    async def whole() -> None:
        async with running(privacy, **options) as guard:
            await test(guard)

    asyncio.run(whole())


async def outcome(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except GuardDown as error:
        return type(error)


def test_texts_are_scrubbed_as_the_detector_does() -> None:
    detector = Detector(PATTERNS)

    async def test(guard: Guard) -> None:
        expected = [(each.texts[0], dict(each.values)) for each in detector.scrub_each(TEXTS)]
        assert await guard.scrub(TEXTS) == expected
        alone = await asyncio.gather(*(guard.scrub([text]) for text in TEXTS * 5))
        assert [each[0] for each in alone] == expected * 5
        assert await guard.scrub([]) == []

    run(test)


def test_what_a_model_brings_up_is_a_leak_and_placeholders_are_none() -> None:
    async def test(guard: Guard) -> None:
        outputs = ("ask eve@example.org, or <PERSON_1>", "ask <EMAIL_ADDRESS_1>", "fine", "at Bob@Example.org")
        mail = Leak(4, 19, "EMAIL_ADDRESS")
        assert await guard.leaks(outputs) == [[mail], [], [], [Leak(3, 18, "EMAIL_ADDRESS")]]
        sources = ("nobody", "x", "y", "stays bob@example.org here")
        assert await guard.leaks(outputs, sources) == [[mail], [], [], []]

    run(test)


def test_texts_that_break_it_fail_and_their_neighbours_do_not() -> None:
    async def test(guard: Guard) -> None:
        for poison in (HANG, DIE, FAIL):
            texts = ["an abracadabra", poison, "bob@example.org", "plain"]
            found = await asyncio.gather(*(outcome(guard.scrub([text])) for text in texts))
            assert found == [
                [("an <SPELL_1>", {"<SPELL_1>": "abracadabra"})],
                GuardDown,
                [("<EMAIL_ADDRESS_1>", {"<EMAIL_ADDRESS_1>": "bob@example.org"})],
                [("plain", {})],
            ]
        assert await outcome(guard.leaks(["good", FAIL])) is GuardDown

    run(test, HOSTILE, stuck_seconds=1.0)


def test_a_killed_worker_costs_nobody_an_answer() -> None:
    async def test(guard: Guard) -> None:
        for _ in range(2):
            (worker,) = workers()
            asking = [asyncio.create_task(guard.scrub([f"text {n} for bob@example.org"])) for n in range(20)]
            await asyncio.sleep(0)
            worker.kill()
            answers = await asyncio.gather(*asking)
            assert [each[0][0] for each in answers] == [f"text {n} for <EMAIL_ADDRESS_1>" for n in range(20)]

    run(test)


def test_what_waits_is_bounded_and_what_nobody_waits_for_is_not_read() -> None:
    async def test(guard: Guard) -> None:
        stuck = asyncio.create_task(outcome(guard.scrub([HANG])))
        await asyncio.sleep(0.01)  # it is the worker's now
        big = asyncio.create_task(guard.scrub(["y" * 5_000]))  # longer than the bound, but nobody waits
        gone = asyncio.create_task(guard.scrub([HANG]))
        await asyncio.sleep(0)
        assert await outcome(gone) is Busy
        with pytest.raises(Busy):
            await guard.scrub(["z"])
        big.cancel()
        with pytest.raises(asyncio.CancelledError):
            await big
        assert await stuck is GuardDown
        assert await guard.scrub(["bob@example.org"]) == [("<EMAIL_ADDRESS_1>", {"<EMAIL_ADDRESS_1>": "bob@example.org"})]

    run(test, HOSTILE, stuck_seconds=1.0, waiting_chars=1_000)


def test_a_text_that_nobody_waits_for_is_skipped() -> None:
    async def test(guard: Guard) -> None:
        poisoned = [asyncio.create_task(guard.scrub([DIE])) for _ in range(3)]
        await asyncio.sleep(0)
        for each in poisoned:
            each.cancel()
        (worker,) = workers()
        assert await guard.scrub(["fine"]) == [("fine", {})]
        assert workers() == [worker], "it never saw them"

    run(test, HOSTILE)


def test_a_detector_that_cannot_be_loaded_is_said_and_tried_again() -> None:
    async def test() -> None:
        guard = Guard(PATTERNS.model_copy(update={"recognizers": ("tests.serving.nowhere:Nothing",)}))
        with pytest.raises(GuardDown):
            await guard.start()
        assert await outcome(guard.scrub(["x"])) is GuardDown
        await guard.close()

    asyncio.run(test())


def test_closing_leaves_no_process_and_answers_who_waits() -> None:
    async def test() -> None:
        async with running(HOSTILE) as guard:
            waiting = asyncio.create_task(outcome(guard.scrub([HANG])))
            await asyncio.sleep(0.01)
        assert await waiting is GuardDown
        assert workers() == []

    asyncio.run(test())


def test_a_job_that_the_detector_fails_on_stands_alone() -> None:
    detector = Detector(HOSTILE)
    jobs = [
        scrubber.Job("fine", only_find=False),
        scrubber.Job(FAIL, only_find=True),
        scrubber.Job("abracadabra", only_find=True),
    ]
    assert scrubber.answered(detector, jobs) == [True, False, [[0, 11, "SPELL"]]]
