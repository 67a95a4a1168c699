"""Feedback by its rules, scrubbed by a real guard, written to a real journal, sent to a real taker; and no value kept."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.rollout.store import Event, Store
from pipelines.serving.exchange import Call, Output
from pipelines.serving.feedback import MOST, Feedback, said
from pipelines.serving.guard import Guard
from pipelines.serving.intake import Refused
from pipelines.serving.journal import Journal
from pipelines.serving.masking import PLACEHOLDER, Masking, marks_of, renumbered
from pipelines.serving.pairs import Pair
from pipelines.serving.recent import Recent
from pipelines.serving.samples import Samples
from pipelines.serving.telemetry import Telemetry
from pipelines.spec import Decoding, Privacy
from tests.serving.judge import Judge
from tests.serving.test_telemetry import value

PRIVACY = Privacy(level="patterns", entities=("EMAIL_ADDRESS",))


@dataclass
class Room:
    """Where feedback is taken: `sent` is what review got, `events` what the journal has, once `run` has ended."""

    folder: Path
    recent: Recent = field(default_factory=Recent)
    telemetry: Telemetry = field(default_factory=lambda: Telemetry("tiny"))
    sent: Sequence[dict[str, Any]] = ()
    events: Sequence[Event] = ()

    def run(self, work: Callable[[Feedback, Guard], Coroutine[Any, Any, None]]) -> None:
        asyncio.run(self._run(work))

    async def _run(self, work: Callable[[Feedback, Guard], Coroutine[Any, Any, None]]) -> None:
        review, store = Judge(), Store(f"sqlite:///{self.folder}/rollout.db")
        store.create()
        journal = Journal(store, "tiny", lost=lambda _: None)
        guard = Guard(PRIVACY)
        masking = Masking(lambda: guard, PRIVACY.placeholders)
        async with aiohttp.ClientSession() as http:
            samples = Samples(review.url, http, lambda _: None, clean=masking.pairs)
            try:
                await work(Feedback(self.recent, masking, journal, self.telemetry, samples, 500), guard)
            finally:
                await samples.close()
                await guard.close()
                journal.close()
                review.close()
        self.sent, self.events = review.pairs, store.read("tiny", {}).events
        store.engine.dispose()

    def answered(self, request: str, *texts: str, values: Mapping[str, str] | None = None) -> None:
        call = Call(request, "key", "u" * 64, time.monotonic(), Decoding(), texts, [values or {}] * len(texts))
        output = Output(text="ask <EMAIL_ADDRESS_1> or eve@example.net", source_tokens=5, target_tokens=4, truncated=False)
        self.recent.add(call, "canary", "2", [output] * len(texts), 1_700_000_000.5, 0.1)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def refusal(work: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        work()
    return refused.value.status, refused.value.line


def test_feedback_makes_an_unsampled_answer_a_sample_and_a_verdict(room: Room) -> None:
    room.answered("r1", "write to <EMAIL_ADDRESS_1> or <EMAIL_ADDRESS_2>", values={
        "<EMAIL_ADDRESS_1>": "ann@example.org", "<EMAIL_ADDRESS_2>": "bob@example.org",
    })  # fmt: skip

    async def work(feedback: Feedback, _: Guard) -> None:
        content = {"request_id": "r1", "rating": 2, "correction": "ask bob@example.org, not zed@example.com"}
        taken = await feedback.take({**content, "comment": "I am ANN@example.org"})
        assert taken == {"request_id": "r1", "index": 0, "taken": ["rating", "correction", "comment"]}

    room.run(work)
    (event,) = room.events
    assert (event.kind, event.slis, event.arm, event.version) == ("verdict", {"feedback": False}, "canary", "2")
    assert (event.request, event.at) == ("r1", 1_700_000_000.5)
    (pair,) = room.sent
    assert (pair["reason"], pair["weight"]) == ("feedback", 1.0)
    assert pair["output"] == "ask <EMAIL_ADDRESS_1> or <EMAIL_ADDRESS_3>"
    spoken = {name: pair["feedback"][name] for name in ("rating", "correction", "comment", "number", "by")}
    assert spoken == {
        "rating": 2, "correction": "ask <EMAIL_ADDRESS_2>, not <EMAIL_ADDRESS_3>", "comment": "I am <EMAIL_ADDRESS_1>",
        "number": 1, "by": "u" * 16,
    }  # fmt: skip
    assert "example" not in repr(room.sent) + repr(room.events)
    assert value(room.telemetry, "seqline_feedback_total", version="2", rating="bad") == 1


@pytest.mark.parametrize(
    ("given_", "good"),
    [
        ({"rating": "up"}, True), ({"rating": "down"}, False), ({"rating": 5}, True), ({"rating": 4}, True),
        ({"rating": 3}, None), ({"rating": 1}, False), ({"correction": "x"}, False), ({"comment": "x"}, None),
        ({"rating": "up", "correction": "x"}, True),
    ],
)  # fmt: skip
def test_what_counts_as_good(given_: dict[str, Any], good: bool | None) -> None:
    assert said({"request_id": "r", **given_}, 10).good is good


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"rating": "up"}, "request_id: must be the X-Request-Id of an answer"),
        ({"request_id": 5, "rating": "up"}, "request_id: must be the X-Request-Id of an answer"),
        ({"request_id": "r"}, "rating: must be there when there is no correction and no comment"),
        ({"request_id": "r", "rating": 6}, "rating: must be up, down, or a number from 1 to 5"),
        ({"request_id": "r", "rating": True}, "rating: must be up, down, or a number from 1 to 5"),
        ({"request_id": "r", "rating": ["up"]}, "rating: must be up, down, or a number from 1 to 5"),
        ({"request_id": "r", "correction": " "}, "correction: must be a text that is not empty"),
        ({"request_id": "r", "correction": "x" * 11}, "correction: must be at most 10 characters, not 11"),
        ({"request_id": "r", "comment": {}}, "comment: must be a text that is not empty"),
        ({"request_id": "r", "comment": "x" * 2_001}, "comment: must be at most 2000 characters, not 2001"),
        ({"request_id": "r", "rating": 1, "index": -1}, "index: must be the place of an answer in its request, from 0"),
    ],
)
def test_what_is_refused_is_told_in_one_line(content: dict[str, Any], line: str) -> None:
    assert refusal(lambda: said(content, 10)) == (400, line)


def test_unknown_requests_unnamed_answers_and_too_much_are_refused(room: Room) -> None:
    room.answered("one", "a text")
    room.answered("two", "a text", "another")
    lines: list[tuple[int, str]] = []

    async def refused(feedback: Feedback, **content: Any) -> None:
        with pytest.raises(Refused) as found:
            await feedback.take({"rating": "up", **content})
        lines.append((found.value.status, found.value.line))

    async def work(feedback: Feedback, _: Guard) -> None:
        await refused(feedback, request_id="zebrafish")
        await refused(feedback, request_id="two")
        await refused(feedback, request_id="two", index=2)
        await feedback.take({"request_id": "two", "index": 1, "rating": 3})
        for _number in range(MOST):
            await feedback.take({"request_id": "one", "rating": "up"})
        await refused(feedback, request_id="one")

    room.run(work)
    assert lines == [
        (404, "request_id: not among the last requests that were answered here"),
        (400, "index: must be from 0 to 1: the answers of that request"),
        (400, "index: must be from 0 to 1: the answers of that request"),
        (409, "request_id: feedback was given 8 times already"),
    ]
    assert [event.slis for event in room.events] == [{"feedback": True}] * MOST
    assert [pair["index"] for pair in room.sent] == [1] + [0] * MOST
    assert [pair["feedback"]["number"] for pair in room.sent] == [1, *range(1, MOST + 1)]


def test_nothing_is_kept_of_texts_that_cannot_be_scrubbed(room: Room) -> None:
    room.answered("r1", "a text")

    async def work(feedback: Feedback, guard: Guard) -> None:
        await guard.start()
        waiting = asyncio.create_task(feedback.take({"request_id": "r1", "correction": "ask eve@example.net"}))
        await asyncio.sleep(0)
        await guard.close()
        with pytest.raises(Refused) as refused:
            await waiting
        status, line = refused.value.status, refused.value.line
        assert (status, line) == (503, "personal data cannot be replaced right now: try again")

    room.run(work)
    assert (list(room.events), list(room.sent)) == ([], [])
    found = room.recent.get("r1")
    assert found is not None
    assert found.told == 0


def test_outputs_of_samples_are_scrubbed_and_their_placeholders_stay() -> None:
    async def main() -> list[Pair]:
        guard = Guard(PRIVACY)
        pair = Pair("r", "u", "champion", "1", False, "to <EMAIL_ADDRESS_1>", "eve@example.net or <EMAIL_ADDRESS_1>", 1.5)
        try:
            return await Masking(lambda: guard, 8).pairs([pair] * 20)
        finally:
            await guard.close()

    assert [pair.output for pair in asyncio.run(main())] == ["<EMAIL_ADDRESS_2> or <EMAIL_ADDRESS_1>"] * 20


NAMES = st.sampled_from(["Ann", "Bob", "Eve", "<PERSON_1>", "<PERSON_2>", "<PERSON_4>"])


@given(st.lists(NAMES, max_size=5, unique=True), st.lists(st.sampled_from(["Ann", "Bob", "Cyd"]), max_size=3, unique=True))
def test_placeholders_fit_the_source(spoken: list[str], sent: list[str]) -> None:
    """The same value has the same placeholder in both, what was a placeholder stays, and two values never share one."""
    values = {f"<PERSON_{number}>": name for number, name in enumerate(spoken, 1)}
    source = {f"<PERSON_{number}>": name for number, name in enumerate(sent, 1)}
    found = renumbered(" ".join(values), values, " ".join(source), marks_of(source), 20).split()
    assert len(found) == len(spoken)
    for name, placeholder in zip(spoken, found, strict=True):
        assert PLACEHOLDER.fullmatch(placeholder)
        if name.startswith("<"):
            assert placeholder == name
        elif name in sent:
            assert source[placeholder] == name
        else:
            assert placeholder not in source
            assert placeholder not in spoken
    new = [placeholder for name, placeholder in zip(spoken, found, strict=True) if not name.startswith("<")]
    assert len(set(new)) == len(new)


def test_past_the_most_the_last_number_is_shared() -> None:
    values = {f"<PERSON_{number}>": f"name {number}" for number in range(1, 4)}
    assert renumbered(" ".join(values), values, "<PERSON_1>", {}, 3) == "<PERSON_2> <PERSON_3> <PERSON_3>"
