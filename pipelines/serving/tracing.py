"""OpenTelemetry spans, one a request: who answered, from how many tokens, decoded how. Never any text.

They are sent over OTLP/HTTP where the standard OTEL_EXPORTER_OTLP_ENDPOINT (or ..._TRACES_ENDPOINT) says, sampled as
OTEL_TRACES_SAMPLER says, batched as OTEL_BSP_* says. Without an endpoint nothing of OpenTelemetry's SDK is imported.
"""

import os
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from pipelines.serving.exchange import Answered, Ask
from pipelines.serving.intake import Refused
from pipelines.spec import Decoding

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OTelSpan

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
FLUSH_MS = 5_000
OPERATION = "text_completion"
TRACEPARENT = b"traceparent"

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class Span:
    """One request as it goes on; without an exporter it does nothing."""

    def __init__(self, otel: "OTelSpan | None" = None) -> None:
        self._otel = otel

    def answered(self, answered: Answered, arm: str) -> None:
        """The sender gets `answered`; `arm` is the sender's."""
        if self._otel is None:
            return
        outputs = answered.outputs
        self._otel.set_attributes({
            "gen_ai.response.model": answered.version,
            "gen_ai.usage.input_tokens": sum(output.source_tokens for output in outputs),
            "gen_ai.usage.output_tokens": sum(output.target_tokens for output in outputs),
            "seqline.request": answered.request,
            "seqline.version": answered.version,
            "seqline.arm": arm,
            "seqline.inputs": len(outputs),
            "seqline.degraded": list(answered.degraded),
            "seqline.flags": sorted({flag for output in outputs for flag in output.flags}),
            "seqline.cached": all(output.cached for output in outputs),
            "seqline.truncated": any(output.truncated for output in outputs),
            "seqline.outcome": "answered",
        })  # fmt: skip

    def ended(self, outcome: str, error: str | None = None) -> None:
        """It came to nothing: `outcome` is refused, gone or failed, `error` a class; never a message, which may hold text."""
        if self._otel is not None:
            self._otel.set_attribute("seqline.outcome", outcome)
            if error is not None:
                self._otel.set_attribute("error.type", error)


OFF = Span()
NOTHING: AbstractContextManager[Span] = nullcontext(OFF)


class Tracing:
    """The spans of one gateway."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._provider = _provider() if any(os.environ.get(name) for name in ENDPOINTS) and not _disabled() else None
        self._tracer = self._provider.get_tracer("seqline") if self._provider else None

    @property
    def on(self) -> bool:
        return self._tracer is not None

    def request(self, ask: Ask) -> AbstractContextManager[Span]:
        """The span of one request; what the block raises becomes its outcome. It continues the trace that `joined` found."""
        return NOTHING if self._tracer is None else self._request(ask)

    def part(self, name: str, version: str | None = None) -> AbstractContextManager[Span]:
        """A span inside the request's: the guard (`guard`), or one call to an engine (`engine`) of a version."""
        if self._tracer is None:
            return NOTHING
        return self._span(name, {} if version is None else {"seqline.version": version})

    def wrap(self, app: App) -> App:
        """`app`, with the trace that a sender names (W3C traceparent) continued; `app` itself when there is no exporter."""
        if self._tracer is None:
            return app

        async def joining(scope: Message, receive: Any, send: Any) -> None:
            with joined(scope.get("headers", ())):
                await app(scope, receive, send)

        return joining

    def close(self) -> None:
        """Send what waits, for at most FLUSH_MS; blocks."""
        if self._provider:
            self._provider.force_flush(FLUSH_MS)
            self._provider.shutdown()

    @contextmanager
    def _request(self, ask: Ask) -> Iterator[Span]:
        from opentelemetry.trace import SpanKind

        facts = {
            "gen_ai.operation.name": OPERATION, "gen_ai.provider.name": "seqline", "gen_ai.request.model": self._model,
            **_decoding(ask.decoding),
        }  # fmt: skip
        with self._span(f"{OPERATION} {self._model}", facts, SpanKind.SERVER) as span:
            yield span

    @contextmanager
    def _span(self, name: str, facts: dict[str, Any], kind: Any = None) -> Iterator[Span]:
        from opentelemetry.trace import SpanKind, StatusCode

        assert self._tracer is not None
        with self._tracer.start_as_current_span(
            name, kind=kind or SpanKind.INTERNAL, attributes=facts, record_exception=False, set_status_on_exception=False
        ) as otel:
            span = Span(otel)
            try:
                yield span
            except Refused as error:
                span.ended("refused", str(error.status))
                if error.status >= 500:
                    otel.set_status(StatusCode.ERROR)
                raise
            except Exception as error:
                span.ended("failed", getattr(error, "reason", None) or type(error).__name__)
                otel.set_status(StatusCode.ERROR)
                raise
            except BaseException:  # cancelled: the sender hung up
                span.ended("gone")
                raise


@contextmanager
def joined(headers: Sequence[tuple[bytes, bytes]]) -> Iterator[None]:
    """Make the sender's span the parent of those inside. Its tracestate and baggage, which may hold anything, stay out."""
    from opentelemetry import context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    named = [value for name, value in headers if name == TRACEPARENT]
    if len(named) != 1:  # none, or a sender that cannot decide: a trace of our own
        yield
        return
    carrier = {"traceparent": named[0].decode("latin-1")}
    token = context.attach(TraceContextTextMapPropagator().extract(carrier, context.Context()))
    try:
        yield
    finally:
        context.detach(token)


def _decoding(decoding: Decoding) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "gen_ai.request.max_tokens": decoding.max_tokens,
        "gen_ai.request.temperature": decoding.temperature,
        "seqline.beam": decoding.beam,
    }
    if decoding.temperature > 0:
        facts |= {"gen_ai.request.top_k": decoding.top_k, "gen_ai.request.top_p": decoding.top_p}
    if decoding.seed is not None:
        facts["gen_ai.request.seed"] = decoding.seed
    return facts


def _disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"


def _provider() -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "seqline"}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
