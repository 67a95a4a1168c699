"""The judge's own process: takes scrubbed pairs, judges them in memory, writes verdicts to the rollout database, nothing else.

    python -m flows.services.judge --name synopsis --database URL --threshold 0.7 --review http://127.0.0.1:PORT/pairs

`--judge evidence` (or what else a spec's `scoring.judge` may name) judges by something else than words. It prints one JSON
line {"port", "pid"} when ready. POST /pairs answers 202 at once; GET /healthz counts. What it flags, and its
verdict on what review has anyway, goes on to `--review`. It never logs a text, sheds the oldest pairs when it cannot keep up,
and ends, flushed, on SIGTERM or when its parent is gone.
"""

import argparse
import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.services import taking
from pipelines.errors import SeqlineError, Transient
from pipelines.rollout.store import Event, Store
from pipelines.scoring.judge import Judge as Judging
from pipelines.scoring.judge import Verdict, open_judge
from pipelines.serving import logs
from pipelines.serving.pairs import Pair

if TYPE_CHECKING:
    from pipelines.serving.samples import Samples

BATCH = 200
RETRY_SECONDS = 0.5
FLUSH_SECONDS = 10.0

log = logging.getLogger("seqline.judge")


class Judge:
    """A bounded queue of pairs and the loop that turns it into verdict rows under a gateway id of its own."""

    def __init__(self, name: str, store: Store, judging: Judging, limit: int, review: str | None = None) -> None:
        self.name, self.store, self.judging = name, store, judging
        self.gateway = f"judge-{uuid.uuid4()}"
        self.queue: deque[Pair] = deque()
        self.limit = limit
        self.judged = self.shed = self.unreviewed = self.failed = 0
        self._review = review
        self._unwritten: list[Event] = []
        self._arrived = asyncio.Event()
        self.closing, self._deadline = False, 0.0

    def take(self, pairs: Sequence[Pair]) -> Mapping[str, Any]:
        self.queue.extend(pairs)
        while len(self.queue) > self.limit:
            self.queue.popleft()
            self.shed += 1
        self._arrived.set()
        return {}

    def counts(self) -> Mapping[str, Any]:
        waiting = {"queued": len(self.queue), "judged": self.judged}
        return {"gateway": self.gateway, **waiting, "shed": self.shed, "failed": self.failed, "unreviewed": self.unreviewed}

    async def work(self) -> None:
        """Judge and write until closed. A database that fails is tried again with the same rows, which it keeps once."""
        async with self._reviewing() as review:
            while not (self.closing and not self._pending()):
                await self._arrived.wait()
                try:
                    await self._step(review)
                except Transient as error:
                    if self.closing and time.monotonic() > self._deadline:
                        log.warning("%s; ended with %d verdicts unwritten", error, len(self._unwritten) + len(self.queue))
                        return
                    await asyncio.sleep(RETRY_SECONDS)

    def close(self) -> None:
        """Let `work` end once all is written, or after FLUSH_SECONDS."""
        self.closing, self._deadline = True, time.monotonic() + FLUSH_SECONDS
        self._arrived.set()

    def _pending(self) -> bool:
        return bool(self.queue or self._unwritten)

    @asynccontextmanager
    async def _reviewing(self) -> "AsyncIterator[Samples | None]":
        """The way to review; what waits is sent at the end."""
        if self._review is None:
            yield None
            return
        import aiohttp

        from pipelines.serving.samples import Samples

        async with aiohttp.ClientSession() as http:
            review = Samples(self._review, http, self._lost)
            try:
                yield review
            finally:
                await review.close()

    def _lost(self, count: int) -> None:
        self.unreviewed += count

    async def _step(self, review: "Samples | None") -> None:
        if not self._unwritten:
            batch = [self.queue.popleft() for _ in range(min(BATCH, len(self.queue)))]
            batch, verdicts = await asyncio.to_thread(self._verdicts, batch)
            self._unwritten = self._rows(batch, verdicts)
            for pair, verdict in zip(batch, verdicts, strict=True):
                if review and (doubted := reviewed(pair, verdict)):
                    review.offer(doubted)
        await asyncio.to_thread(self.store.append, self.name, self.gateway, self._unwritten)
        self.judged += len(self._unwritten)
        self._unwritten = []
        if not self.queue and not self.closing:
            self._arrived.clear()

    def _verdicts(self, batch: list[Pair]) -> tuple[list[Pair], list[Verdict]]:
        """The pairs that the judge can read, and its verdicts; a batch that breaks it is halved until one pair is left out."""
        try:
            return batch, self.judging.judge([pair.source for pair in batch], [pair.output for pair in batch])
        except Exception as error:  # its message may hold the text
            if len(batch) == 1:
                log.error("a pair could not be judged: %s", logs.error_of(type(error), error.__traceback__))
                self.failed += 1
                return [], []
        half = len(batch) // 2
        (one, first), (other, second) = self._verdicts(batch[:half]), self._verdicts(batch[half:])
        return one + other, first + second

    def _rows(self, batch: Sequence[Pair], verdicts: Sequence[Verdict]) -> list[Event]:
        return [
            Event(
                request=pair.request, user_hmac=pair.user_hmac, arm=pair.arm, version=pair.version, shadow=pair.shadow,
                at=pair.at, slis={"judge": not verdict.flagged}, kind="verdict", gateway=self.gateway, seq=self.judged + index,
                scores={"quality": verdict.support},
            )
            for index, (pair, verdict) in enumerate(zip(batch, verdicts, strict=True))
        ]  # fmt: skip


def reviewed(pair: Pair, verdict: Verdict) -> Pair | None:
    """`pair` for review, with the verdict: if it is flagged, or review has it for another reason. The smaller weight counts."""
    judged = replace(pair, flagged=verdict.flagged, support=verdict.support)
    if verdict.flagged and (not pair.reason or pair.judge_weight < pair.weight):
        return replace(judged, reason="judge", weight=pair.judge_weight)
    return judged if pair.reason else None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m flows.services.judge", description="judge scrubbed pairs, write verdict rows"
    )
    taking.arguments(parser)
    parser.add_argument("--database", required=True, help="SQLAlchemy URL of the rollout database")
    parser.add_argument(
        "--threshold", required=True, type=float, help="probability (lexical: share of unsupported words) that flags an output"
    )
    parser.add_argument("--judge", default="lexical", help="what judges, as a spec's scoring.judge says it")
    parser.add_argument("--task", default="summarization", help="what the judged model does")
    parser.add_argument("--review", help="where to post what is flagged")
    given = parser.parse_args(arguments)
    logs.set_up("judge", level=logging.WARNING)
    store = Store(given.database)
    store.create()
    try:
        judging = open_judge(given.judge, threshold=given.threshold, domain=given.name, task=given.task, fetch=_registered)
    except SeqlineError as error:
        parser.exit(2, f"seqline: {error}\n")
    taking.run(Judge(given.name, store, judging, given.queue, given.review), given.port, given.parent)


def _registered(reference: str) -> Path:
    """The folder of a registered judge. Only who names one pays for MLflow."""
    from flows.fetching import fetched
    from flows.settings import Settings

    return fetched(reference, Settings().apply())


if __name__ == "__main__":
    main()
