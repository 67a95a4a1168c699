"""A process that takes scrubbed pairs: its HTTP surface, its start and its end. The judge and the review are such."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pipelines.processes import end_with
from pipelines.serving.pairs import Pair, pairs_of

QUEUE = 10_000
LARGEST_BODY = 16 * 2**20


class Taker(Protocol):
    """What takes the pairs. `work` runs until `close` was called and all is done; `closing` says that it was."""

    closing: bool

    def take(self, pairs: Sequence[Pair]) -> Mapping[str, Any]:
        """Queue them; what is returned is answered to the sender."""

    def counts(self) -> Mapping[str, Any]:
        """For /healthz."""

    async def work(self) -> None: ...

    def close(self) -> None: ...


def application(taker: Taker) -> Starlette:
    """The HTTP surface: POST /pairs and GET /healthz."""

    async def post(request: Request) -> JSONResponse:
        if int(request.headers.get("content-length", LARGEST_BODY + 1)) > LARGEST_BODY:
            return JSONResponse({"error": f"send at most {LARGEST_BODY} bytes, with Content-Length"}, 413)
        try:
            pairs = pairs_of(await request.body())
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"accepted": len(pairs), **taker.take(pairs)}, 202)

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"ok": True, **taker.counts()})

    def ended(_: object) -> None:
        if not taker.closing:  # a taker that can no longer work is none: end, so that its owner sees it
            signal.raise_signal(signal.SIGTERM)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        worker = asyncio.create_task(taker.work())
        worker.add_done_callback(ended)
        try:
            yield
        finally:
            taker.close()
            await worker

    routes = [Route("/pairs", post, methods=["POST"]), Route("/healthz", health)]
    return Starlette(routes=routes, lifespan=lifespan)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every such process can be told."""
    parser.add_argument("--name", required=True, help="the model's name")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--parent", type=int, help="end when this process, which started it, is gone")
    parser.add_argument("--queue", type=int, default=QUEUE, help="pairs that may wait; beyond it the oldest are shed")


def run(taker: Taker, port: int, parent: int | None) -> None:
    """Print one line {"port", "pid"}, take pairs until SIGTERM or until `parent` is gone, then finish."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # uvicorn shuts down first, then raises the signal again
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(application(taker), log_config=None, access_log=False, lifespan="on")
    if parent:
        end_with(parent)
    asyncio.run(_serve(uvicorn.Server(config), listener))


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    print(json.dumps({"port": listener.getsockname()[1], "pid": os.getpid()}), flush=True)  # noqa: T201  # the caller reads it
    await server.serve(sockets=[listener])
