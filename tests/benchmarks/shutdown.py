"""SIGTERM under load, again and again: requests that were dropped (the bar is none), and how long the end takes.

Four kinds of clients, as pools and people make them: closed loops without a pause, with short pauses (their kept connections
are idle when the signal comes), with a new connection for each request (they stand in the accept queue), and slow senders of
bodies. A refused connect ends a client, since nothing was sent; any other failure, and any other status than 200, is a dropped
request.

    python -m tests.benchmarks.shutdown [RUNS]
"""

import asyncio
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable

import psutil
from rich.console import Console

from pipelines.spec import Spec
from tests.benchmarks import load, results, served, started

RUNS = 100
CLIENTS = 8  # of each kind
GRACE = 6.0  # seconds: the timeout of a request and one more
SPEC = {"timeout_ms": 5_000, "queue": 256}


class Clients:
    """All clients of one run. `seen` counts what each request came to; `ended` is set by the signal's sender."""

    def __init__(self, url: str, texts: list[str], draw: random.Random) -> None:
        self.seen: Counter[str] = Counter()
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._draw = draw
        bodies = [body.encode() for body in load.bodies(texts)]
        head = f"POST /v1/generate HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        self._requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]

    async def run(self) -> None:
        """Send until the port is closed."""
        kinds: list[Callable[[], float]] = [lambda: 0.0, lambda: self._draw.uniform(0, 0.2)]
        closed = [self._client(pause, keep=True) for pause in kinds for _ in range(CLIENTS)]
        fresh = [self._client(kinds[0], keep=False) for _ in range(CLIENTS)]
        slow = [self._client(kinds[1], keep=True, slowly=True) for _ in range(CLIENTS)]
        await asyncio.gather(*closed, *fresh, *slow)

    async def _client(self, pause: Callable[[], float], *, keep: bool, slowly: bool = False) -> None:
        connection = None
        while True:
            if connection is None or not connection.open:
                try:
                    _, connection = await asyncio.get_running_loop().create_connection(load.Connection, self._host, self._port)
                except ConnectionRefusedError:
                    return
            self.seen[await self._send(connection, slowly)] += 1
            if not keep and connection.open:
                connection.open = False
                connection.transport.close()
            await asyncio.sleep(pause())

    async def _send(self, connection: load.Connection, slowly: bool) -> str:
        request = self._draw.choice(self._requests)
        if slowly:
            connection.transport.write(request[:-40])
            await asyncio.sleep(self._draw.uniform(0, 0.3))
            request = request[-40:]
        try:
            head, _ = await connection.ask(request, 20)
        except (OSError, TimeoutError) as error:
            return type(error).__name__
        return head[9:12].decode()


async def once(gateway: started.Gateway, draw: random.Random) -> tuple[Counter[str], float, int | None]:
    """One run: (what the requests came to, seconds from the signal to the exit, exit code)."""
    clients = Clients(gateway.url, served.texts("short")[:200], draw)
    sending = asyncio.create_task(clients.run())
    while clients.seen["200"] < 4 * CLIENTS:
        await asyncio.sleep(0.01)
    await asyncio.sleep(draw.uniform(0.1, 1.0))
    gateway.process.terminate()
    began = time.monotonic()
    try:
        code = await asyncio.to_thread(gateway.process.wait, 60)
    except psutil.TimeoutExpired:
        code = None
    took = time.monotonic() - began
    await sending
    return clients.seen, took, code


def main(runs: int) -> None:
    spec: Spec = served.spec(serving=SPEC)
    export, draw = served.export(), random.Random(7)
    seen: Counter[str] = Counter()
    exits: list[float] = []
    codes: Counter[str] = Counter()
    for number in range(runs):
        with started.gateway(spec, export) as gateway:
            found, took, code = asyncio.run(once(gateway, draw))
        seen += found
        exits.append(took)
        codes[str(code)] += 1
        Console(stderr=True).print(f"{number + 1}/{runs}: {dict(found)}, {took:.2f} s, exit code {code}")
    dropped = sum(seen.values()) - seen["200"]
    rows = [
        results.bounded("SIGTERM under load: dropped requests", dropped, "requests", 0, runs, requests=sum(seen.values())),
        results.bounded("SIGTERM under load: slowest exit", max(exits), "s", GRACE, runs, exits),
        results.bounded("SIGTERM under load: median exit", statistics.median(exits), "s", None, runs, exits),
        results.bounded("SIGTERM under load: exit codes other than 0", runs - codes["0"], "runs", 0, runs),
    ]
    results.write("shutdown", rows, f"what {sum(seen.values()):,} requests came to: {dict(seen)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
