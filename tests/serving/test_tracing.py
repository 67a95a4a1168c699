"""Spans as a collector gets them: OTLP over real HTTP on loopback, decoded from the protobuf."""

import asyncio
import gzip
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.serving.exchange import Answered, Ask, Output
from pipelines.serving.intake import Refused
from pipelines.serving.tracing import Tracing
from pipelines.spec import Decoding

SECRET = "zebrafish"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ASK = Ask([SECRET], Decoding(beam=4, max_tokens=9), user=SECRET, holder=SECRET)
OUTPUT = Output(text=SECRET, source_tokens=7, target_tokens=3, truncated=False, flags=["length"])
ANSWERED = Answered("r1", "2", [OUTPUT, OUTPUT], ["smaller_beam"])


class Collector:
    """An OTLP/HTTP endpoint that keeps the spans and the raw bodies."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self.raw = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                found = ExportTraceServiceRequest.FromString(body)
                collector.raw += body + self.path.encode()
                for resource in found.resource_spans:
                    collector.services |= {
                        each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
                    }
                    collector.spans += [span for scope in resource.scope_spans for span in scope.spans]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def facts(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value")
        one = getattr(each.value, kind)
        found[each.key] = [item.string_value for item in one.values] if kind == "array_value" else one
    return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


@pytest.fixture
def tracing(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracing]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    running = Tracing("tiny")
    yield running
    running.close()


def test_a_request_is_a_span_with_what_matters_and_no_text(tracing: Tracing, collector: Collector) -> None:
    with tracing.request(ASK) as span:
        with tracing.part("guard"):
            pass
        with tracing.part("engine", "2"):
            pass
        span.answered(ANSWERED, "canary")
    tracing.close()
    guard, engine, whole = collector.spans
    assert facts(whole) == {
        "gen_ai.operation.name": "text_completion", "gen_ai.provider.name": "seqline", "gen_ai.request.model": "tiny",
        "gen_ai.request.max_tokens": 9, "gen_ai.request.temperature": 0.0, "seqline.beam": 4, "gen_ai.response.model": "2",
        "gen_ai.usage.input_tokens": 14, "gen_ai.usage.output_tokens": 6, "seqline.request": "r1", "seqline.version": "2",
        "seqline.arm": "canary", "seqline.inputs": 2, "seqline.degraded": ["smaller_beam"], "seqline.flags": ["length"],
        "seqline.cached": False, "seqline.truncated": False, "seqline.outcome": "answered",
    }  # fmt: skip
    assert (whole.name, whole.kind, whole.parent_span_id) == ("text_completion tiny", Span.SPAN_KIND_SERVER, b"")
    assert (guard.name, engine.name, facts(engine)) == ("guard", "engine", {"seqline.version": "2"})
    assert guard.parent_span_id == engine.parent_span_id == whole.span_id
    assert collector.services == {"seqline"}
    assert SECRET.encode() not in collector.raw


def test_a_drawn_answer_tells_how(tracing: Tracing, collector: Collector) -> None:
    with tracing.request(Ask(["x"], Decoding(temperature=0.5, top_k=5, top_p=0.9, seed=7))):
        pass
    tracing.close()
    found = facts(collector.spans[0])
    names = ("temperature", "top_k", "top_p", "seed")
    assert [found[f"gen_ai.request.{name}"] for name in names] == [0.5, 5, 0.9, 7]


@pytest.mark.parametrize(
    ("error", "outcome", "kind", "bad"),
    [
        (Refused(429, SECRET), "refused", "429", False),
        (Refused(503, SECRET), "refused", "503", True),
        (ValueError(SECRET), "failed", "ValueError", True),
        (asyncio.CancelledError(SECRET), "gone", None, False),
    ],
)
def test_what_it_came_to_without_its_message(
    tracing: Tracing, collector: Collector, error: BaseException, outcome: str, kind: str | None, bad: bool
) -> None:
    with pytest.raises(type(error)), tracing.request(ASK):
        raise error
    tracing.close()
    (span,) = collector.spans
    assert (facts(span)["seqline.outcome"], facts(span).get("error.type")) == (outcome, kind)
    assert (span.status.code == span.status.STATUS_CODE_ERROR) is bad
    assert not span.events
    assert SECRET.encode() not in collector.raw


def asked(tracing: Tracing, work: Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]) -> None:
    async def generate(_: Request) -> Response:
        async def answer() -> None:
            with tracing.request(ASK):
                pass

        await asyncio.create_task(answer())  # as the gateway does, so that it can be cancelled
        return Response()

    app: Any = tracing.wrap(Starlette(routes=[Route("/", generate, methods=["POST"])]))  # type: ignore[arg-type]

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:
            await work(http)

    asyncio.run(main())


def test_the_senders_trace_goes_on_and_nothing_else_of_its_headers(tracing: Tracing, collector: Collector) -> None:
    async def work(http: httpx.AsyncClient) -> None:
        named = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        await http.post("/", headers={**named, "tracestate": f"x={SECRET}", "baggage": f"user={SECRET}"})
        await http.post("/", headers={"traceparent": f"00-{SECRET}"})
        await http.post("/")
        await http.post("/", headers=[("traceparent", f"00-{TRACE}-{PARENT}-01")] * 2)

    asked(tracing, work)
    tracing.close()
    first, *others = collector.spans
    assert (first.trace_id.hex(), first.parent_span_id.hex(), first.trace_state) == (TRACE, PARENT, "")
    assert len({span.trace_id for span in others} | {first.trace_id}) == 4
    assert [span.parent_span_id for span in others] == [b""] * 3
    assert SECRET.encode() not in collector.raw


def test_the_sampler_is_the_standard_variables(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/own/path")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
    for sampler in ("always_off", "always_on"):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        tracing = Tracing("tiny")
        with tracing.request(ASK):
            pass
        tracing.close()
    assert len(collector.spans) == 1
    assert collector.services == {"ours"}
    assert b"/own/path" in collector.raw


def test_without_an_endpoint_there_is_nothing_of_it() -> None:
    program = (
        "import sys\n"
        "from pipelines.serving.tracing import NOTHING, Tracing\n"
        "tracing = Tracing('tiny')\n"
        "assert not tracing.on and tracing.request(None) is NOTHING is tracing.part('guard') and tracing.wrap(len) is len\n"
        "tracing.close()\n"
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env={"PATH": ""})
    assert (done.returncode, done.stderr) == (0, "")
