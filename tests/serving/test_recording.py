"""What is written down of an answer: the journal in a real database, the pairs at a real taker, the weights exact."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.rollout.store import Event, Store
from pipelines.serving import split
from pipelines.serving.exchange import Call, Output
from pipelines.serving.journal import Journal
from pipelines.serving.pairs import Pair
from pipelines.serving.recent import Recent
from pipelines.serving.recording import Recording, Timing
from pipelines.serving.samples import Samples
from pipelines.serving.telemetry import Telemetry
from pipelines.spec import Decoding, Slo
from tests.serving.judge import Judge
from tests.serving.test_telemetry import value

SHARE, JUDGED = 0.2, 0.5


def output(text: str = "an answer", *flags: str, cached: bool = False) -> Output:
    return Output(text=text, source_tokens=9, target_tokens=3, truncated=False, logprob=-1.0, flags=list(flags), cached=cached)


def call(number: int, *texts: str) -> Call:
    request = hashlib.sha256(str(number).encode()).hexdigest()[:32]
    return Call(request, "key", "u", time.monotonic(), Decoding(), texts or ("a text",), [{}] * max(1, len(texts)))


class Written:
    """What came of the calls: events, pairs at the judge's and at review's, and the numbers."""

    def __init__(self, folder: Path) -> None:
        self.judge, self.review = Judge(), Judge()
        self.telemetry = Telemetry("tiny")
        self.store = Store(f"sqlite:///{folder}/rollout.db")
        self.store.create()
        self.recent = Recent()

    def run(self, work: Callable[[Recording], None]) -> None:
        """Do `work` with a Recording, and wait until all of it has arrived."""

        async def main() -> None:
            journal = Journal(self.store, "tiny", lost=self.telemetry.lost("events").inc)
            async with aiohttp.ClientSession() as http:
                lost = self.telemetry.lost("pairs").inc
                samples, review = Samples(self.judge.url, http, lost), Samples(self.review.url, http, lost)
                slo = Slo(judged=JUDGED)
                work(Recording(slo, journal, self.telemetry, samples, review=review, share=SHARE, recent=self.recent))
                await samples.close()
                await review.close()
            journal.close()

        asyncio.run(main())

    @property
    def events(self) -> Sequence[Event]:
        return self.store.read("tiny", {}).events

    def close(self) -> None:
        self.judge.close()
        self.review.close()
        self.store.engine.dispose()


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    found = Written(tmp_path)
    yield found
    found.close()


def test_an_answer_is_an_event_numbers_and_maybe_a_pair(written: Written) -> None:
    drawn = next(n for n in range(1_000) if split.unit("judge", call(n).request) < SHARE)

    def work(recording: Recording) -> None:
        recording.answered(call(drawn), "canary", "2", [output()], timing=Timing(0.001, 0.02, 4))

    written.run(work)
    (event,) = written.events
    assert (event.arm, event.version, event.kind, event.slis) == (
        "canary",
        "2",
        "answer",
        {"availability": True, "latency": True},
    )
    (pair,) = written.review.pairs
    assert (pair["reason"], pair["weight"], pair["tokens_in"], pair["tokens_out"]) == ("random", 1 / SHARE, 9, 3)
    assert (pair["logprob"], pair["decoding"]["beam"], pair["flags"]) == (-1.0, 1, [])
    (judged,) = written.judge.pairs
    assert (judged["reason"], judged["weight"], judged["judge_weight"]) == ("random", 1 / SHARE, 1 / JUDGED)
    assert value(written.telemetry, "seqline_queue_seconds_count", version="2") == 1
    assert value(written.telemetry, "seqline_batch_size_sum", version="2") == 4
    assert value(written.telemetry, "seqline_tokens_total", direction="in") == 9


def test_prometheus_counts_in_each_sli_what_the_journal_does(written: Written) -> None:
    def work(recording: Recording) -> None:
        recording.answered(call(1), "canary", "2", [output()])
        recording.answered(call(2), "canary", "2", [output()], shadow=True)
        recording.failed(call(3), "canary", "2", "timeout")
        recording.cached(call(4), "canary", "2", [output(cached=True)])
        recording.gone(replace(call(5), arrived=time.monotonic() - 60), "canary", "2")

    written.run(work)
    met = [event.slis for event in written.events if not event.shadow]
    for sli in ("availability", "latency"):
        labels = {"version": "2", "arm": "canary", "sli": sli}
        assert value(written.telemetry, "seqline_sli_events_total", **labels) == sum(sli in slis for slis in met) == 2
        assert value(written.telemetry, "seqline_sli_bad_total", **labels) == sum(slis.get(sli) is False for slis in met) == 1


def test_the_weights_of_the_random_share_add_up_to_all_answers(written: Written) -> None:
    requests = 900

    def work(recording: Recording) -> None:
        for number in range(requests):
            texts = ["one", "two"] if number % 3 == 0 else ["one"]
            recording.answered(call(number, *texts), "champion", "1", [output() for _ in texts])

    written.run(work)
    answers = requests + requests // 3
    total = sum(pair["weight"] for pair in written.review.pairs)
    spread = (answers * 2 / SHARE) ** 0.5  # of the sum's standard deviation, from above
    assert abs(total - answers) < 4 * spread
    assert {pair["request"] for pair in written.review.pairs} <= {pair["request"] for pair in written.judge.pairs}
    both = [pair for pair in written.judge.pairs if pair["reason"]]
    assert {pair["request"] for pair in both} == {pair["request"] for pair in written.review.pairs}


def test_all_that_a_filter_doubts_is_taken_for_sure(written: Written) -> None:
    def work(recording: Recording) -> None:
        for number in range(50):
            outputs = [output("x", "length"), output("y"), output("z", "numbers", "echo")]
            recording.answered(call(number, "a", "b", "c"), "champion", "1", outputs)

    written.run(work)
    doubted = [pair for pair in written.review.pairs if pair["reason"] == "filter"]
    assert Counter(pair["index"] for pair in doubted) == {0: 50, 2: 50}
    assert {pair["weight"] for pair in doubted} == {1.0}
    assert {tuple(pair["flags"]) for pair in doubted} == {("length",), ("numbers", "echo")}
    random = [pair for pair in written.review.pairs if pair["reason"] == "random"]
    assert {(pair["index"], pair["weight"]) for pair in random} <= {(1, 3 / SHARE)}


def test_a_withheld_answer_failed_its_sender_and_is_reviewed(written: Written) -> None:
    def work(recording: Recording) -> None:
        recording.failed(call(1), "champion", "1", "withheld", outputs=[output("bad words", "pattern")])

    written.run(work)
    assert [event.slis for event in written.events] == [{"availability": False}]
    assert [(pair["output"], pair["reason"]) for pair in written.review.pairs] == [("bad words", "filter")]
    assert written.judge.pairs == []
    assert value(written.telemetry, "seqline_errors_total", version="1") == 1


def test_the_cache_and_a_stand_in_are_no_evidence(written: Written) -> None:
    def work(recording: Recording) -> None:
        for number in range(40):
            recording.cached(call(number), "champion", "1", [output(cached=True)], "stale")
        recording.stood_in(call(41), "1", [output(), output(cached=True)])

    written.run(work)
    assert list(written.events) == []
    assert value(written.telemetry, "seqline_cache_hits_total", kind="stale") == 40
    assert value(written.telemetry, "seqline_tokens_total", direction="out") == 3
    assert {pair["request"] for pair in written.judge.pairs} <= {call(41).request}
    assert {pair["reason"] for pair in written.review.pairs} == {"random"}
    assert len(written.recent) == 41


def test_a_mirrored_answer_is_marked_and_not_remembered(written: Written) -> None:
    def work(recording: Recording) -> None:
        recording.answered(call(1), "canary", "2", [output("x", "echo")], shadow=True)

    written.run(work)
    assert [event.shadow for event in written.events] == [True]
    assert [pair["shadow"] for pair in written.review.pairs] == [True]
    assert len(written.recent) == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=40), st.integers(1, 6), st.integers(1, 100))
def test_the_ring_is_bounded_and_keeps_the_last(sent: list[tuple[int, int]], requests: int, characters: int) -> None:
    recent = Recent(requests, characters)
    for number, length in sent:
        recent.add(call(number, "x" * length), "champion", "1", [output("")], 1.5, 0.1)
    assert len(recent) <= requests
    latest = list(dict.fromkeys(number for number, _ in reversed(sent)))
    lengths = dict(sent)
    kept = [number for number in latest if recent.get(call(number).request)]
    assert kept == latest[: len(kept)]
    assert sum(lengths[number] for number in kept) <= characters
    if sum(length for _, length in sent) <= characters:
        assert len(kept) == min(len(latest), requests)


def test_the_ring_holds_no_key_of_a_sender_and_none_of_their_values() -> None:
    recent = Recent()
    raw = Call("r", "ann@example.org", "u", 0.0, Decoding(), ["to <PERSON_1>"], [{"<PERSON_1>": "Ann Lee"}])
    recent.add(raw, "champion", "1", [output("dear <PERSON_1>")], 1.5, 0.1)
    found = recent.get("r")
    assert found is not None
    assert "ann" not in repr(found).lower()
    assert found.pair(0) == Pair(
        "r", "u", "champion", "1", False, "to <PERSON_1>", "dear <PERSON_1>", 1.5, seconds=0.1, tokens_in=9, tokens_out=3,
        logprob=-1.0, decoding=Decoding().model_dump(exclude_none=True), flags=[],
    )  # fmt: skip
