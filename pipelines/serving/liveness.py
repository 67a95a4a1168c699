"""Is an engine alive? One that runs but answers nobody (stopped, deadlocked) is as gone as one that has ended."""

import asyncio
from dataclasses import dataclass

import aiohttp

EVERY, MISSES = 5.0, 3


@dataclass(frozen=True)
class Liveness:
    """Asks an engine's /healthz `every` so many seconds and waits as long; hung is one that missed `misses` in a row.

    Its event loop answers while it decodes, which threads of C++ do, so that a busy engine is no hung one. One whose decoding
    hangs says so itself.
    """

    http: aiohttp.ClientSession
    every: float = EVERY
    misses: int = MISSES

    async def answers(self, url: str, seconds: float) -> bool:
        """Does the engine at `url` say within `seconds` that it is well?"""
        try:
            async with self.http.get(f"{url}/healthz", timeout=aiohttp.ClientTimeout(seconds)) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def hung(self, url: str) -> None:
        """Return once the engine at `url` is hung."""
        missed = 0
        while missed < self.misses:
            await asyncio.sleep(self.every)
            missed = 0 if await self.answers(url, self.every) else missed + 1
