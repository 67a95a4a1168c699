"""One model version in a process of its own: decodes what the gateway sends, in micro-batches.

    python -m pipelines.serving.engine --export FOLDER --spec spec.json --port 0 --parent PID

prints one line {"port", "pid"} when it is ready, serves POST /generate and GET /healthz on loopback, finishes what it holds on
SIGTERM, and ends by itself when its parent dies.

    {"inputs", "decoding"?, "deadline_ms"?}  ->  {"outputs": [...], "timing": {"queue", "decode", "batch", "busy"}}
    the same with "stream": true             ->  lines: {"index", "text"} as texts are written, and that object as the last

`timing` is answering.Timing. What breaks after the first line is a last line {"error"}.
"""

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from pipelines import processes
from pipelines.decode import Decoder
from pipelines.errors import SeqlineError
from pipelines.serving import intake, logs
from pipelines.serving.answering import Answering, Job, OnText
from pipelines.serving.batching import Expired
from pipelines.serving.intake import Gone, Refused
from pipelines.serving.listening import Server, listen, run
from pipelines.spec import Caps, Decoding, Spec

log = logging.getLogger("seqline.serving")
KEYS = frozenset({"inputs", "decoding", "deadline_ms", "stream"})
LATE, LONGEST = (
    4,
    60.0,
)  # a batch that takes so many deadlines, and so many seconds, hangs: nobody waits for it any more
MIRRORED = 8  # requests that a gateway may have in flight beside its queue


class Service:
    """A loaded model, called as ASGI says. Its two paths need no router, which would cost more than all else here."""

    def __init__(self, decoder: Decoder, spec: Spec) -> None:
        self.answering = Answering(decoder, spec, decoder.writers)
        self._manifest, self._limits = decoder.sha256, spec.serving
        self._largest = intake.largest_body(spec.serving)
        self._in_flight = 0
        self._decoding = lru_cache(256)(partial(_decoding, spec.serving.decoding, spec.serving.caps))
        self._handlers = {"/generate": ("POST", intake.in_one_line(self.generate)), "/healthz": ("GET", self.healthz)}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        method, handler = self._handlers.get(scope["path"], (None, None))
        if handler is None:
            response = intake.reply({"error": "no such path: there are /generate and /healthz"}, 404)
        elif scope["method"] != method:
            response = intake.reply({"error": f"must be a {method}"}, 405, {"Allow": str(method)})
        else:
            response = await handler(Request(scope, receive))
        await response(scope, receive, send)

    async def healthz(self, _request: Request) -> Response:
        """Not well is one whose decoding hangs: all who come wait behind that batch until their deadlines."""
        stuck = self.answering.batcher.longest > max(LONGEST, LATE * self._limits.timeout_ms / 1000)
        return intake.reply({"ok": not stuck, "manifest": self._manifest}, 503 if stuck else 200)

    async def generate(self, request: Request) -> Response:
        arrived = time.monotonic()
        content = intake.parse(await intake.read_body(request, self._largest, self._limits.timeout_ms / 1000), KEYS)
        inputs = intake.inputs_of(content, self._limits)
        deadline = arrived + _deadline_ms(content, self._limits.timeout_ms) / 1000
        decoding = self._decoding(orjson.dumps(content.get("decoding"), option=orjson.OPT_SORT_KEYS))
        if not isinstance(stream := content.get("stream", False), bool):
            raise Refused(400, "stream: must be true or false")
        if self._in_flight >= self._limits.queue + MIRRORED:
            raise Refused(429, f"more than {self._limits.queue} requests are in flight: try again")
        job = Job(inputs, decoding, deadline)
        self._in_flight += 1
        if stream:
            return await self._streamed(request, job)
        try:
            return Response(await intake.unless_gone(request, self._answered(job)), media_type="application/json")
        finally:
            self._in_flight -= 1

    async def _answered(self, job: Job, on_text: OnText | None = None) -> bytes:
        try:
            outputs = await self.answering.answers(job, on_text)
        except Expired:
            raise Refused(503, "the deadline passed before the text was decoded") from None
        return orjson.dumps({"outputs": outputs, "timing": job.timing})

    async def _streamed(self, request: Request, job: Job) -> Response:
        """Texts as lines, as they come. What fails before the first is refused as ever."""
        lines: asyncio.Queue[bytes] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def on_text(index: int, text: str) -> None:
            if answered.cancelled():
                raise Gone
            loop.call_soon_threadsafe(lines.put_nowait, orjson.dumps({"index": index, "text": text}, option=NEWLINE))

        def end(_answered: object) -> None:
            self._in_flight -= 1
            loop.call_soon(lines.put_nowait, b"")  # after the texts on their way

        answered = asyncio.ensure_future(self._answered(job, on_text))
        answered.add_done_callback(end)
        try:
            first = await intake.unless_gone(request, lines.get())
        except BaseException:
            answered.cancel()
            raise
        if not first:
            answered.result()  # raises
        return StreamingResponse(_lines(first, lines, answered), media_type="application/x-ndjson")


NEWLINE = orjson.OPT_APPEND_NEWLINE


async def _lines(line: bytes, further: "asyncio.Queue[bytes]", answered: "asyncio.Future[bytes]") -> AsyncIterator[bytes]:
    try:
        while line:
            yield line
            line = await further.get()
        yield answered.result() + b"\n"
    except Refused as error:
        yield orjson.dumps({"error": error.line}, option=NEWLINE)
    except Exception as error:
        log.error("a stream failed: %s", type(error).__name__)  # its message could hold text of the request
        yield orjson.dumps({"error": "something broke here; it was logged"}, option=NEWLINE)
    finally:
        answered.cancel()


def _decoding(default: Decoding, caps: Caps, given: bytes) -> Decoding:
    """The decoding that a request asks for (as JSON)."""
    wanted = orjson.loads(given)
    if wanted is None:
        return default
    try:
        decoding = Decoding.model_validate(wanted)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"] if part in Decoding.model_fields)
        raise Refused(400, f"decoding{'.' + key if key else ''}: must be as in the spec's serving.decoding") from None
    for key, most in (("beam", caps.beam), ("max_tokens", caps.max_tokens)):
        if getattr(decoding, key) > max(most, getattr(default, key)):
            raise Refused(400, f"decoding.{key}: must be at most {most}")
    return decoding


def _deadline_ms(content: dict[str, Any], default: int) -> float:
    given = content.get("deadline_ms", default)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= 3_600_000:
        raise Refused(400, "deadline_ms: must be a number of milliseconds above 0")
    return float(given)


def _loaded(export: Path, spec: Spec, signer: Path | None) -> Service:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads would take the cores of those that decode
    threads = spec.serving.threads or max(1, len(os.sched_getaffinity(0)) - 1)
    decoder = Decoder(export, threads=threads, signer=signer)
    decoder.generate(["."], Decoding(max_tokens=2))  # what cannot decode is not ready; and the first sender need not wait
    return Service(decoder, spec)


async def _serve(service: Service, server: Server, listening: Any) -> None:
    await server.serve([listening])
    await asyncio.to_thread(service.answering.batcher.close)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="seqline engine", description="Serve one model version on loopback.")
    parser.add_argument("--export", type=Path, required=True, help="the Export's folder")
    parser.add_argument("--spec", type=Path, required=True, help="the spec as JSON")
    parser.add_argument("--signer", type=Path, help="public key (PEM): an export that it did not sign is refused")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--parent", type=int, help="end when this process, the parent, has ended")
    given = parser.parse_args(arguments)
    if given.parent is not None:
        processes.end_with(given.parent)
    logs.set_up("engine")
    try:
        service = _loaded(given.export, Spec.model_validate_json(given.spec.read_bytes()), given.signer)
        listening = listen("127.0.0.1", given.port)
    except SeqlineError as error:
        print(f"engine: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    line = orjson.dumps({"port": listening.getsockname()[1], "pid": os.getpid()}).decode()
    server = Server(service, lambda: print(line, flush=True), grace=10, keep_alive=3600)  # noqa: T201
    run(_serve(service, server, listening))
    return 0


if __name__ == "__main__":
    sys.exit(main())
