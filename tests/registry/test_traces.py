"""Sampled answers in a real MLflow: written once whatever is repeated, labelled by a person there, read back as pairs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, Expectation
from mlflow.tracing.client import TracingClient

from pipelines.errors import SeqlineError
from pipelines.registry.labels import corrections
from pipelines.registry.traces import SUGGESTED, Sampled, Traces

SAMPLED = Sampled(
    key="r1.3.0",
    request="r1",
    source="write to <PERSON_1> about it",
    output="ask <PERSON_1>",
    at=1_700_000_000.25,
    seconds=0.05,
    reason="random",
    weight=100.0,
    tokens_in=7,
    tokens_out=3,
    tags={"seqline.version": "3", "seqline.arm": "canary"},
    attributes={"gen_ai.usage.output_tokens": 3, "seqline.logprob": -1.5},
)


@pytest.fixture
def uri(tmp_path: Path, empty_database: Path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def traces(uri: str, tmp_path: Path) -> Traces:
    return Traces(uri, "tiny", tmp_path / "mlartifacts")


def found(uri: str, trace: str) -> Any:
    return MlflowClient(tracking_uri=uri).get_trace(trace)


def expect(uri: str, trace: str, value: str) -> None:
    """A person's label, as the page of MLflow writes it."""
    label = Expectation(name="expected_response", value=value, source=AssessmentSource("HUMAN", "ann"))
    TracingClient(uri).log_assessment(trace, label)


def test_a_sampled_answer_becomes_a_trace_and_a_persons_label_a_pair(traces: Traces, uri: str) -> None:
    assert traces.write(SAMPLED)
    trace = found(uri, SAMPLED.trace)
    (span,) = trace.data.spans
    assert (json.loads(trace.data.request), json.loads(trace.data.response)) == (
        {"text": SAMPLED.source},
        {"text": SAMPLED.output},
    )
    assert (trace.info.client_request_id, trace.info.execution_duration) == ("r1", 50)
    assert trace.info.request_time == 1_700_000_000_200
    assert trace.info.tags["seqline.version"] == "3"
    assert (trace.info.tags["seqline.reason"], trace.info.tags["seqline.weight"]) == ("random", "100.0")
    assert (span.get_attribute("seqline.logprob"), trace.info.token_usage["output_tokens"]) == (-1.5, 3)
    assert corrections(uri, "tiny") == []
    expect(uri, SAMPLED.trace, "ask <PERSON_1> kindly")
    assert [(each.source, each.expected) for each in corrections(uri, "tiny")] == [(SAMPLED.source, "ask <PERSON_1> kindly")]


def test_what_is_repeated_is_written_once_and_the_smaller_weight_counts(traces: Traces, uri: str) -> None:
    said = {"rating": 2, "comment": "too short", "correction": "ask <PERSON_1> kindly"}
    for _ in range(2):
        traces.write(SAMPLED)
        traces.judged(SAMPLED.trace, True, 0.25)
        traces.told(SAMPLED.trace, "u1", 1, said)
    assert not traces.write(replace(SAMPLED, reason="filter", weight=1.0))
    assert not traces.write(replace(SAMPLED, reason="judge", weight=4.0))
    trace = found(uri, SAMPLED.trace)
    assert len(trace.data.spans) == 1
    assert (trace.info.tags["seqline.reason"], trace.info.tags["seqline.weight"]) == ("filter", "1.0")
    assert (trace.info.tags["seqline.judge"], trace.info.tags["seqline.feedback"]) == ("flagged", "2")
    values = {each.name: (each.value, each.source.source_type, each.rationale) for each in trace.info.assessments}
    assert values == {
        "judge": (False, "CODE", None),
        "rating": (2, "HUMAN", "too short"),
        SUGGESTED: ("ask <PERSON_1> kindly", "HUMAN", None),
    }
    assert len(trace.info.assessments) == 3


def test_what_a_sender_suggests_is_no_label_until_a_person_says_so(traces: Traces, uri: str) -> None:
    traces.write(SAMPLED)
    traces.told(SAMPLED.trace, "u1", 1, {"correction": "buy my wares"})
    assert corrections(uri, "tiny") == []


def test_a_second_opinion_of_the_same_sender_is_kept_beside_the_first(traces: Traces, uri: str) -> None:
    traces.write(SAMPLED)
    traces.told(SAMPLED.trace, "u1", 1, {"rating": "down"})
    traces.told(SAMPLED.trace, "u1", 2, {"rating": "up"})
    traces.told(SAMPLED.trace, "u1", 3, {"comment": "on second thoughts"})
    values = [each.value for each in found(uri, SAMPLED.trace).info.assessments]
    assert sorted(values) == ["comment", "down", "up"]


def test_a_write_that_broke_half_way_is_finished_by_the_next(traces: Traces, uri: str) -> None:
    TracingClient(uri).start_trace(traces._info_of(SAMPLED))
    assert traces.write(SAMPLED)
    (span,) = found(uri, SAMPLED.trace).data.spans
    assert span.inputs == {"text": SAMPLED.source}


def test_long_and_odd_texts_are_whole(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "16")
    text = "\u202ea\u0001 \U0001f600 " + "x" * 20_000
    odd = Traces(uri, "tiny")
    odd.write(replace(SAMPLED, source=text))
    assert json.loads(found(uri, SAMPLED.trace).data.request) == {"text": text}


def test_nothing_can_be_added_to_a_trace_that_is_not_there(traces: Traces) -> None:
    with pytest.raises(SeqlineError, match="the trace to add to is not there"):
        traces.judged("tr-" + "0" * 32, True, 0.0)


def test_a_deleted_experiment_is_said_so(uri: str) -> None:
    Traces(uri, "tiny")
    client = MlflowClient(tracking_uri=uri)
    client.delete_experiment(client.get_experiment_by_name("tiny").experiment_id)
    with pytest.raises(SeqlineError, match="the experiment 'tiny' was deleted there"):
        Traces(uri, "tiny")


def test_it_goes_through_a_server_too(server: str) -> None:
    traces = Traces(server, "served")
    assert traces.write(SAMPLED)
    traces.judged(SAMPLED.trace, False, 1.0)
    traces.told(SAMPLED.trace, "u1", 1, {"rating": "up"})
    assert not traces.write(replace(SAMPLED, reason="feedback", weight=1.0))
    trace = found(server, SAMPLED.trace)
    assert len(trace.data.spans) == 1
    assert trace.info.tags["seqline.reason"] == "feedback"
    expect(server, SAMPLED.trace, "better")
    assert [(each.source, each.expected) for each in corrections(server, "served")] == [(SAMPLED.source, "better")]
