"""Review queues in a real MLflow: filled, answered as its page does, read back; what cannot be read is said, never skipped."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, Expectation, Feedback
from mlflow.genai.label_schemas import InputCategorical, InputText
from mlflow.tracing.client import TracingClient

from pipelines.errors import UserError
from pipelines.registry import retention
from pipelines.registry.labels import Judged, corrections, judged
from pipelines.registry.queues import Listed, Queues
from pipelines.registry.traces import Traces
from tests.registry.test_traces import SAMPLED

ONE = replace(SAMPLED, key="q1.3.0", output="ask Zed about <PERSON_1>")
TWO = replace(SAMPLED, key="q2.3.0", request="r2", at=SAMPLED.at + 60)


@pytest.fixture
def uri(tmp_path: Path, empty_database: Path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def queues(uri: str, tmp_path: Path) -> Queues:
    """The queue of a model with two sampled answers: the first flagged, the second passed."""
    sampled(uri, "tiny", tmp_path / "mlartifacts")
    return Queues(uri, "tiny", tmp_path / "mlartifacts")


def sampled(uri: str, name: str, artifacts: Path | None = None) -> None:
    traces = Traces(uri, name, artifacts)
    for each, flagged, weight in ((ONE, True, 1.0), (TWO, False, 4.0)):
        traces.write(each)
        traces.judged(each.trace, flagged, 0.5, weight)


def answer(uri: str, trace: str, value: object, who: str = "ann", *, at: int = 1_000, name: str = "supported") -> None:
    """What the page of MLflow writes when a reviewer answers `at` (milliseconds)."""
    source = AssessmentSource("HUMAN", who)
    said = Feedback(name=name, value=value, source=source, create_time_ms=at, last_update_time_ms=at)  # type: ignore[arg-type]
    TracingClient(uri).log_assessment(trace, said)


def finish(uri: str, queues: Queues, trace: str, status: str = "complete") -> None:
    client = TracingClient(uri)
    queue = client._get_review_queue_by_name(queues.experiment, queues.name)
    client._set_review_queue_item_status(queue.queue_id, item_id=trace, status=status, completed_by="ann")


def whole_way(uri: str, queues: Queues) -> None:
    first, second = queues.listed()
    assert first == Listed(
        ONE.trace,
        "r1",
        "3",
        "canary",
        ONE.source,
        1_700_000_000.2,
        flagged=True,
        weight=1.0,
        feedback="",
        drawn=frozenset(),
        output=ONE.output,
        sampled=100.0,
        support=0.5,
    )
    assert (second.flagged, second.weight) == (False, 4.0)
    assert queues.waiting() == frozenset()
    for _ in range(2):
        queues.ask({ONE.trace: {"flagged", "negative"}, TWO.trace: {"passed"}}, {ONE.trace: 0.25})
    assert queues.waiting() == {ONE.trace, TWO.trace}
    assert [each.chance for each in queues.listed()] == [0.25, None]
    assert [each.drawn for each in queues.listed()] == [{"flagged", "negative"}, {"passed"}]
    answer(uri, ONE.trace, "unsupported")
    answer(uri, ONE.trace, "Zed", name="unsupported_span")
    person = AssessmentSource("HUMAN", "ann")
    TracingClient(uri).log_assessment(ONE.trace, Expectation(name="expected_response", value="ask <PERSON_1>", source=person))
    finish(uri, queues, ONE.trace)
    assert queues.waiting() == {TWO.trace}
    found = judged(uri, queues.name)
    assert found.malformed == []
    assert found.rows == [
        Judged(
            ONE.trace,
            "3",
            ONE.source,
            ONE.output,
            True,
            "unsupported",
            1.0,
            "ann",
            1.0,
            "Zed",
            frozenset({"flagged", "negative"}),
            0.25 / 100,
        )
    ]
    assert [(each.source, each.expected) for each in corrections(uri, queues.name)] == [(ONE.source, "ask <PERSON_1>")]


def test_a_queue_is_filled_answered_and_read_back(uri: str, queues: Queues) -> None:
    whole_way(uri, queues)


def test_so_it_goes_through_a_server(server: str) -> None:
    sampled(server, "queued")
    whole_way(server, Queues(server, "queued"))
    client = TracingClient(server)
    queue = client._get_review_queue_by_name(Queues(server, "queued").experiment, "queued")
    questions = {client._get_label_schema(each).name: client._get_label_schema(each) for each in queue.schema_ids}
    assert questions["supported"].input == InputCategorical(options=["supported", "unsupported", "can't tell"])
    assert questions["expected_response"].type == "expectation"
    assert set(questions) == {"supported", "unsupported_span", "expected_response"}


@pytest.mark.usefixtures("queues")
def test_of_one_reviewers_answers_the_latest_counts_and_of_two_reviewers_both(uri: str) -> None:
    answer(uri, ONE.trace, "unsupported", at=1_000)
    answer(uri, ONE.trace, "supported", "Ann ", at=3_000)
    answer(uri, ONE.trace, "can't tell", at=2_000)
    answer(uri, ONE.trace, "unsupported", "bo", at=1_000)
    assert [(row.reviewer, row.answer, row.at) for row in judged(uri, "tiny").rows] == [
        ("ann", "supported", 3.0),
        ("bo", "unsupported", 1.0),
    ]


@pytest.mark.usefixtures("queues")
def test_what_cannot_be_read_has_a_line_each_without_any_text(uri: str) -> None:
    secret = "Zacharias Quux"
    answer(uri, ONE.trace, f"I think {secret} knows", "ann")
    answer(uri, ONE.trace, True, "bo")
    answer(uri, ONE.trace, "supported", "cy")
    answer(uri, ONE.trace, secret, "cy", name="unsupported_span")
    machine = Feedback(name="supported", value="supported", source=AssessmentSource("LLM_JUDGE", "gpt"))
    TracingClient(uri).log_assessment(TWO.trace, machine)
    found = judged(uri, "tiny")
    assert [(row.item, row.reviewer, row.span) for row in found.rows] == [(ONE.trace, "cy", "")]
    wrong = "the answer is none of supported, unsupported, can't tell: answer it again"
    assert found.malformed == sorted(
        [
            *(f"label on {ONE.trace} by {who}: {wrong}" for who in ("ann", "bo")),
            f"label on {TWO.trace} by gpt: given by a LLM_JUDGE source: only people label; remove it",
            f"span on {ONE.trace} by cy: it is no part of the answer, as which it was left out: copy the words as they stand",
        ]
    )
    assert "Zacharias" not in repr(found)


def test_a_question_of_the_same_name_that_asks_otherwise_is_said(uri: str, queues: Queues) -> None:
    TracingClient(uri)._create_label_schema(queues.experiment, name="supported", type="feedback", input=InputText())
    with pytest.raises(UserError, match="the question 'supported' of 'tiny' is another one: rename it there"):
        queues.ask({ONE.trace: {"flagged"}})


def test_a_model_without_samples_has_nothing_to_ask(uri: str) -> None:
    with pytest.raises(UserError, match="nobody: MLflow has no sampled answers of it: `seqline serve nobody` makes some"):
        Queues(uri, "nobody")
    assert judged(uri, "nobody").rows == []


def test_a_trace_of_somebody_elses_is_not_asked_about(uri: str, queues: Queues) -> None:
    client = MlflowClient(tracking_uri=uri)
    info = replace(SAMPLED, key="other", tags={})
    Traces(uri, "tiny").write(info)
    assert client.get_trace(info.trace) is not None
    assert [each.trace for each in queues.listed()] == [ONE.trace, TWO.trace]


def test_what_is_old_is_swept_through_a_server_too(server: str, tmp_path: Path) -> None:
    """With its queue item, its label and the evaluation record made of it; what is young stays."""
    one, two = (replace(each, key=f"swept-{each.key}", request=f"swept-{each.request}") for each in (ONE, TWO))
    traces = Traces(server, "swept")
    for each in (one, two):
        traces.write(each)
        traces.judged(each.trace, True, 0.5)
    queues = Queues(server, "swept")
    queues.ask({one.trace: {"flagged"}, two.trace: {"flagged"}}, {one.trace: 0.5, two.trace: 0.5})
    answer(server, one.trace, "unsupported")
    store = TracingClient(server).store
    made = store.create_dataset("of traces", experiment_ids=[queues.experiment])
    records = [
        {"inputs": {"text": each.key}, "source": {"source_type": "TRACE", "source_data": {"trace_id": each.trace}}}
        for each in (one, two)
    ]
    store.upsert_dataset_records(made.dataset_id, records)
    stores = retention.Stores(server, f"sqlite:///{tmp_path}/rollout.db", tmp_path / "home", bytes(32))
    swept = retention.Retention(stores, "swept").sweep(SAMPLED.at + 30)
    assert (swept.traces, swept.kept, swept.labels) == (1, 1, 1)
    assert [each.trace for each in queues.listed()] == [two.trace]
    assert queues.waiting() == {two.trace}
    left, _ = store._load_dataset_records(made.dataset_id)
    assert [record.inputs for record in left] == [{"text": two.key}]
    gone = retention.Retention(stores, "swept").forget([two.trace])
    assert (gone.traces, gone.kept) == (1, 0)
    assert judged(server, "swept").rows == []
