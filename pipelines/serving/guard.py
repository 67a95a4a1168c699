"""Personal data: replaced before any model sees a request, in a worker process, so that the event loop stays free."""

import asyncio
import logging
import multiprocessing
import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import accumulate
from pathlib import Path

from pipelines import artifact, processes
from pipelines.errors import SeqlineError
from pipelines.scrub.detect import Detector
from pipelines.spec import Privacy

log = logging.getLogger("seqline.serving")
BATCH_CHARS = 8_000  # in one call to the worker: about a quarter of a second of its time
STUCK_SECONDS = 15.0  # a call that takes longer will never end
_detector: Detector | None = None  # of the worker process

Scrubbed = tuple[str, Mapping[str, str]]
"""A text with placeholders, and placeholder -> the sender's value."""


class GuardDown(SeqlineError):
    """The worker died or is stuck: the text was not scrubbed and goes nowhere."""


class Guard:
    """Scrubs texts in one worker process; texts that come while it is busy go together in the next call.

    A worker that dies, or is stuck, is replaced; the texts it held raise GuardDown.
    """

    def __init__(self, privacy: Privacy, tagger: Path | None = None) -> None:
        self._privacy, self._tagger = privacy, tagger
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
        while batch := self._take():
            try:
                results = await self._call([text for text, _ in batch])
            except GuardDown:
                results = [None] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.cancelled():
                    continue
                if result is None:
                    future.set_exception(GuardDown("not scrubbed"))
                else:
                    future.set_result(result)

    def _take(self) -> list[tuple[str, asyncio.Future[Scrubbed]]]:
        """The next texts that somebody still waits for: about BATCH_CHARS of them, at least one."""
        self._waiting = [row for row in self._waiting if not row[1].cancelled()]
        chars = list(accumulate(len(text) for text, _ in self._waiting))
        count = max(1, bisect_right(chars, BATCH_CHARS))
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _call(self, texts: list[str]) -> list[Scrubbed | None]:
        pool = await self._worker()
        try:
            work = asyncio.get_running_loop().run_in_executor(pool, _scrub_each, texts)
            return await asyncio.wait_for(work, STUCK_SECONDS)
        except (BrokenProcessPool, TimeoutError) as error:
            log.error("guard: its worker is replaced (%s)", type(error).__name__)
            self._stop()
            raise GuardDown from None

    async def _worker(self) -> ProcessPoolExecutor:
        """The pool, once its worker has loaded the detector (which no request's time limit cuts short)."""
        if self._pool is None or self._warm is None:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                1, spawn, initializer=_load, initargs=(self._privacy.model_dump_json(), self._tagger, os.getpid())
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


class Guards:
    """A guard for each way of scrubbing that live versions were trained with: requests are scrubbed as their data was."""

    def __init__(self, default: Privacy) -> None:
        self._default = default
        self._guards: dict[str, Guard] = {}
        self._of_version: dict[str, str] = {}

    async def prepare(self, version: str, export: Path) -> None:
        """Have the guard of a version ready, by the policy/ in its export (the spec's policy, if it has none).

        Raises:
            GuardDown: it could not be loaded.
        """
        folder = export / "policy"
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        key = artifact.digest([(path.name, artifact.file_sha256(path)) for path in files])
        if key not in self._guards:
            stated = folder / "privacy.json"
            privacy = Privacy.model_validate_json(stated.read_text()) if stated.is_file() else self._default
            tagger = folder / f"tagger-{privacy.language}"
            guard = Guard(privacy, tagger if tagger.is_dir() else None)
            await guard.start()
            self._guards[key] = guard
        self._of_version[version] = key

    def of(self, version: str) -> Guard:
        """The guard of a version.

        Raises:
            GuardDown: it is not ready.
        """
        try:
            return self._guards[self._of_version[version]]
        except KeyError:
            raise GuardDown(f"version {version} has no guard yet") from None

    async def keep(self, versions: Set[str]) -> None:
        """Stop the guards that none of these versions needs."""
        self._of_version = {version: key for version, key in self._of_version.items() if version in versions}
        for key in self._guards.keys() - set(self._of_version.values()):
            await self._guards.pop(key).close()

    async def close(self) -> None:
        await self.keep(frozenset())


def _load(privacy: str, tagger: Path | None, parent: int) -> None:
    global _detector  # noqa: PLW0603  one detector a worker process
    os.environ["OMP_NUM_THREADS"] = "1"
    processes.end_with(parent)
    _detector = Detector(Privacy.model_validate_json(privacy), tagger=tagger)


def _scrub_each(texts: list[str]) -> list[Scrubbed | None]:
    """Each text scrubbed on its own; None for one that the detector fails on."""
    assert _detector is not None, "the pool's initializer loads it"
    try:
        return [(scrubbed.texts[0], dict(scrubbed.values)) for scrubbed in _detector.scrub_each(texts)]
    except SeqlineError:
        return [None] * len(texts) if len(texts) == 1 else [result for text in texts for result in _scrub_each([text])]
