"""A load generator for HTTP/1.1 on loopback, in a process of its own: raw sockets on uvloop, some 30 us of CPU a request.

Closed loop: `clients` keep-alive connections, each of which sends its next request when it has its answer. Open loop: Poisson
arrivals at `rate` a second, whoever still waits; a latency counts from the moment at which the request was meant to be sent, so
that a server that stalls cannot hide it (no coordinated omission).
"""

import asyncio
import contextlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
QUEUE = re.compile(rb"\r\nx-queue-seconds: *([0-9.e+-]+)", re.IGNORECASE)
RETRY = re.compile(rb"\r\nretry-after: *\d+", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True)
class Job:
    """What to send where. Closed loop: `clients`, and either `count` requests after `warm` ones or `seconds`; open loop: `rate`
    and `seconds` after `warm` seconds. `bodies` are JSON texts, taken in turn; `users` distinct X-User headers, if above 0."""

    url: str
    bodies: Sequence[str]
    clients: int = 0
    count: int = 0
    rate: float = 0.0
    seconds: float = 0.0
    warm: float = 0
    path: str = "/v1/generate"
    headers: Mapping[str, str] = field(default_factory=dict)
    users: int = 0
    timeout: float = 30.0
    keep: bool = False
    seed: int = 1


@dataclass(frozen=True)
class Load:
    """What came of it. Latencies (seconds) are those of answers with 200; `goodput` is such answers a second.

    `statuses` counts what was measured, failures of the connection among it by their names. `lag` is how late the generator
    itself sent at worst, `queue` the 95th percentile of what the server said in X-Queue-Seconds, `kept` body number -> answer.
    """

    statuses: Mapping[str, int]
    goodput: float
    p50: float
    p95: float
    p99: float
    longest: float
    lag: float
    seconds: float
    without_retry_after: int
    queue: float | None
    kept: Mapping[str, Any]

    @property
    def failed(self) -> int:
        return sum(self.statuses.values()) - self.statuses.get("200", 0)


class Reply(NamedTuple):
    number: int
    meant: float
    sent: float
    done: float
    status: str
    head: bytes
    body: bytes


def run(job: Job) -> Load:
    """Do `job` in another process and wait for it."""
    with running(job) as process:
        return result(process)


@contextlib.contextmanager
def running(job: Job) -> Iterator["subprocess.Popen[bytes]"]:
    """The generator at work; `result` waits for it."""
    with tempfile.TemporaryDirectory(prefix="seqline-load-") as folder:
        Path(folder, "job.json").write_text(json.dumps(asdict(job)), encoding="utf-8")
        with subprocess.Popen([sys.executable, "-m", "tests.benchmarks.load", folder]) as process:
            try:
                yield process
            finally:
                process.kill()


def result(process: "subprocess.Popen[bytes]") -> Load:
    if process.wait():
        raise RuntimeError("the load generator failed")
    assert isinstance(process.args, list)
    return Load(**json.loads(Path(str(process.args[-1]), "load.json").read_text(encoding="utf-8")))


def bodies(texts: Sequence[str], **fields: Any) -> list[str]:
    """A request of /v1/generate for each text."""
    return [json.dumps({"inputs": [text], **fields}, ensure_ascii=False) for text in texts]


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self) -> None:
        self.open = False
        self._buffer = b""
        self._waiting: asyncio.Future[tuple[bytes, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of asyncio's
        self.open = True

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or (length and len(body) < int(length[1])):
            return
        self._buffer = b""
        if self._waiting and not self._waiting.done():
            self._waiting.set_result((head, body))
        if not length or CLOSES.search(head):
            self.open = False
            self.transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        self.open = False
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(ConnectionResetError())

    async def ask(self, request: bytes, seconds: float) -> tuple[bytes, bytes]:
        """Head and body of the answer."""
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        try:
            return await asyncio.wait_for(self._waiting, seconds)
        except TimeoutError:
            self.open = False
            self.transport.abort()
            raise


class Generator:
    """Sends what a job says and keeps every reply."""

    def __init__(self, job: Job) -> None:
        self.job, self.replies = job, list[Reply]()
        self._host, _, port = job.url.removeprefix("http://").partition(":")
        self._port = int(port)
        lines = [f"POST {job.path} HTTP/1.1", f"Host: {self._host}", "Content-Type: application/json"]
        head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in job.headers.items())])
        encoded = [body.encode() for body in job.bodies]
        self._requests = [f"{head}\r\nContent-Length: {len(each)}\r\n".encode() + b"%s\r\n" + each for each in encoded]
        self._idle: list[Connection] = []

    async def go(self) -> Load:
        began = time.monotonic()
        if self.job.rate:
            await self._open_loop(began)
            first, last = began + self.job.warm, began + self.job.warm + self.job.seconds
        else:
            await self._closed_loop(began)
            ends = sorted(reply.done for reply in self.replies)
            first, last = began + self.job.warm, began + self.job.warm + self.job.seconds
            if self.job.count:
                first, last = ends[int(self.job.warm)], ends[int(self.job.warm) + self.job.count]
        for connection in self._idle:
            connection.transport.close()
        return self._summed(first, last)

    async def _closed_loop(self, began: float) -> None:
        numbers = iter(range(sys.maxsize))
        most = self.job.warm + self.job.count + self.job.clients  # so that all clients are busy until the last that counts
        until = began + self.job.warm + self.job.seconds if not self.job.count else float("inf")

        async def client() -> None:
            for number in numbers:
                if time.monotonic() >= until or (self.job.count and number >= most):
                    return
                await self._send(number, time.monotonic())

        await asyncio.gather(*(client() for _ in range(self.job.clients)))

    async def _open_loop(self, began: float) -> None:
        draw, at, sending = random.Random(self.job.seed), began, set[asyncio.Task[None]]()
        for number in range(sys.maxsize):
            at += draw.expovariate(self.job.rate)
            if at >= began + self.job.warm + self.job.seconds:
                break
            if (early := at - time.monotonic()) > 0:
                await asyncio.sleep(early)
            task = asyncio.create_task(self._send(number, at))
            sending.add(task)
            task.add_done_callback(sending.discard)
        await asyncio.gather(*sending)

    async def _send(self, number: int, meant: float) -> None:
        which = (number - (int(self.job.warm) if self.job.count else 0)) % len(self._requests)
        user = f"X-User: user-{number % self.job.users}\r\n".encode() if self.job.users else b""
        request = self._requests[which].replace(b"%s", user, 1)
        head = body = b""
        sent = time.monotonic()
        try:
            connection = await self._connection()
            head, body = await connection.ask(request, self.job.timeout)
            status = head[9:12].decode()
            if connection.open:
                self._idle.append(connection)
        except (OSError, TimeoutError) as error:
            status = type(error).__name__
        self.replies.append(Reply(which, meant, sent, time.monotonic(), status, head, body if self.job.keep else b""))

    async def _connection(self) -> Connection:
        while self._idle:
            if (connection := self._idle.pop()).open:
                return connection
        _, made = await asyncio.get_running_loop().create_connection(Connection, self._host, self._port)
        return made

    def _summed(self, first: float, last: float) -> Load:
        """Of the replies that were meant in [first, last); in a closed loop of the answers that came in it."""
        chosen = [r for r in self.replies if first <= (r.meant if self.job.rate else r.done) < last]
        good = [r for r in chosen if r.status == "200"]
        took = sorted(r.done - r.meant for r in good) or [float("nan")]
        queued = sorted(float(found[1]) for r in good if (found := QUEUE.search(r.head)))
        refused = [r for r in chosen if r.status == "429"]
        return Load(
            statuses=dict(Counter(r.status for r in chosen)),
            goodput=sum(first <= r.done < last for r in self.replies if r.status == "200") / (last - first),
            p50=_share(took, 0.5), p95=_share(took, 0.95), p99=_share(took, 0.99), longest=took[-1],
            lag=max((r.sent - r.meant for r in chosen), default=0.0), seconds=last - first,
            without_retry_after=sum(not RETRY.search(r.head) for r in refused),
            queue=_share(queued, 0.95) if queued else None,
            kept={str(r.number): json.loads(r.body) for r in good} if self.job.keep else {},
        )  # fmt: skip


def _share(ordered: Sequence[float], share: float) -> float:
    if len(ordered) < 2:
        return ordered[0]
    return statistics.quantiles(ordered, n=1_000, method="inclusive")[round(share * 1_000) - 1]


if __name__ == "__main__":
    import uvloop

    with contextlib.suppress(PermissionError):
        os.nice(-10)  # those who ask have machines of their own, which never wait for ours
    where = Path(sys.argv[1])
    told = uvloop.run(Generator(Job(**json.loads((where / "job.json").read_text(encoding="utf-8")))).go())
    (where / "load.json").write_text(json.dumps(asdict(told)), encoding="utf-8")
