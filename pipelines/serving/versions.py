"""What one version makes of a request: kept answers first, its engine for the rest, the filters over that; recorded once."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipelines.serving import cache as kept
from pipelines.serving import split
from pipelines.serving.asking import Asking, Outputs, Unanswered
from pipelines.serving.cache import Cache, Flights
from pipelines.serving.checks import Checks
from pipelines.serving.endpoints import Endpoints, is_endpoint
from pipelines.serving.exchange import Call, Output
from pipelines.serving.guard import GuardDown
from pipelines.serving.overload import NOTHING, Relief
from pipelines.serving.recording import Recording, Timing
from pipelines.serving.tracing import Tracing
from pipelines.spec import Decoding

Tell = Callable[[int, str], None]
"""Told answers as they are written: the text's index, and the next piece of its answer."""


@dataclass(frozen=True)
class Terms:
    """On which a version is asked: the answers are there by `until`, their first piece by `first` (time.monotonic).

    `hurried` says that the sender gives less time than the spec does: running out of it is then nobody's fault. `tell` is told
    the pieces.
    """

    until: float
    given_up: Relief = NOTHING
    hurried: bool = False
    tell: Tell | None = None
    first: float | None = None


@dataclass
class Made:
    """Answers to a call, one a text, and what was given up for them. `kind` says what kept ones were: fresh, stale, shared."""

    outputs: list[Output | None]
    degraded: set[str] = field(default_factory=set)
    kind: str = ""
    timing: Timing | None = None

    @property
    def missing(self) -> list[int]:
        return [index for index, output in enumerate(self.outputs) if output is None]

    @property
    def whole(self) -> list[Output]:
        return [output for output in self.outputs if output is not None]

    @property
    def withheld(self) -> bool:
        return any(output.withheld for output in self.whole)


@dataclass(frozen=True)
class Versions:
    """The one who asks. Drawn answers (temperature above 0) and those of mirrors never come from the cache.

    `charge` is told the seconds of decoding that an answer took.
    """

    asking: Asking
    endpoints: Endpoints
    checks: Checks
    cache: Cache
    recording: Recording
    tracing: Tracing
    charge: Callable[[float], None]
    flights: Flights = field(default_factory=Flights)

    async def by(self, version: str, call: Call, arm: split.Arm, terms: Terms, *, shadow: bool = False) -> Made:
        """The version's answers; an event tells what came of it, unless the cache had all of them.

        Raises:
            Unanswered: it gave none.
        """
        try:
            made, call = await self._made(version, call, terms, fresh=shadow)
        except Unanswered as error:
            if terms.hurried and error.reason == "timeout":
                self.recording.gone(call, arm, version, shadow=shadow)
            else:
                self.recording.failed(call, arm, version, error.reason, shadow=shadow)
            raise
        except asyncio.CancelledError:
            self.recording.gone(call, arm, version, shadow=shadow)
            raise
        if all(output.cached for output in made.whole):
            self.recording.cached(call, arm, version, made.whole, made.kind)
        elif made.withheld:  # no answer, as far as its sender is concerned
            self.recording.failed(call, arm, version, "withheld", shadow=shadow, outputs=made.whole, timing=made.timing)
        else:
            self.recording.answered(call, arm, version, made.whole, shadow=shadow, timing=made.timing)
        return made

    async def in_place(self, version: str, call: Call, terms: Terms) -> Made:
        """The version's answers in place of those of another, which has the event.

        Raises:
            Unanswered: it gave none.
        """
        made, call = await self._made(version, call, terms)
        self.recording.stood_in(call, version, made.whole, timing=made.timing)
        return made

    async def unrecorded(self, version: str, call: Call, terms: Terms) -> Made:
        """The version's answers, anew, and nothing of it is evidence or kept.

        Raises:
            Unanswered: it gave none.
        """
        made = Made([None] * len(call.texts))
        await self._ask(made, version, call, made.missing, terms, keep=False)
        return made

    async def _made(self, version: str, call: Call, terms: Terms, *, fresh: bool = False) -> tuple[Made, Call]:
        """The answers, and the call as it was made. `fresh` ones come from the engine only."""
        fresh = fresh or call.fresh
        decoding = _decoding(call.decoding, terms.given_up)
        made = Made([None] * len(call.texts)) if fresh else self._kept(version, call, decoding, terms.given_up)
        if terms.tell:
            for index, output in enumerate(made.outputs):
                if output is not None:
                    terms.tell(index, output.text)
        if made.missing and decoding != call.decoding:
            made.degraded.add("smaller_beam")
        call = replace(call, decoding=decoding)
        if fresh or terms.tell or not self.cache.usable(decoding):
            await self._ask(made, version, call, made.missing, terms)
        else:
            await self._ask_together(made, version, call, terms)
        return made, call

    def _kept(self, version: str, call: Call, decoding: Decoding, given_up: Relief) -> Made:
        """What the cache has: decoded as asked for, else as it would be decoded now, else (when much is given up) anyhow."""
        made, now = Made([None] * len(call.texts)), time.monotonic()
        for index, text in enumerate(call.texts):
            output = self.cache.find(version, call.decoding, text, now)
            if output is None and decoding != call.decoding:
                output = self.cache.find(version, decoding, text, now)
                made.degraded |= {"smaller_beam"} if output else set()
            made.kind = made.kind or ("fresh" if output else "")
            if output is None and given_up.stale:
                output = self.cache.find_stale(version, decoding, text)
                if output:
                    made.degraded.add("stale")
                    made.kind = "stale"
            made.outputs[index] = output
        return made

    async def _ask_together(self, made: Made, version: str, call: Call, terms: Terms) -> None:
        """Fill in what is missing: what others have asked for just now is awaited, not asked again."""
        keys = {index: kept.key(version, call.decoding, call.texts[index]) for index in made.missing}
        followed = {index: flight for index, key in keys.items() if (flight := self.flights.join(key)) is not None}
        led = [index for index in keys if index not in followed]
        try:
            await self._ask(made, version, call, led, terms)
        finally:
            for index in led:
                self.flights.land(keys[index], made.outputs[index])
        await self._follow(made, followed, terms.until)
        await self._ask(made, version, call, made.missing, terms)  # those whom we waited for got no answer

    async def _follow(self, made: Made, followed: Mapping[int, "asyncio.Future[Output | None]"], until: float) -> None:
        if not followed:
            return
        done, _ = await asyncio.wait(set(followed.values()), timeout=max(0.0, until - time.monotonic()))
        for index, flight in followed.items():
            output = flight.result() if flight in done else None
            if output is not None:
                made.kind = made.kind or "shared"
                made.outputs[index] = output.model_copy(update={"cached": True})

    async def _ask(
        self, made: Made, version: str, call: Call, which: Sequence[int], terms: Terms, *, keep: bool = True
    ) -> None:
        """Have the texts at `which` answered, filter the answers and keep them."""
        if not which:
            return
        part = replace(call, texts=[call.texts[index] for index in which])
        outputs = await self._raw(made, version, part, which, terms)
        try:
            async with asyncio.timeout(terms.until - time.monotonic()):
                outputs = await self.checks.answers(version, part.texts, outputs)
        except (GuardDown, TimeoutError):
            raise Unanswered("guard") from None
        for index, output in zip(which, outputs, strict=True):
            made.outputs[index] = output
            if keep:
                self.cache.keep(version, call.decoding, call.texts[index], output, time.monotonic())

    async def _raw(self, made: Made, version: str, part: Call, which: Sequence[int], terms: Terms) -> list[Output]:
        """What the version itself answers to the call's texts, which are those at `which` of the whole one."""
        seconds = terms.until - time.monotonic()
        with self.tracing.part("engine", version):
            if is_endpoint(version):
                outputs = await self.endpoints.ask(version, part, seconds)
                for index, output in zip(which, outputs, strict=True):
                    if terms.tell:
                        terms.tell(index, output.text)
                return outputs
            if terms.tell is None:
                answered = await self.asking.ask(version, part, seconds)
            else:
                answered = await self._streamed(version, part, which, seconds, terms)
        self.charge(answered.busy)
        made.timing = made.timing or answered.timing
        return answered

    async def _streamed(self, version: str, part: Call, which: Sequence[int], seconds: float, terms: Terms) -> Outputs:
        tell = terms.tell
        assert tell is not None
        first = None if terms.first is None else max(0.0, terms.first - time.monotonic())
        try:
            async with asyncio.timeout(first) as timer:
                async for each in self.asking.stream(version, part, seconds):
                    timer.reschedule(None)
                    if isinstance(each, Outputs):
                        return each
                    tell(which[each.index], each.text)
        except TimeoutError:
            raise Unanswered("timeout") from None
        raise Unanswered("connection")


def _decoding(asked: Decoding, given_up: Relief) -> Decoding:
    """The decoding asked for, or with one beam, when beams are given up."""
    return asked.model_copy(update={"beam": 1}) if given_up.smaller_beam and asked.temperature == 0 else asked
