"""The review's own process: takes scrubbed, sampled pairs and writes them into MLflow as traces, for people to look at.

    python -m flows.services.review --name synopsis --per-hour 500

prints one JSON line {"port", "pid"} when ready; the registry is the environment's, and need not answer yet. POST /pairs
answers 202 at once, with what was counted so far; GET /healthz counts too. It never logs a text, sheds the oldest pairs when
it cannot keep up, and ends, flushed, on SIGTERM or when its parent is gone.
"""

import argparse
import asyncio
import logging
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.services import taking
from flows.settings import Settings
from pipelines.errors import Transient
from pipelines.registry.forgotten import Forgotten
from pipelines.registry.traces import SHARE, Sampled, Traces
from pipelines.serving import logs, split
from pipelines.serving.pairs import Pair

HOUR = 3_600.0
KNOWN = 10_000  # answers that a verdict or feedback may still join
RETRY_SECONDS = 1.0
FLUSH_SECONDS = 10.0
OUTCOMES = ("kept", "joined", "dropped", "shed", "failed", "forgotten")
SAID = frozenset({"rating", "correction", "comment"})
GEN_AI = frozenset({"max_tokens", "temperature", "top_k", "top_p", "seed"})  # of a decoding, named so in gen_ai.request
FULL = 0.5  # share of the hour's room up to which everything is kept

log = logging.getLogger("seqline.review")


def room(used: int, per_hour: int) -> float:
    """Probability with which the next sample is kept after `used` in the last hour: 1 at first, falling to 0 at `per_hour`.

    Falling, not a wall: at any time of the hour something is kept, and its weight says for how many it stands.
    """
    if used >= per_hour:
        return 0.0
    return min(1.0, (1 - used / per_hour) / (1 - FULL))


class Review:
    """A bounded queue of pairs and the loop that turns it into traces, at most `per_hour`."""

    def __init__(
        self,
        name: str,
        registry: Callable[[], Traces],
        per_hour: int,
        limit: int,
        forgotten: Forgotten | None = None,
        share: float | None = None,
    ) -> None:
        """`share` is the random one of the gateway, which stands on each trace: a later look must know who was drawn."""
        self.name, self.per_hour, self.limit = name, per_hour, limit
        self._forgotten, self._said = forgotten, {} if share is None else {SHARE: repr(share)}
        self._registry = registry
        self._traces: Traces | None = None
        self._queue: deque[tuple[Pair, float]] = deque()  # each with the room that it met
        self._hour: deque[float] = deque()
        self._known: OrderedDict[str, float] = OrderedDict()  # key -> the room that it met
        self._totals: Counter[tuple[str, str, str]] = Counter()
        self._arrived = asyncio.Event()
        self.closing, self._deadline = False, 0.0

    def take(self, pairs: Sequence[Pair]) -> Mapping[str, Any]:
        """Keep the pairs that there is room for, and what is said later of one that was kept."""
        for pair in pairs:
            share = self._share(pair)
            if share is None:
                self._count(pair, "dropped")
            else:
                self._queue.append((pair, share))
        while len(self._queue) > self.limit:
            self._count(self._queue.popleft()[0], "shed")
        self._arrived.set()
        return {"totals": [[*labels, count] for labels, count in sorted(self._totals.items())]}

    def counts(self) -> Mapping[str, Any]:
        outcomes: Counter[str] = Counter()
        for (_, _, outcome), count in self._totals.items():
            outcomes[outcome] += count
        return {"queued": len(self._queue), **{name: outcomes[name] for name in OUTCOMES}}

    async def work(self) -> None:
        """Write until closed. A registry that does not answer is asked again; what it refuses is left out and counted."""
        while not (self.closing and not self._queue):
            await self._arrived.wait()
            if not self._queue:
                self._arrived.clear()
                continue
            pair, share = self._queue.popleft()
            if self._forgotten is not None and pair.request in self._forgotten:
                self._count(pair, "forgotten")  # somebody wants it gone: what comes late must not bring it back
                continue
            try:
                new = await asyncio.to_thread(self._write, pair, share)
                self._count(pair, "kept" if new else "joined")
            except Transient as error:
                if self.closing and time.monotonic() > self._deadline:
                    away = type(error).__name__
                    log.warning("the registry is away (%s): %d samples were not written", away, len(self._queue) + 1)
                    return
                self._queue.appendleft((pair, share))
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:  # its message may hold the text
                log.error("a sample could not be written: %s", logs.error_of(type(error), error.__traceback__))
                self._count(pair, "failed")

    def close(self) -> None:
        """Let `work` end once all is written, or after FLUSH_SECONDS."""
        self.closing, self._deadline = True, time.monotonic() + FLUSH_SECONDS
        self._arrived.set()

    def _share(self, pair: Pair) -> float | None:
        """The probability with which the pair was kept; None if it is not. One hash decides for all that is said of it."""
        if (known := self._known.get(pair.key)) is not None:
            return known
        now = time.monotonic()
        while self._hour and self._hour[0] <= now - HOUR:
            self._hour.popleft()
        share = room(len(self._hour), self.per_hour)
        if split.unit("room", pair.key) >= share:
            return None
        self._hour.append(now)
        self._known[pair.key] = share
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return share

    def _count(self, pair: Pair, outcome: str) -> None:
        self._totals[pair.version, pair.reason, outcome] += 1

    def _write(self, pair: Pair, share: float) -> bool:
        """Write the trace of a pair that was kept with this probability, or add what is said of it; True if it is new."""
        if self._traces is None:
            self._traces = self._registry()
        sampled = sampled_of(self.name, replace(pair, weight=pair.weight / share))
        new = self._traces.write(replace(sampled, tags={**sampled.tags, **self._said}))
        if pair.flagged is not None:
            weight = verdict_weight(pair.flagged, pair.weight, pair.judge_weight) / share
            self._traces.judged(sampled.trace, pair.flagged, pair.support or 0.0, weight)
        if pair.feedback is not None:
            said = {name: value for name, value in pair.feedback.items() if name in SAID and value is not None}
            self._traces.told(sampled.trace, pair.feedback["by"], pair.feedback["number"], said)
        return new


def verdict_weight(flagged: bool, weight: float, judge_weight: float) -> float:
    """For how many verdicts like it one that came to review stands, before the hour's room.

    All that is flagged comes; of what passed, what a filter doubted (weight 1) comes too, the rest as far as it was drawn: the
    judge was given one in `judge_weight`, of which review has one in `weight`.
    """
    return 1.0 if flagged else max(1.0, weight / judge_weight)


def sampled_of(name: str, pair: Pair) -> Sampled:
    """The trace of a pair of model `name`."""
    tags = {"version": pair.version, "arm": pair.arm, "shadow": str(pair.shadow).lower(), "flags": ",".join(pair.flags)}
    given = {key: value for key, value in pair.decoding.items() if key in GEN_AI}
    own = {key: value for key, value in pair.decoding.items() if key not in given}
    attributes = {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.request.model": name,
        "gen_ai.response.model": pair.version,
        "gen_ai.usage.input_tokens": pair.tokens_in,
        "gen_ai.usage.output_tokens": pair.tokens_out,
        **{f"gen_ai.request.{key}": value for key, value in given.items()},
        **{f"seqline.{key}": value for key, value in own.items()},
        **{f"seqline.{key}": value for key, value in tags.items()},
        "seqline.request": pair.request,
        "seqline.index": pair.index,
    }
    if pair.logprob is not None:
        attributes["seqline.logprob"] = pair.logprob
    return Sampled(
        key=pair.key, request=pair.request, source=_sound(pair.source), output=_sound(pair.output), at=pair.at,
        seconds=pair.seconds, reason=pair.reason, weight=pair.weight, tokens_in=pair.tokens_in, tokens_out=pair.tokens_out,
        tags={f"seqline.{key}": value for key, value in tags.items()}, attributes=attributes,
    )  # fmt: skip


def _sound(text: str) -> str:
    """`text` without what a database cannot hold: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m flows.services.review", description="write sampled answers into MLflow as traces"
    )
    taking.arguments(parser)
    parser.add_argument("--per-hour", required=True, type=int, help="most traces in an hour")
    parser.add_argument("--share", type=float, help="the random share of all answers that the gateway gives")
    given = parser.parse_args(arguments)
    logs.set_up("review", level=logging.WARNING)
    settings = Settings().apply()
    registry: tuple[str, str, Path] = (settings.mlflow, given.name, settings.artifacts)
    forgotten = Forgotten(settings.workspace, given.name)
    review = Review(given.name, lambda: Traces(*registry), given.per_hour, given.queue, forgotten, given.share)
    taking.run(review, given.port, given.parent)


if __name__ == "__main__":
    main()
