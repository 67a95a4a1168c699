"""Goodput with 200 stalled sockets and 100 slow bodies beside it, against goodput without, alternating in one run.

A third of the sockets says nothing, a third sends a head byte by byte, a third a body byte by byte. Whoever is closed by the
gateway comes back at once, as an attacker would; how long each was suffered is measured too.

    python -m tests.benchmarks.stalled [PAIRS]
"""

import asyncio
import itertools
import multiprocessing
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any

from pipelines.serving.connections import Bounds
from tests.benchmarks import load, results, served, started

PAIRS = 5
SECONDS = 24.0  # a run of load: longer than any stalled socket is suffered
CLIENTS = 32
SOCKETS = 100  # of each kind
TIMEOUT = 5.0
BOUND = Bounds(TIMEOUT).head + TIMEOUT + 2.0
HEAD = b"POST /v1/generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
KINDS = (b"", HEAD + b"X-Slow: " + b"a" * 10_000, HEAD + b"Content-Length: 10000\r\n\r\n" + b" " * 9_000)
"""Silence, a head and a body: what is sent of the latter two, all but its last bytes at once or byte by byte."""
AT_ONCE = (0, len(HEAD), len(HEAD) + 25)


class Sockets:
    """All stalled sockets. `suffered` are the longest seconds that the gateway kept one of each kind."""

    def __init__(self, host: str, port: int) -> None:
        self.suffered = [0.0, 0.0, 0.0]
        self.closed = 0
        self._address = (host, port)

    async def run(self, stop: Event) -> None:
        holding = [asyncio.create_task(self._hold(number % 3)) for number in range(3 * SOCKETS)]
        while not stop.is_set():
            await asyncio.sleep(0.1)
        for each in holding:
            each.cancel()
        await asyncio.gather(*holding, return_exceptions=True)

    async def _hold(self, kind: int) -> None:
        while True:
            began = time.monotonic()
            try:
                reader, writer = await asyncio.open_connection(*self._address)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            dribbling = asyncio.create_task(self._dribble(writer, kind))
            try:
                while await reader.read(65_536):  # a refusal may come before the end
                    pass
            except OSError:
                pass
            finally:
                self.suffered[kind] = max(self.suffered[kind], time.monotonic() - began)
                dribbling.cancel()
                writer.transport.abort()
            self.closed += 1

    async def _dribble(self, writer: asyncio.StreamWriter, kind: int) -> None:
        text, at = KINDS[kind], AT_ONCE[kind]
        writer.write(text[:at])
        for place in itertools.count(at):
            if place >= len(text):
                return
            await asyncio.sleep(1)
            writer.write(text[place : place + 1])


def _hold(url: str, stop: Event, told: Connection) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    sockets = Sockets(host, int(port))
    asyncio.run(sockets.run(stop))
    told.send((sockets.suffered, sockets.closed))


@contextmanager
def stalled(url: str, found: dict[str, Any]) -> Iterator[None]:
    """The sockets, in a process of their own, while the block runs; `found` is filled at its end."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_hold, args=(url, stop, there), daemon=True)
    process.start()
    time.sleep(3)  # all of them are connected
    try:
        yield
    finally:
        stop.set()
        suffered, found["closed"] = here.recv()
        found["suffered"] = [max(pair) for pair in zip(suffered, found.get("suffered", [0.0] * 3), strict=True)]
        process.join()


def main(pairs: int) -> None:
    spec = served.spec(serving={"timeout_ms": round(TIMEOUT * 1000), "queue": 256})
    alone: list[float] = []
    beside: list[float] = []
    cpu_alone: list[float] = []
    cpu_beside: list[float] = []
    found: dict[str, Any] = {}
    failed = 0
    with started.gateway(spec, served.export()) as gateway:
        job = load.Job(gateway.url, load.bodies(served.texts("short")), clients=CLIENTS, seconds=SECONDS, warm=1)
        load.run(job)
        for number in range(pairs):
            for with_them in (number % 2 == 0, number % 2 == 1):
                with stalled(gateway.url, found) if with_them else nullcontext():
                    began = gateway.cpu()
                    done = load.run(job)
                    spent = gateway.cpu() - began
                (beside if with_them else alone).append(done.goodput)
                (cpu_beside if with_them else cpu_alone).append(done.goodput * SECONDS / spent)
                failed += done.failed
        fds = gateway.process.num_fds()
    names = ("silent sockets", "slow heads", "slow bodies")
    rows = [
        results.compared(f"goodput beside {2 * SOCKETS} stalled sockets and {SOCKETS} slow bodies", beside, alone, "without",
                         "answers/s", 0.95),
        results.compared("the same a CPU second of our processes", cpu_beside, cpu_alone, "without", "answers/CPU s", None),
        results.bounded("requests of the others that failed", failed, "requests", 0, pairs),
        *(results.bounded(f"longest life of {name}", seconds, "s", BOUND)
          for name, seconds in zip(names, found["suffered"], strict=True)),
    ]  # fmt: skip
    results.write(
        "stalled", rows, f"{found['closed']} stalled sockets were closed in the last run; {fds} files open at the end"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS)
