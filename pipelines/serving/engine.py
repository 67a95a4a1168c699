"""One model version in a process of its own: decodes what the gateway sends, in micro-batches.

    python -m pipelines.serving.engine --export FOLDER --spec spec.json --port 0 --parent PID

prints one line {"port", "pid"} when it is ready, serves POST /generate and GET /healthz on loopback, finishes what it holds on
SIGTERM, and ends by itself when its parent dies.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines import processes
from pipelines.decode import Answer, Decoder
from pipelines.errors import SeqlineError
from pipelines.serving import intake
from pipelines.serving.batching import Batcher, Expired, Full
from pipelines.serving.intake import Refused
from pipelines.serving.listening import Server, listen
from pipelines.spec import Decoding, Spec

KEYS = frozenset({"inputs", "decoding", "deadline_ms"})
CHARS_A_TOKEN = 3  # an estimate, for the size of a batch only


class Service:
    """A loaded model behind a bounded queue."""

    def __init__(self, export: Path, spec: Spec) -> None:
        decoder = Decoder(export, threads=1)
        self.manifest = decoder.sha256
        self._limits, self._longest = spec.serving, spec.tokens.max_source

        def decode(texts: list[str], decoding: Decoding) -> Sequence[Answer]:
            return decoder.generate(texts, decoding, batch_tokens=spec.serving.batch_tokens)

        patience = spec.serving.batch_wait_ms / 1000
        self.batcher = Batcher(decode, budget=spec.serving.batch_tokens, patience=patience, bound=spec.serving.queue)

    async def generate(self, request: Request) -> Response:
        arrived = time.monotonic()
        body = await intake.read_body(request, intake.largest_body(self._limits), self._limits.timeout_ms / 1000)
        content = intake.parse(body, KEYS)
        inputs = intake.inputs_of(content, self._limits)
        deadline = arrived + _deadline_ms(content, self._limits.timeout_ms) / 1000
        answers = await intake.unless_gone(request, self._answers(inputs, _decoding(content, self._limits.decoding), deadline))
        return intake.reply({"outputs": [asdict(answer) for answer in answers]})

    async def _answers(self, inputs: list[str], decoding: Decoding, deadline: float) -> list[Answer]:
        lengths = [min(len(text) // CHARS_A_TOKEN + 1, self._longest) for text in inputs]
        try:
            futures = self.batcher.submit(inputs, lengths, deadline, decoding)
        except Full:
            raise Refused(429, f"{self._limits.queue} texts wait already: try again") from None
        try:
            return await asyncio.gather(*map(asyncio.wrap_future, futures))
        except Expired:
            raise Refused(503, "the deadline passed before the text was decoded") from None
        finally:
            for future in futures:
                future.cancel()

    async def healthz(self, _request: Request) -> Response:
        return intake.reply({"ok": True, "manifest": self.manifest})

    def app(self) -> Starlette:
        routes = [Route("/generate", intake.in_one_line(self.generate), methods=["POST"]), Route("/healthz", self.healthz)]
        return Starlette(routes=routes, exception_handlers={HTTPException: intake.plain_refusal})


def _decoding(content: dict[str, Any], default: Decoding) -> Decoding:
    given = content.get("decoding")
    if given is None:
        return default
    try:
        return Decoding.model_validate(given)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"] if part in Decoding.model_fields)
        raise Refused(400, f"decoding{'.' + key if key else ''}: must be as in the spec's serving.decoding") from None


def _deadline_ms(content: dict[str, Any], default: int) -> float:
    given = content.get("deadline_ms", default)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= 3_600_000:
        raise Refused(400, "deadline_ms: must be a number of milliseconds above 0")
    return float(given)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="seqline engine", description="Serve one model version on loopback.")
    parser.add_argument("--export", type=Path, required=True, help="the Export's folder")
    parser.add_argument("--spec", type=Path, required=True, help="the spec as JSON")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--parent", type=int, help="end when this process, the parent, has ended")
    given = parser.parse_args(arguments)
    if given.parent is not None:
        processes.end_with(given.parent)
    try:
        service = Service(given.export, Spec.model_validate_json(given.spec.read_bytes()))
        listening = listen("127.0.0.1", given.port)
    except SeqlineError as error:
        print(f"engine: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    line = orjson.dumps({"port": listening.getsockname()[1], "pid": os.getpid()}).decode()
    server = Server(service.app(), lambda: print(line, flush=True), grace=10, keep_alive=3600)  # noqa: T201
    asyncio.run(server.serve([listening]))
    service.batcher.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
