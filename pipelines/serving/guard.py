"""Personal data: replaced before any model sees a request, looked for in what the model answers; by a worker process."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from pipelines import artifact
from pipelines.errors import SeqlineError
from pipelines.filters.leaks import Leak, new_data, redact
from pipelines.scrub.detect import applied
from pipelines.serving.scrubber import Job, Result, Worker
from pipelines.spec import Privacy

__all__ = ["Busy", "Guard", "GuardDown", "Guards", "Leak", "redact"]

log = logging.getLogger("seqline.serving")
BATCH_CHARS = 8_000  # in one call to the worker: about a quarter of a second of its time
WAITING_CHARS = 200_000  # that may wait: some two seconds at level `exact`, fifty milliseconds at `patterns`
STUCK_SECONDS, STUCK_SECONDS_A_CHAR = 3.0, 0.001  # a call that takes longer will never end: 100 times what `exact` takes

Scrubbed = tuple[str, Mapping[str, str]]
"""A text with placeholders, and placeholder -> the sender's value."""


class GuardDown(SeqlineError):
    """The worker died or is stuck: the text was not scrubbed (or not searched) and goes nowhere."""


class Busy(GuardDown):
    """More text waits than can be scrubbed in time: try again later."""


@dataclass(eq=False, slots=True)
class _Waiting:
    job: Job
    done: asyncio.Future[Result]
    again: bool = False
    """It was in a call that never ended: the next one is its last, and has no other text in it."""


@dataclass(slots=True)
class _Sent:
    """What the worker has now."""

    texts: list[_Waiting] = field(default_factory=list)
    watch: asyncio.TimerHandle | None = None


class Guard:
    """Scrubs texts in one worker process; texts that come while it is busy, or in one turn of the loop, go together.

    A worker that dies, or is stuck, is replaced. The texts it held are tried once more, each alone: the one that is to
    blame raises GuardDown, its neighbours do not. A text that nobody waits for any more is skipped.

    Args:
        waiting_chars: the most that may wait; a request that finds nobody waiting is taken whatever its length.
        stuck_seconds: of a call, and STUCK_SECONDS_A_CHAR more.
    """

    def __init__(
        self,
        privacy: Privacy,
        tagger: Path | None = None,
        *,
        waiting_chars: int = WAITING_CHARS,
        stuck_seconds: float = STUCK_SECONDS,
    ) -> None:
        self._privacy, self._tagger, self._most, self._patience = privacy, tagger, waiting_chars, stuck_seconds
        self._waiting: deque[_Waiting] = deque()
        self._chars = 0  # of those waiting
        self._sent = _Sent()
        self._worker: Worker | None = None
        self._starting: asyncio.Task[None] | None = None
        self._turn: asyncio.Handle | None = None

    async def start(self) -> None:
        """Load the detector in the worker (which no request's time limit cuts short).

        Raises:
            GuardDown: it could not be loaded.
        """
        if self._worker is None:
            await asyncio.shield(self._begin())

    async def scrub(self, texts: Sequence[str]) -> list[Scrubbed]:
        """Scrub each text on its own.

        Raises:
            Busy: too much text waits. GuardDown: the texts must not be used.
        """
        results = await self._results([Job(text, only_find=False) for text in texts])
        return [(text, {}) if result is True else tuple(result) for text, result in zip(texts, results, strict=True)]

    async def leaks(self, outputs: Sequence[str], sources: Sequence[str] | None = None) -> list[list[Leak]]:
        """Personal data in a model's outputs, before the sender's values are put back; placeholders are none.

        What stands in its source too (both scrubbed; `sources`, one an output) is no leak. However much text waits, outputs
        are taken: work was spent on them.

        Raises:
            GuardDown: the outputs must not be used.
        """
        results = await self._results([Job(text, only_find=True) for text in outputs], bounded=False)
        found = [[] if result is True else [Leak(*span) for span in result] for result in results]
        rows = zip(outputs, found, sources or [""] * len(outputs), strict=True)
        return [new_data(output, leaks, source) for output, leaks, source in rows]

    async def close(self) -> None:
        if self._starting:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        worker, self._worker = self._worker, None
        if worker:
            await worker.kill()
        self._fail([*self._sent.texts, *self._waiting])
        self._sent, self._chars = _Sent(), 0
        self._waiting.clear()

    async def _results(self, jobs: Sequence[Job], *, bounded: bool = True) -> list[Result]:
        chars = sum(len(job.text) for job in jobs)
        if bounded and self._chars + chars > self._most and self._others() and self._chars + chars > self._most:
            raise Busy("too much text waits to be scrubbed")
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(job, loop.create_future()) for job in jobs]
        self._waiting += waiting
        self._chars += chars
        if self._turn is None and not self._sent.texts:
            self._turn = loop.call_soon(self._next)  # after whoever else has a text in this turn of the loop
        try:
            results = [await each.done for each in waiting]
        finally:
            for each in waiting:
                each.done.cancel()
        if any(result is False for result in results):
            raise GuardDown("not scrubbed")
        return results

    def _others(self) -> int:
        """Characters that somebody really waits for; what nobody does is forgotten."""
        self._waiting = deque(each for each in self._waiting if not each.done.done())
        self._chars = sum(len(each.job.text) for each in self._waiting)
        return self._chars

    def _next(self) -> None:
        """Give the worker what comes next, if it has nothing; start one if there is none."""
        self._turn = None
        if self._worker is None:
            if self._waiting:
                self._begin()
        elif not self._sent.texts and (texts := self._take()):
            chars = sum(len(each.job.text) for each in texts)
            seconds = self._patience + STUCK_SECONDS_A_CHAR * chars
            self._sent = _Sent(texts, asyncio.get_running_loop().call_later(seconds, self._stuck))
            self._worker.send([each.job for each in texts])

    def _take(self) -> list[_Waiting]:
        """The next texts that somebody still waits for: about BATCH_CHARS of them; one that comes again is alone."""
        batch: list[_Waiting] = []
        chars = 0
        while self._waiting and chars < BATCH_CHARS:
            each = self._waiting[0]
            if not each.done.done() and each.again and batch:
                break
            self._waiting.popleft()
            self._chars -= len(each.job.text)
            if not each.done.done():
                batch.append(each)
                chars += BATCH_CHARS if each.again else len(each.job.text)
        return batch

    def _answered(self, results: list[Result]) -> None:
        for each, result in zip(self._unsent(), results, strict=True):
            if not each.done.done():
                each.done.set_result(result)
        self._next()

    def _unsent(self) -> list[_Waiting]:
        sent, self._sent = self._sent, _Sent()
        if sent.watch:
            sent.watch.cancel()
        return sent.texts

    def _stuck(self) -> None:
        self._replace(hung=True)

    def _gone(self, worker: Worker) -> None:
        if worker is self._worker:
            self._replace(hung=False)

    def _replace(self, *, hung: bool) -> None:
        log.error("guard: its worker is replaced (%s)", "stuck" if hung else "it died")
        worker, self._worker = self._worker, None
        if worker:
            worker.kill()
        texts = self._unsent()
        lost = [each for each in texts if each.again or (hung and len(texts) == 1)]
        self._fail(lost)
        for each in reversed([each for each in texts if each not in lost]):
            each.again = True
            self._waiting.appendleft(each)
            self._chars += len(each.job.text)
        self._next()

    def _begin(self) -> asyncio.Task[None]:
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())  # who waits is told otherwise
        return self._starting

    async def _start(self) -> None:
        worker = Worker(self._answered, self._gone)
        try:
            await worker.start(self._privacy, self._tagger)
        except SeqlineError:
            log.error("guard: its worker could not load the detector")
            self._fail(self._waiting)
            self._waiting.clear()
            self._chars = 0
            raise GuardDown("the detector could not be loaded") from None
        finally:
            self._starting = None
        self._worker = worker
        self._next()

    def _fail(self, texts: Sequence[_Waiting] | deque[_Waiting]) -> None:
        for each in texts:
            if not each.done.done():
                each.done.set_result(False)


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
            self._guards[key] = Guard(*applied(folder, self._default))  # before it starts: another version may need it too
        await self._guards[key].start()
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
