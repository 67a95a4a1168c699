"""Held-out requests through the gateway over HTTP: the traffic of a rollout that has no live users.

    python -m pipelines.rollout.replay --parquet data/NAME/test.parquet --url http://127.0.0.1:8080 --rate 40 --users 5000

Open loop: requests leave on their beat whether or not answers come, as those of real users would. It ends at SIGTERM, after
--seconds, or when its parent is gone, and prints one JSON line with what happened.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pyarrow.parquet as pq

from pipelines.processes import end_with

IN_FLIGHT = 200
TIMEOUT = aiohttp.ClientTimeout(total=30)


@dataclass
class Tally:
    """What came of the requests; `shed` were not sent since IN_FLIGHT others were still waiting for their answer."""

    sent: int = 0
    ok: int = 0
    failed: int = 0
    shed: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def line(self) -> str:
        ordered = sorted(self.seconds)

        def at(share: float) -> float | None:
            return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else None

        counts = {"sent": self.sent, "ok": self.ok, "failed": self.failed, "shed": self.shed}
        return json.dumps(counts | {"p50_ms": at(0.5), "p99_ms": at(0.99), "statuses": dict(sorted(self.statuses.items()))})


async def replay(
    sources: Sequence[str], url: str, rate: float, users: int, *, seed: int = 1, seconds: float = float("inf"), parent: int = 0
) -> Tally:
    """Send `sources`, over and over in a seeded order, at `rate` requests a second from `users` distinct senders."""
    chance, tally, stop = random.Random(seed), Tally(), asyncio.Event()  # noqa: S311
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if parent:
        end_with(parent)
    waiting: set[asyncio.Task[None]] = set()
    async with aiohttp.ClientSession(timeout=TIMEOUT, connector=aiohttp.TCPConnector(limit=0)) as http:
        began = loop.time()
        beat = 0
        while not stop.is_set() and loop.time() - began < seconds:
            if len(waiting) < IN_FLIGHT:
                body = {"inputs": [chance.choice(sources)]}
                task = asyncio.create_task(_send(http, url, body, f"replay-{seed}-{chance.randrange(users)}", tally))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
            else:
                tally.shed += 1
            beat += 1
            await _until(stop, began + beat / rate)
        if waiting:
            await asyncio.wait(waiting, timeout=10)
    return tally


async def _until(stop: asyncio.Event, when: float) -> None:
    pause = when - asyncio.get_running_loop().time()
    try:
        await asyncio.wait_for(stop.wait(), max(0.0, pause))
    except TimeoutError:
        return


async def _send(http: aiohttp.ClientSession, url: str, body: dict[str, list[str]], user: str, tally: Tally) -> None:
    tally.sent += 1
    began = time.monotonic()
    headers = {"X-User": user, "Cache-Control": "no-cache"}  # it repeats itself, and an answer from the cache is no evidence
    try:
        async with http.post(f"{url}/v1/generate", json=body, headers=headers) as answer:
            await answer.read()
            status = str(answer.status)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        status = type(error).__name__
    tally.seconds.append(time.monotonic() - began)
    tally.statuses[status] += 1
    tally.ok += status == "200"
    tally.failed += status != "200"


def sources_of(parquet: Path) -> list[str]:
    """The held-out inputs. Exits with one line if there are none."""
    try:
        found: list[str] = pq.read_table(parquet, columns=["source"])["source"].to_pylist()
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"replay: {parquet}: cannot be read: {str(error).splitlines()[0]}")
    if not found:
        sys.exit(f"replay: {parquet}: holds no rows")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.rollout.replay", description=__doc__)
    parser.add_argument("--parquet", type=Path, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, default=40)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--parent", type=int, default=0, help="end when this process, the parent, is gone")
    given = parser.parse_args()
    sources = sources_of(given.parquet)
    tally = asyncio.run(
        replay(sources, given.url, given.rate, given.users, seed=given.seed, seconds=given.seconds, parent=given.parent)
    )
    print(tally.line(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
