"""Sampled answers read back from a real MLflow as an even sample of the traffic."""

import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import artifact
from pipelines.errors import SeqlineError
from pipelines.registry import Registry, traffic
from pipelines.registry.labels import EXPECTED, QUESTION
from pipelines.registry.traces import SHARE, Sampled, Traces
from pipelines.registry.traffic import DAY, Traffic
from tests.registry.conftest import KEY, Make

NOON = 20_000.5 * DAY


def answered(number: int, at: float, reason: str = "random", weight: float = 10.0, version: str = "3") -> Sampled:
    source, output = f"source {number}", f"output {number}"
    tags = {"seqline.version": version}
    return Sampled(f"r{number}", f"r{number}", source, output, at, 0.0, reason, weight, 7, 3, tags)


def every(_request: str, _share: float) -> bool:
    return True


def test_it_reads_what_came_in_the_time_asked_for_oldest_first(registry: Registry) -> None:
    traces = Traces(registry.uri, "tiny", registry.artifacts)
    for number, hours in enumerate((3, 1, 2, -1, 4)):
        traces.write(answered(number, NOON + 3_600 * hours, version=str(number)))
    found = Traffic(registry.uri, registry.artifacts).sampled("tiny", NOON, NOON + 4 * 3_600, every, 0.1)
    assert [(each.source, each.output, each.version) for each in found] == [
        (f"source {number}", f"output {number}", str(number)) for number in (1, 2, 0)
    ]
    assert found[0].at == NOON + 3_600


def test_a_model_without_traces_has_no_traffic(registry: Registry) -> None:
    traffic = Traffic(registry.uri, registry.artifacts)
    assert (traffic.sampled("nobody", 0.0, NOON, every, 0.1), traffic.rated("nobody", 0.0, NOON)) == ([], [])
    assert traffic.labelled("nobody", 0.0) == 0


def test_only_what_the_gateway_drew_counts_whatever_picked_it_out_besides(registry: Registry) -> None:
    """In a busy hour, too, when all weigh twice as much: a thinning by weight would then take too much of the picked."""
    traces = Traces(registry.uri, "tiny", registry.artifacts)

    def drawn(request: str, _share: float) -> bool:
        return int(request[1:]) % 10 == 0

    for number in range(40):
        picked = number % 3 == 0
        if picked or drawn(f"r{number}", 0.1):
            traces.write(answered(number, NOON + number, "filter" if picked else "random", 2.0 if picked else 20.0))
    found = Traffic(registry.uri, registry.artifacts).sampled("tiny", NOON, NOON + 100, drawn, 0.1)
    assert [each.source for each in found] == ["source 0", "source 10", "source 20", "source 30"]


def test_a_share_that_was_raised_changes_nothing_of_the_time_before(registry: Registry) -> None:
    """Of each 100 requests the first 10 were drawn, later 50; and of each 5 one is picked out, drawn or not."""
    traces = Traces(registry.uri, "tiny", registry.artifacts)

    def drawn(request: str, share: float) -> bool:
        return int(request[1:]) % 100 < 100 * share

    for number in range(200):
        share, picked = (0.1 if number < 100 else 0.5), number % 5 == 0
        if picked or drawn(f"r{number}", share):
            one = answered(number, NOON + number, "filter" if picked else "random")
            traces.write(replace(one, tags={**one.tags, SHARE: repr(share)}))
    found = Traffic(registry.uri, registry.artifacts).sampled("tiny", NOON, NOON + 200, drawn, 0.5)
    assert [int(each.source.split()[1]) for each in found] == [*range(10), *range(100, 150)]


def test_a_request_of_many_inputs_counts_once_a_version_with_its_random_answer(registry: Registry) -> None:
    traces = Traces(registry.uri, "tiny", registry.artifacts)
    for index, (reason, version) in enumerate((("filter", "3"), ("random", "3"), ("judge", "3"), ("filter", "4"))):
        one = replace(answered(index, NOON, reason, version=version), request="r1")
        traces.write(replace(one, tags={**one.tags, "seqline.flags": "length,echo" if reason == "filter" else ""}))
    found = Traffic(registry.uri, registry.artifacts).sampled("tiny", NOON, NOON + 1, every, 0.1)
    assert [(each.source, each.version, each.flags) for each in found] == [
        ("source 1", "3", ()),
        ("source 3", "4", ("length", "echo")),
    ]


def test_what_was_replayed_is_left_out(registry: Registry) -> None:
    traces = Traces(registry.uri, "tiny", registry.artifacts)
    for number in range(3):
        traces.write(answered(number, NOON + number))
    traces.write(replace(answered(3, NOON + 3), request=""))  # of whom nobody knows whether it was
    found = Traffic(registry.uri, registry.artifacts).sampled("tiny", NOON, NOON + 9, every, 0.1, frozenset({"r1"}))
    assert [each.source for each in found] == ["source 0", "source 2"]


def test_ratings_are_told_by_version(registry: Registry) -> None:
    traces = Traces(registry.uri, "tiny", registry.artifacts)
    given: tuple[dict[str, str | int], ...] = (
        {"rating": "down"},
        {"rating": 5},
        {"rating": 3},
        {"comment": "hm"},
        {"rating": 1},
    )
    for number, said in enumerate(given):
        one = answered(number, NOON + number, version="4" if number == 4 else "3")
        traces.write(one)
        traces.told(one.trace, "someone", 1, said)
    traces.write(answered(9, NOON + 9))
    found = Traffic(registry.uri, registry.artifacts).rated("tiny", NOON, NOON + 10)
    assert found == [("3", True), ("3", False), ("3", None), ("3", None), ("4", True)]


def test_labels_since_a_time_are_counted_by_trace(registry: Registry) -> None:
    from mlflow.entities import AssessmentSource, Expectation, Feedback
    from mlflow.tracing.client import TracingClient

    traces = Traces(registry.uri, "tiny", registry.artifacts)
    for number in range(4):
        traces.write(answered(number, NOON + number))
    person, client = AssessmentSource("HUMAN", "ann"), TracingClient(registry.uri)
    said = [Feedback(name=QUESTION, value="supported", source=person), Expectation(name=EXPECTED, value="x", source=person)]
    for each in said:
        client.log_assessment(answered(0, NOON).trace, each)
    client.log_assessment(answered(1, NOON).trace, Expectation(name=EXPECTED, value="y", source=person))
    client.log_assessment(answered(2, NOON).trace, Feedback(name=QUESTION, value="x", source=AssessmentSource("CODE", "judge")))
    traffic = Traffic(registry.uri, registry.artifacts)
    assert traffic.labelled("tiny", 0.0) == 2
    assert traffic.labelled("tiny", time.time() + 60) == 0


def test_a_day_has_its_bound_and_long_texts_their_heads(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "DAILY", 2)
    traces = Traces(registry.uri, "tiny", registry.artifacts)
    for number in range(6):
        long = replace(answered(number, NOON + number * DAY / 4), source=f"{number} " + "x" * 5_000)
        traces.write(long)
    found = Traffic(registry.uri, registry.artifacts).sampled("tiny", NOON, NOON + 2 * DAY, every, 0.1)
    assert [each.source[:2] for each in found] == ["0 ", "1 ", "2 ", "3 "]
    assert {len(each.source) for each in found} == {1_000}


def test_pages_are_read_to_the_last(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "PAGE", 2)
    traces = Traces(registry.uri, "tiny", registry.artifacts)
    for number in range(5):
        traces.write(answered(number, NOON + number))
    assert len(Traffic(registry.uri, registry.artifacts).sampled("tiny", NOON, NOON + 9, every, 0.1)) == 5


def test_a_versions_outputs_come_back_or_are_said_to_be_missing(registry: Registry, candidate: Make, tmp_path: Path) -> None:
    made = candidate()
    bare = registry.register("tiny", made, KEY)
    with pytest.raises(SeqlineError, match=r"tiny version 1: report/outputs\.parquet is missing"):
        Traffic(registry.uri, registry.artifacts).outputs(bare)

    def write(folder: Path) -> None:
        for path in made.report.path.iterdir():
            if path.name != artifact.MANIFEST:
                (folder / path.name).write_bytes(path.read_bytes())
        pq.write_table(pa.table({"id": ["a", "b"], "output": ["one", "two"]}), folder / "outputs.parquet")

    report = artifact.make(artifact.Report, tmp_path / "report-with", write)
    whole = registry.register("tiny", replace(made, report=report, key="k2"), KEY)
    assert Traffic(registry.uri, registry.artifacts).outputs(whole) == ["one", "two"]
