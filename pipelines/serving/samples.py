"""Scrubbed pairs on their way to the judge: in memory only, bounded, and dropped when the judge is away."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass

import aiohttp
import orjson

BATCH = 64
BOUND = 1_000
EVERY = 0.25  # seconds


@dataclass(frozen=True)
class Pair:
    """A scrubbed source and what a version made of it at `at` (seconds since the epoch), placeholders in place."""

    request: str
    user_hmac: str
    arm: str
    version: str
    shadow: bool
    source: str
    output: str
    at: float


class Samples:
    """The queue in front of the judge. `offer` never blocks; `lost` is told how many pairs it will never see."""

    def __init__(self, url: str, http: aiohttp.ClientSession, lost: Callable[[int], None]) -> None:
        self._url, self._http, self._lost = url, http, lost
        self._waiting: deque[Pair] = deque()
        self._task = asyncio.create_task(self._run())

    def offer(self, pair: Pair) -> None:
        if len(self._waiting) >= BOUND:
            self._lost(1)
        else:
            self._waiting.append(pair)

    async def close(self) -> None:
        """Send what waits once, then stop."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._send()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self._send()

    async def _send(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            body = orjson.dumps({"pairs": [asdict(pair) for pair in batch]})
            headers = {"Content-Type": "application/json"}
            try:
                async with self._http.post(self._url, data=body, headers=headers, timeout=aiohttp.ClientTimeout(5)) as answer:
                    if answer.status >= 300:
                        self._lost(len(batch))
            except (aiohttp.ClientError, TimeoutError, OSError):
                self._lost(len(batch))
