"""Sampled answers as MLflow traces of a model's experiment: what people look at and correct there (labels.py reads it back).

A trace's id is made of its answer's key, so that writing it twice writes it once, and whoever knows the key can add to it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import SeqlineError
from pipelines.registry.connect import Connection, asking

if TYPE_CHECKING:
    from mlflow.entities import Span, TraceInfo
    from opentelemetry.trace import Tracer

SUGGESTED = "suggested_response"
"""What a sender says the answer should have been: not `expected_response`, which is training data, and a person's to give."""
REASON, WEIGHT = "seqline.reason", "seqline.weight"
SHARE = "seqline.share"
"""The random share of all answers when this one was given."""
VERDICT, VERDICT_WEIGHT = "seqline.judge", "seqline.judge.weight"
SUPPORT = "seqline.judge.support"
FLAGS = "seqline.flags"
DRAWN, CHANCE = "seqline.drawn", "seqline.drawn.chance"
"""The strata by which a trace was drawn for people to label (queues.py), and with which probability one of them draws it."""
PREVIEW = 1_000  # characters shown in MLflow's list


@dataclass(frozen=True)
class Sampled:
    """One answer, `source` and `output` scrubbed, given at `at` (seconds since the epoch) after `seconds`.

    `reason` says why it was taken (random, filter, judge, feedback), `weight` is one over the probability of that. `tags` can
    be searched for in MLflow, `attributes` stand with the trace.
    """

    key: str
    request: str
    source: str
    output: str
    at: float
    seconds: float
    reason: str
    weight: float
    tokens_in: int
    tokens_out: int
    tags: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trace(self) -> str:
        """The id of its trace."""
        return "tr-" + hashlib.sha256(self.key.encode()).hexdigest()[:32]


class Traces(Connection):
    """Writes into the experiment `name` of the MLflow server or database `uri`. Every method can be repeated."""

    def __init__(self, uri: str, name: str, artifacts: Path | None = None) -> None:
        super().__init__(uri, artifacts)
        self._experiment = self._find(name)
        self._tracer, self._ids = _tracer()

    @asking
    def write(self, sampled: Sampled) -> bool:
        """Write the trace of `sampled`; if it is there, the smaller weight, with its reason, counts. True if it is new."""
        from mlflow.tracing.client import TracingClient
        from mlflow.tracing.constant import TraceTagKey

        client = TracingClient(self.uri)
        found = self._info(sampled.trace)
        whole = found is not None and TraceTagKey.SPANS_LOCATION in found.tags  # else the last try broke half way
        if found is None or not whole:
            client.start_trace(self._info_of(sampled))
            client.log_spans(self._experiment, [self._span(sampled)])
        elif float(found.tags.get(WEIGHT, "inf")) > sampled.weight:
            self.client.set_trace_tag(sampled.trace, WEIGHT, repr(sampled.weight))
            self.client.set_trace_tag(sampled.trace, REASON, sampled.reason)
        return not whole

    @asking
    def judged(self, trace: str, flagged: bool, support: float, weight: float = 1.0) -> None:
        """Add the judge's verdict: `support` is 1 - P(unsupported), or the share of the answer's words that its source holds.

        `weight` says for how many verdicts like it the trace stands: labels are drawn by it (Listed.weight).
        """
        from mlflow.entities import AssessmentSource, Feedback

        source = AssessmentSource("CODE", "seqline.judge")
        metadata = {"support": f"{support:.4f}", "weight": repr(weight)}
        self._assess(trace, Feedback(name="judge", value=not flagged, source=source, metadata=metadata))
        self.client.set_trace_tag(trace, VERDICT_WEIGHT, repr(weight))
        self.client.set_trace_tag(trace, SUPPORT, f"{support:.4f}")
        self.client.set_trace_tag(trace, VERDICT, "flagged" if flagged else "passed")  # last: a verdict has its weight

    @asking
    def told(self, trace: str, by: str, number: int, said: Mapping[str, str | int]) -> None:
        """Add what a sender, under the pseudonym `by`, said the `number`-th time: rating, correction, comment, scrubbed."""
        from mlflow.entities import AssessmentSource, Expectation, Feedback

        source, metadata = AssessmentSource("HUMAN", by), {"seqline.number": str(number)}
        comment = said.get("comment")
        rating = said.get("rating", "comment" if comment is not None else None)
        if rating is not None:
            text = None if comment is None else str(comment)
            self._assess(trace, Feedback(name="rating", value=rating, source=source, rationale=text, metadata=metadata))
        if "correction" in said:
            self._assess(trace, Expectation(name=SUGGESTED, value=said["correction"], source=source, metadata=metadata))
        self.client.set_trace_tag(trace, "seqline.feedback", str(rating if rating is not None else "correction"))

    def _assess(self, trace: str, assessment: Any) -> None:
        """Log an assessment, unless the same one (its name, its source and its number) is there."""
        from mlflow.tracing.client import TracingClient

        info = self._info(trace)
        if info is None:
            raise SeqlineError("MLflow: the trace to add to is not there")
        if _same(assessment) not in {_same(each) for each in info.assessments}:
            TracingClient(self.uri).log_assessment(trace, assessment)

    def _info(self, trace: str) -> "TraceInfo | None":
        from mlflow.exceptions import MlflowException
        from mlflow.tracing.client import TracingClient

        try:
            return TracingClient(self.uri).get_trace_info(trace)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _info_of(self, sampled: Sampled) -> "TraceInfo":
        from mlflow.entities import TraceInfo, TraceState
        from mlflow.entities.trace_location import TraceLocation
        from mlflow.tracing.constant import TraceMetadataKey

        both = sampled.tokens_in + sampled.tokens_out
        tokens = {"input_tokens": sampled.tokens_in, "output_tokens": sampled.tokens_out, "total_tokens": both}
        return TraceInfo(
            trace_id=sampled.trace,
            trace_location=TraceLocation.from_experiment_id(self._experiment),
            request_time=round((sampled.at - sampled.seconds) * 1000),
            execution_duration=round(sampled.seconds * 1000),
            state=TraceState.OK,
            request_preview=sampled.source[:PREVIEW],
            response_preview=sampled.output[:PREVIEW],
            client_request_id=sampled.request,
            trace_metadata={TraceMetadataKey.TOKEN_USAGE: json.dumps(tokens)},
            tags={**sampled.tags, REASON: sampled.reason, WEIGHT: repr(sampled.weight)},
        )

    def _span(self, sampled: Sampled) -> "Span":
        from mlflow.entities import LiveSpan, SpanType

        self._ids.trace = sampled.trace
        started = round((sampled.at - sampled.seconds) * 1e9)
        otel = self._tracer.start_span("answer", start_time=started)
        span = LiveSpan(otel, sampled.trace, SpanType.LLM)
        span.set_inputs({"text": sampled.source})
        span.set_outputs({"text": sampled.output})
        span.set_attributes(dict(sampled.attributes))
        span.set_status("OK")
        otel.end(round(sampled.at * 1e9))
        return span.to_immutable_span()

    @asking
    def _find(self, name: str) -> str:
        with self.alone("experiment"):
            found = self.client.get_experiment_by_name(name)
            if found is None:
                location = (self.artifacts / name).as_uri() if self.artifacts else None
                return str(self.client.create_experiment(name, artifact_location=location))
        if found.lifecycle_stage != "active":
            raise SeqlineError(f"MLflow: the experiment {name!r} was deleted there: restore it, or rename the model")
        return str(found.experiment_id)


def _same(assessment: Any) -> tuple[object, ...]:
    return assessment.name, assessment.source.source_id, (assessment.metadata or {}).get("seqline.number")


def _tracer() -> "tuple[Tracer, Any]":
    """Makes spans for us alone: MLflow's own way goes through a tracer of the whole process and only logs what fails."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    class Ids(IdGenerator):
        """Ids made of the trace's own: a span that is written again is the same span."""

        trace = ""

        def generate_trace_id(self) -> int:
            return int(self.trace.removeprefix("tr-"), 16)

        def generate_span_id(self) -> int:
            return int(self.trace.removeprefix("tr-")[:16], 16) or 1

    ids, whole = Ids(), SpanLimits(max_attribute_length=SpanLimits.UNSET, max_span_attribute_length=SpanLimits.UNSET)
    resource = Resource({"service.name": "seqline"})
    provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, id_generator=ids, span_limits=whole, shutdown_on_exit=False)
    return provider.get_tracer("seqline"), ids
