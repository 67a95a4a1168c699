"""A model's review queue in MLflow: the questions that reviewers answer, what could be asked about, and what waits.

A queue belongs to the experiment that the model's sampled answers are traces of (traces.py); labels.py reads the answers back.
Its questions are MLflow's label schemas, its page is MLflow's own: a reviewer needs nothing else.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import UserError
from pipelines.registry.connect import Connection, asking
from pipelines.registry.labels import ANSWER_NAMES, EXPECTED, PAGE, QUESTION, SPAN
from pipelines.registry.traces import CHANCE, DRAWN, FLAGS, SUPPORT, VERDICT, VERDICT_WEIGHT, WEIGHT

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo
    from mlflow.tracing.client import TracingClient

LONGEST_SPAN = 2_000  # characters
INSTRUCTIONS = {
    QUESTION: "Does the source support all that the answer says? A placeholder such as <PERSON_1> stands for a value.",
    SPAN: "Copy the words of the answer that the source does not support, as they stand. Leave it empty otherwise.",
    EXPECTED: "What should the answer have been? It becomes training data. Leave it empty where the answer is right.",
}


@dataclass(frozen=True)
class Listed:
    """A trace that a person could be asked about.

    `flagged` is the judge's verdict, None where it gave none. `weight` says for how many answers with that verdict the trace
    stands (one over the probability with which such an answer is among the traces, up to a factor that all of a verdict share);
    `drawn` names the strata that it was drawn by so far, `feedback` is what its sender said, as a tag. Of all answers, judged
    or not, the trace stands for `sampled`; where it was drawn, it was with probability `chance`. `support` is the judge's (1:
    the source holds all), `flags` are the filters'. `source` and `output` are as long as MLflow's list shows them.
    """

    trace: str
    request: str
    version: str
    arm: str
    source: str
    at: float
    flagged: bool | None = None
    weight: float = 1.0
    feedback: str = ""
    drawn: frozenset[str] = frozenset()
    output: str = ""
    sampled: float = 1.0
    chance: float | None = None
    support: float | None = None
    flags: frozenset[str] = frozenset()


class Queues(Connection):
    """The review queue of model `name` in the MLflow server or database `uri`. Every method can be repeated."""

    def __init__(self, uri: str, name: str, artifacts: Path | None = None) -> None:
        """Raises UserError: nothing of the model was sampled yet, or its experiment was deleted."""
        super().__init__(uri, artifacts)
        self.name = name
        self.experiment = self._experiment()

    @asking
    def listed(self) -> list[Listed]:
        """Every sampled answer that was written whole, the oldest first."""
        return sorted((listed_of(info) for info in self._infos() if sampled(info)), key=lambda each: (each.at, each.trace))

    @asking
    def waiting(self) -> frozenset[str]:
        """The traces that nobody has finished with; none where there is no queue yet."""
        client = self._client()
        queue = _missing(lambda: client._get_review_queue_by_name(self.experiment, self.name))
        if queue is None:
            return frozenset()
        found, token = set[str](), None
        while True:
            page = client._list_review_queue_items(queue.queue_id, status="pending", max_results=PAGE, page_token=token)
            found |= {item.item_id for item in page}
            token = page.token
            if not token:
                return frozenset(found)

    @asking
    def ask(self, strata: Mapping[str, Iterable[str]], chances: Mapping[str, float] | None = None) -> None:
        """Put each trace of `strata` (trace -> all the strata it is drawn by) into the queue, and say on it how it was drawn.

        `chances` are the probabilities of these, and of drawn ones whose probability rose. The tags come first: a trace that
        waits without them would be labelled and not counted.
        """
        for trace, chance in (chances or {}).items():
            self.client.set_trace_tag(trace, CHANCE, repr(chance))
        for trace, names in strata.items():
            self.client.set_trace_tag(trace, DRAWN, ",".join(sorted(names)))
        if strata:
            queue, traces = self._open(), list(strata)
            for start in range(0, len(traces), PAGE):
                self._client()._add_items_to_review_queue(queue, item_ids=traces[start : start + PAGE])

    @asking
    def page(self) -> str:
        """Where reviewers find it, below MLflow's own address."""
        return f"/#/experiments/{self.experiment}/review-queue?selectedQueueId={self._open()}"

    def _open(self) -> str:
        """The queue's id; it is made, with its questions, if it is not there."""
        client = self._client()
        with self.alone("queue"):
            schemas = [self._schema(each) for each in _questions()]
            found = _missing(lambda: client._get_review_queue_by_name(self.experiment, self.name))
            if found is None:
                found = client._create_review_queue(
                    self.experiment, name=self.name, queue_type="custom", users=[], schema_ids=schemas
                )
        return str(found.queue_id)

    def _schema(self, question: Mapping[str, Any]) -> str:
        client, name = self._client(), question["name"]
        found = _missing(lambda: client._get_label_schema_by_name(self.experiment, name))
        if found is None:
            found = client._create_label_schema(self.experiment, **question, instruction=INSTRUCTIONS[name])
        elif found.type != question["type"] or type(found.input) is not type(question["input"]):
            raise UserError(f"MLflow: the question {name!r} of {self.name!r} is another one: rename it there")
        return str(found.schema_id)

    def _infos(self) -> "Iterator[TraceInfo]":
        token = None
        while True:
            page = self.client.search_traces(
                locations=[self.experiment], max_results=PAGE, page_token=token, include_spans=False
            )
            yield from (trace.info for trace in page)
            token = page.token
            if not token:
                return

    @asking
    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.name)
        if found is None or found.lifecycle_stage != "active":
            raise UserError(f"{self.name}: MLflow has no sampled answers of it: `seqline serve {self.name}` makes some")
        return str(found.experiment_id)

    def _client(self) -> "TracingClient":
        from mlflow.tracing.client import TracingClient

        return TracingClient(self.uri)


def _questions() -> list[dict[str, Any]]:
    from mlflow.genai.label_schemas import InputCategorical, InputText

    return [
        {"name": QUESTION, "type": "feedback", "input": InputCategorical(options=list(ANSWER_NAMES)), "enable_comment": True},
        {"name": SPAN, "type": "feedback", "input": InputText(max_length=LONGEST_SPAN)},
        {"name": EXPECTED, "type": "expectation", "input": InputText()},
    ]


def _missing(look: Any) -> Any:
    """What `look` finds, None where MLflow says that it is not there."""
    from mlflow.exceptions import MlflowException

    try:
        return look()
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def sampled(info: "TraceInfo") -> bool:
    """Whether review wrote it, to the end."""
    from mlflow.tracing.constant import TraceTagKey

    return "seqline.version" in info.tags and TraceTagKey.SPANS_LOCATION in info.tags


def listed_of(info: "TraceInfo") -> Listed:
    """What could be asked of a trace that review wrote."""
    tags = info.tags
    return Listed(
        trace=info.trace_id,
        request=info.client_request_id or "",
        version=tags["seqline.version"],
        arm=tags.get("seqline.arm", ""),
        source=info.request_preview or "",
        at=info.request_time / 1000,
        flagged={"flagged": True, "passed": False}.get(tags.get(VERDICT, "")),
        weight=float(tags.get(VERDICT_WEIGHT, "1")),
        feedback=tags.get("seqline.feedback", ""),
        drawn=_names(tags.get(DRAWN, "")),
        output=info.response_preview or "",
        sampled=float(tags.get(WEIGHT, "1")),
        chance=float(tags[CHANCE]) if CHANCE in tags else None,
        support=float(tags[SUPPORT]) if SUPPORT in tags else None,
        flags=_names(tags.get(FLAGS, "")),
    )


def _names(tag: str) -> frozenset[str]:
    return frozenset(name for name in tag.split(",") if name)
