"""Those who ask while something breaks: one request a beat, each on a connection of its own, and what became of each.

    python -m tests.gameday.senders http://127.0.0.1:8080 test.parquet fates.jsonl --rate 8

They ask nobody twice. A connection that was refused was never admitted; one that was taken and broken off is a failure.
"""

import argparse
import asyncio
import json
import random
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import aiohttp

from pipelines.processes import end_with
from pipelines.rollout.replay import sources_of

PATIENCE = aiohttp.ClientTimeout(total=30)
USERS = 500


@dataclass(frozen=True)
class Fate:
    """What became of a request. `sent` and `done` are seconds since the epoch by the sender's clock, which never jumps.

    `status` is that of the answer, or one of refused (no connection), broken (taken, then cut off) and timeout; `said` is what
    an answer other than 200 says of itself.
    """

    sent: float
    done: float
    status: str
    version: str = ""
    request: str = ""
    said: str = ""


class Clock:
    """The time of day as it was at the start, carried on by the monotonic clock."""

    def __init__(self) -> None:
        self._began = time.time() - time.monotonic()

    def now(self) -> float:
        return self._began + time.monotonic()


async def ask(http: aiohttp.ClientSession, url: str, text: str, user: str, clock: Clock) -> Fate:
    """One request; its answer is never one that was kept."""
    sent = clock.now()
    version = request = said = ""
    headers = {"X-User": user, "Cache-Control": "no-cache"}
    try:
        async with http.post(f"{url}/v1/generate", json={"inputs": [text]}, headers=headers) as answer:
            content = await answer.json(content_type=None)
            status = str(answer.status)
            if answer.status == 200:
                version, request = content["version"], content["request_id"]
            else:
                said = str(content.get("error", content))
    except aiohttp.ClientConnectorError:
        status = "refused"
    except TimeoutError:
        status = "timeout"
    except (aiohttp.ClientError, OSError, ValueError):
        status = "broken"
    return Fate(sent, clock.now(), status, version, request, said)


async def send(url: str, texts: list[str], rate: float, out: TextIO) -> None:
    """Until SIGTERM; each fate is a line of `out` as soon as it is known."""
    draw, clock, ends = random.Random(8), Clock(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ends.set)
    waiting: set[asyncio.Task[None]] = set()

    async def one(text: str, user: str) -> None:
        out.write(json.dumps(asdict(await ask(http, url, text, user, clock))) + "\n")
        out.flush()

    connections = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(timeout=PATIENCE, connector=connections, trust_env=False) as http:
        beat = time.monotonic()
        while not ends.is_set():
            task = asyncio.create_task(one(draw.choice(texts), f"sender-{draw.randrange(USERS)}"))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
            beat = max(beat + 1 / rate, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, beat - time.monotonic()))
        await asyncio.gather(*waiting)


def read(path: Path) -> list[Fate]:
    """The fates that are known so far, by the time of sending."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return sorted((Fate(**json.loads(line)) for line in lines if line.endswith("\n")), key=lambda fate: fate.sent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("parquet", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rate", type=float, default=8)
    parser.add_argument("--parent", type=int, default=0)
    given = parser.parse_args()
    if given.parent:
        end_with(given.parent)
    with given.out.open("a", encoding="utf-8") as out:
        asyncio.run(send(given.url, sources_of(given.parquet), given.rate, out))


if __name__ == "__main__":
    main()
