"""Scrubbed pairs on their way to the judge or to review: in memory only, bounded, and dropped when the taker is away."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import aiohttp
import orjson

from pipelines.serving.pairs import Pair

__all__ = ["Pair", "Samples"]
BATCH = 64
BOUND = 1_000
EVERY = 0.25  # seconds

Clean = Callable[[Sequence[Pair]], Awaitable[list[Pair]]]
"""Scrubs the outputs of pairs; leaves out those that cannot be scrubbed now."""


class Samples:
    """The queue in front of one taker. `offer` never blocks; `lost` is told how many pairs it will never see.

    `clean` scrubs the outputs before they leave (the sources are scrubbed already): a model may emit what nobody sent.
    `told` gets what the taker answers.
    """

    def __init__(
        self,
        url: str,
        http: aiohttp.ClientSession,
        lost: Callable[[int], None],
        *,
        clean: Clean | None = None,
        told: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._url, self._http, self._lost, self._clean, self._told = url, http, lost, clean, told
        self._waiting: deque[Pair] = deque()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def offer(self, pair: Pair) -> None:
        if len(self._waiting) >= BOUND:
            self._lost(1)
        else:
            self._waiting.append(pair)

    async def close(self) -> None:
        """Send what waits once, then stop."""
        self._closing.set()
        await self._task

    async def _run(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), EVERY)
            await self._send()
        await self._send()  # closed before it ever waited

    async def _send(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            clean = await self._clean(batch) if self._clean else batch
            if len(clean) < len(batch):
                self._lost(len(batch) - len(clean))
            if clean:
                await self._post(clean)

    async def _post(self, batch: Sequence[Pair]) -> None:
        try:
            body = orjson.dumps({"pairs": [asdict(pair) for pair in batch]})
        except orjson.JSONEncodeError:  # a lone surrogate
            self._lost(len(batch))
            return
        headers = {"Content-Type": "application/json"}
        try:
            async with self._http.post(self._url, data=body, headers=headers, timeout=aiohttp.ClientTimeout(5)) as answer:
                raw = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            self._lost(len(batch))
            return
        if answer.status >= 300:
            self._lost(len(batch))
        elif self._told and raw:
            self._told(orjson.loads(raw))
