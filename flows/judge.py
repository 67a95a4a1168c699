"""The judge's own process: takes scrubbed pairs, judges them in memory, writes verdicts to the rollout database, nothing else.

    python -m flows.judge --name synopsis --database URL --threshold 0.7

prints one JSON line {"port", "pid"} when ready. POST /pairs answers 202 at once; GET /healthz counts. It never logs a text,
sheds the oldest pairs when it cannot keep up, and ends, flushed, on SIGTERM or when its parent is gone.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import get_type_hints

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pipelines.errors import Transient
from pipelines.processes import end_with
from pipelines.rollout.store import Event, Store
from pipelines.scoring.judge import flags

QUEUE = 10_000
BATCH = 200
LARGEST_BODY = 16 * 2**20
RETRY_SECONDS = 0.5
FLUSH_SECONDS = 10.0

log = logging.getLogger("seqline.judge")


@dataclass(frozen=True)
class Pair:
    """One answer, given at `at` (seconds since the epoch); `source` and `output` are scrubbed, and live here only."""

    request: str
    user_hmac: str
    arm: str
    version: str
    shadow: bool
    source: str
    output: str
    at: float


KINDS: dict[str, type] = get_type_hints(Pair)
SAID = {bool: "true or false", float: "a number (seconds since the epoch)", str: "text"}


class Judge:
    """A bounded queue of pairs and the loop that turns it into verdict rows under a gateway id of its own."""

    def __init__(self, name: str, store: Store, threshold: float, limit: int) -> None:
        self.name, self.store, self.threshold = name, store, threshold
        self.gateway = f"judge-{uuid.uuid4()}"
        self.queue: deque[Pair] = deque()
        self.limit = limit
        self.judged = self.shed = 0
        self._unwritten: list[Event] = []
        self._arrived = asyncio.Event()
        self.closing, self._deadline = False, 0.0

    def take(self, pairs: Sequence[Pair]) -> None:
        self.queue.extend(pairs)
        while len(self.queue) > self.limit:
            self.queue.popleft()
            self.shed += 1
        self._arrived.set()

    async def work(self) -> None:
        """Judge and write until closed. A database that fails is tried again with the same rows, which it keeps once."""
        while not (self.closing and not self._pending()):
            await self._arrived.wait()
            try:
                await self._step()
            except Transient as error:
                if self.closing and time.monotonic() > self._deadline:
                    log.warning("%s; ended with %d verdicts unwritten", error, len(self._unwritten) + len(self.queue))
                    return
                await asyncio.sleep(RETRY_SECONDS)

    def close(self) -> None:
        """Let `work` end once all is written, or after FLUSH_SECONDS."""
        self.closing, self._deadline = True, time.monotonic() + FLUSH_SECONDS
        self._arrived.set()

    def _pending(self) -> bool:
        return bool(self.queue or self._unwritten)

    async def _step(self) -> None:
        if not self._unwritten:
            batch = [self.queue.popleft() for _ in range(min(BATCH, len(self.queue)))]
            self._unwritten = self._verdicts(batch)
        await asyncio.to_thread(self.store.append, self.name, self.gateway, self._unwritten)
        self.judged += len(self._unwritten)
        self._unwritten = []
        if not self.queue and not self.closing:
            self._arrived.clear()

    def _verdicts(self, batch: Sequence[Pair]) -> list[Event]:
        verdicts = flags([pair.source for pair in batch], [pair.output for pair in batch], self.threshold)
        return [
            Event(
                request=pair.request, user_hmac=pair.user_hmac, arm=pair.arm, version=pair.version, shadow=pair.shadow,
                at=pair.at, slis={"judge": not verdict.flagged}, kind="verdict", gateway=self.gateway, seq=self.judged + index,
            )
            for index, (pair, verdict) in enumerate(zip(batch, verdicts, strict=True))
        ]  # fmt: skip


def pairs_of(body: bytes) -> list[Pair]:
    """Read {"pairs": [...]}.

    Raises:
        ValueError: saying what is wrong, without any of the content.
    """
    try:
        rows = json.loads(body)["pairs"]
    except (ValueError, KeyError, TypeError):
        raise ValueError('the body must be JSON: {"pairs": [...]}') from None
    if not isinstance(rows, list):
        raise ValueError("pairs: must be a list")
    return [_pair(index, row) for index, row in enumerate(rows)]


def _pair(index: int, row: object) -> Pair:
    if not isinstance(row, dict):
        raise ValueError(f"pairs[{index}]: must be an object")
    for name, kind in KINDS.items():
        if not isinstance(row.get(name), kind):
            raise ValueError(f"pairs[{index}].{name}: must be {SAID[kind]}")
    return Pair(**{name: row[name] for name in KINDS})


def application(judge: Judge) -> Starlette:
    """The HTTP surface: POST /pairs and GET /healthz."""

    async def post(request: Request) -> JSONResponse:
        if int(request.headers.get("content-length", LARGEST_BODY + 1)) > LARGEST_BODY:
            return JSONResponse({"error": f"send at most {LARGEST_BODY} bytes, with Content-Length"}, 413)
        try:
            pairs = pairs_of(await request.body())
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        judge.take(pairs)
        return JSONResponse({"accepted": len(pairs)}, 202)

    async def health(_: Request) -> JSONResponse:
        counts = {"queued": len(judge.queue), "judged": judge.judged, "shed": judge.shed}
        return JSONResponse({"ok": True, "gateway": judge.gateway, **counts})

    def ended(_: object) -> None:
        if not judge.closing:  # a judge that can no longer write is no judge: end, so that its owner sees it
            signal.raise_signal(signal.SIGTERM)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        worker = asyncio.create_task(judge.work())
        worker.add_done_callback(ended)
        try:
            yield
        finally:
            judge.close()
            await worker

    routes = [Route("/pairs", post, methods=["POST"]), Route("/healthz", health)]
    return Starlette(routes=routes, lifespan=lifespan)


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    print(json.dumps({"port": listener.getsockname()[1], "pid": os.getpid()}), flush=True)  # noqa: T201  # the caller reads it
    await server.serve(sockets=[listener])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.judge", description="judge scrubbed pairs, write verdict rows")
    parser.add_argument("--name", required=True, help="the model's name")
    parser.add_argument("--database", required=True, help="SQLAlchemy URL of the rollout database")
    parser.add_argument(
        "--threshold", required=True, type=float, help="share of unsupported content words that flags an output"
    )
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--parent", type=int, help="end when this process, which started the judge, is gone")
    parser.add_argument("--queue", type=int, default=QUEUE, help="pairs that may wait; beyond it the oldest are shed")
    given = parser.parse_args(arguments)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # uvicorn shuts down first, then raises the signal again
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    store = Store(given.database)
    store.create()
    listener = socket.create_server(("127.0.0.1", given.port))
    app = application(Judge(given.name, store, given.threshold, given.queue))
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on")
    if given.parent:
        end_with(given.parent)
    asyncio.run(_serve(uvicorn.Server(config), listener))


if __name__ == "__main__":
    main()
