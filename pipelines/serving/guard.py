"""Personal data: replaced before any model sees a request, in one worker process, so that the event loop stays free."""

import asyncio
import logging
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from pipelines import processes
from pipelines.errors import SeqlineError
from pipelines.scrub.detect import Detector
from pipelines.spec import Privacy

log = logging.getLogger("seqline.serving")
BATCH = 32  # texts in one call to the worker
_detector: Detector | None = None  # of the worker process

Scrubbed = tuple[str, Mapping[str, str]]
"""A text with placeholders, and placeholder -> the sender's value."""


class GuardDown(SeqlineError):
    """The worker died or is stuck: the text was not scrubbed and goes nowhere."""


class Guard:
    """Scrubs texts in one worker process; texts that come while it is busy go together in the next call.

    A worker that dies, or takes longer than `timeout` seconds, is replaced; the texts it held raise GuardDown.
    """

    def __init__(self, privacy: Privacy, *, timeout: float) -> None:
        self._privacy, self._timeout = privacy, timeout
        self._pool: ProcessPoolExecutor | None = None
        self._warm: asyncio.Future[int] | None = None
        self._waiting: list[tuple[str, asyncio.Future[Scrubbed]]] = []
        self._busy: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the detector in the worker.

        Raises:
            GuardDown: it could not be loaded.
        """
        await self._worker()

    async def scrub(self, texts: Sequence[str]) -> list[Scrubbed]:
        """Scrub each text on its own.

        Raises:
            GuardDown: the texts must not be used.
        """
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Scrubbed]] = [loop.create_future() for _ in texts]
        self._waiting += zip(texts, futures, strict=True)
        if self._busy is None or self._busy.done():
            self._busy = asyncio.create_task(self._drain())
        return await asyncio.gather(*futures)

    async def close(self) -> None:
        if self._busy:
            self._busy.cancel()
        self._stop()

    async def _drain(self) -> None:
        while self._waiting:
            batch = [row for row in self._waiting[:BATCH] if not row[1].cancelled()]
            del self._waiting[:BATCH]
            try:
                results: Sequence[Scrubbed | GuardDown] = await self._call([text for text, _ in batch])
            except GuardDown as error:
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.cancelled():
                    continue
                if isinstance(result, GuardDown):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    async def _call(self, texts: list[str]) -> list[Scrubbed]:
        pool = await self._worker()
        try:
            work = asyncio.get_running_loop().run_in_executor(pool, _scrub_each, texts)
            results: list[Scrubbed] = await asyncio.wait_for(work, self._timeout)
            return results
        except (BrokenProcessPool, TimeoutError) as error:
            log.error("guard: its worker is replaced (%s)", type(error).__name__)
            self._stop()
            raise GuardDown from None
        except Exception as error:
            log.error("guard: a text could not be scrubbed (%s)", type(error).__name__)
            raise GuardDown from None

    async def _worker(self) -> ProcessPoolExecutor:
        """The pool, once its worker has loaded the detector (which no request's time limit cuts short)."""
        if self._pool is None or self._warm is None:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                1, spawn, initializer=_load, initargs=(self._privacy.model_dump_json(), os.getpid())
            )
            self._warm = asyncio.get_running_loop().run_in_executor(self._pool, os.getpid)
        pool = self._pool
        try:
            await asyncio.shield(self._warm)
        except BrokenProcessPool:
            log.error("guard: its worker could not load the detector")
            self._stop()
            raise GuardDown from None
        return pool

    def _stop(self) -> None:
        if self._pool:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._warm = None


def _load(privacy: str, parent: int) -> None:
    global _detector  # noqa: PLW0603  one detector a worker process
    os.environ["OMP_NUM_THREADS"] = "1"
    processes.end_with(parent)
    _detector = Detector(Privacy.model_validate_json(privacy))


def _scrub_each(texts: list[str]) -> list[Scrubbed]:
    assert _detector is not None, "the pool's initializer loads it"
    results: list[Scrubbed] = []
    for text in texts:
        scrubbed = _detector.scrub([text])
        results.append((scrubbed.texts[0], dict(scrubbed.values)))
    return results
