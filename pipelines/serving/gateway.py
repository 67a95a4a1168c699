"""What happens to a request, in order:

admitted (there is room, and money: admission.py) -> scrubbed (guard.py) -> held against the input patterns (checks.py) -> given
to an arm (split.py, routing.py) -> answered by that arm's version: from the cache, or by its engine, through the filters
(versions.py), or by the champion in place of a canary that fails or hangs (waiting.py) -> restored (restoring.py) -> written
down on the way (recording.py) -> mirrored to a canary in shadow (mirrors.py). HTTP is in front of it (server.py, public.py).
"""

import asyncio
import hashlib
import hmac
import os
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pipelines.rollout.store import Store
from pipelines.serving import logs, restoring
from pipelines.serving.admission import Admitted
from pipelines.serving.asking import Unanswered
from pipelines.serving.endpoints import PREFIX
from pipelines.serving.exchange import Answered, Ask, Call, Delta
from pipelines.serving.guard import GuardDown
from pipelines.serving.intake import Refused
from pipelines.serving.overload import NOTHING
from pipelines.serving.parts import Outside, Parts
from pipelines.serving.supervisor import Fetch, Launch
from pipelines.serving.tracing import Span
from pipelines.serving.versions import Made, Terms
from pipelines.serving.waiting import Waiting
from pipelines.spec import Spec


class Gateway:
    """Serves one model: what the route in `store` names, by the spec. `key` keys senders' hashes; of the rest Outside tells."""

    def __init__(  # noqa: PLR0913  as `serve`
        self, spec: Spec, store: Store, *, fetch: Fetch, key: bytes, launch: Launch | None = None,
        judge_url: str | None = None, review_url: str | None = None, signer: Path | None = None, standing: bool = True,
    ) -> None:  # fmt: skip
        self.spec = spec
        self._parts = Parts(spec, Outside(store, fetch, launch, judge_url, review_url, signer, standing))
        self.telemetry, self.tracing = self._parts.telemetry, self._parts.tracing
        self._key = key
        self._timeout = spec.serving.timeout_ms / 1000
        self._placeholders = restoring.known(spec.privacy)
        self._waiting = Waiting()

    async def start(self) -> None:
        """Open the journal and follow the route, which starts the engines, each with its guard.

        Raises:
            UserError: the key of an endpoint is not in the environment.
        """
        await self._parts.open()
        self.routing, self.feedback = self._parts.routing, self._parts.feedback
        self._versions, self._recording = self._parts.versions, self._parts.recording

    async def stop(self) -> None:
        """Finish the mirrors, stop the engines, flush the journal. Call it when all senders have their answers."""
        await self._parts.close()

    async def health(self) -> tuple[bool, dict[str, object]]:
        """Does the champion answer? And what is served now."""
        route, wanted, room = self.routing.applied, self.routing.wanted, self._parts.admission.room
        ok = route.champion is not None and await self._parts.healthy(route.champion)
        return ok, {
            "ok": ok, "model": self.spec.name, "champion": route.champion, "canary": route.canary,
            "weight": self.routing.weight, "shadow": self.routing.mirrored(), "generation": route.generation,
            "wanted": wanted.generation, "fused": self.routing.fused, "engines": self._parts.supervisor.pids(),
            "in_flight": self._parts.admission.in_flight,
            "overloaded": room.overloaded, "spend": round(self._parts.spent(), 6), "pid": os.getpid(),
        }  # fmt: skip

    def check_room(self) -> None:
        """Would a request be let in now? To be asked before its body is read, so that refusals are cheap.

        Raises:
            Refused: 429 with the seconds after which to come again; 503, there is no model in production.
        """
        _ = self.routing.champion
        self._parts.admission.check()

    async def generate(self, ask: Ask) -> Answered:
        """Answer one request.

        Raises:
            Refused: 400 for a text that the policy refuses, 429 when there is too much to do or the money is spent, 503 when
                nothing can answer in time.
        """
        _ = self.routing.champion  # refuses at once when there is none
        with self._request(ask) as span:
            async with self._parts.admission.place(len(ask.inputs)) as admitted:
                return await self._answered(await self._scrubbed(ask), admitted, span, self._seconds(ask))

    async def stream(self, ask: Ask) -> AsyncGenerator[Delta | Answered, None]:
        """Answer one request in pieces: Deltas, then the Answered. Closing the iterator ends the work.

        Where a filter may change or refuse an answer (`filters.leak` is `redact` by default), nobody sees a piece of it before
        the whole was checked: each text then comes as one Delta. So do answers of the cache, of endpoints and of beams.

        Raises:
            Refused: as `generate`; after the first Delta, too, when the version that writes breaks off.
        """
        parts: asyncio.Queue[Delta | None] = asyncio.Queue()
        # a task of its own: who iterates may do so from several (Starlette does), and a span or a timeout must not notice
        task = asyncio.create_task(self._written(ask, parts.put_nowait))
        task.add_done_callback(lambda _: parts.put_nowait(None))
        try:
            while (part := await parts.get()) is not None:
                yield part
            yield task.result()
        finally:
            task.cancel()

    async def _written(self, ask: Ask, put: Callable[[Delta], None]) -> Answered:
        if self._parts.checks.whole:
            answered = await self.generate(ask)
            for index, output in enumerate(answered.outputs):
                put(Delta(index, output.text))
            return answered
        _ = self.routing.champion
        with self._request(ask) as span:
            async with self._parts.admission.place(len(ask.inputs), timed=False) as admitted:
                call = await self._scrubbed(ask)
                pieces = restoring.Pieces(call.values, put)
                answered = await self._answered(call, admitted, span, self._seconds(ask), pieces)
                pieces.end()
                return answered

    async def answer_by(self, version: str, ask: Ask) -> Answered:
        """The answer of one version, anew: no event tells of it and no cache keeps it.

        Raises:
            Refused: as `generate`.
        """
        async with self._parts.admission.place(len(ask.inputs)) as admitted:
            call = await self._scrubbed(ask)
            try:
                terms = Terms(call.arrived + self._seconds(ask), admitted.relief)
                made = await self._versions.unrecorded(version, call, terms)
            except Unanswered as error:
                raise _unanswered(error) from None
            return self._finish(call, version, made)

    @contextmanager
    def _request(self, ask: Ask) -> Iterator[Span]:
        """The span of a request; what comes of it is counted for its key."""
        outcome = "gone"
        try:
            with self.tracing.request(ask) as span:
                yield span
            outcome = "answered"
        except Refused:
            outcome = "refused"
            raise
        finally:
            self.telemetry.holder(ask.holder, outcome).inc()

    def _seconds(self, ask: Ask) -> float:
        """That the request may take: the spec's, or less if its sender says so."""
        return self._timeout if ask.seconds is None else min(self._timeout, ask.seconds)

    async def _scrubbed(self, ask: Ask) -> Call:
        key = ask.user or "\0".join(ask.inputs)
        mac = hmac.digest(self._key, key.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()
        call = Call(uuid.uuid4().hex, key, mac, time.monotonic(), ask.decoding, fresh=ask.fresh)
        logs.request.set(call.request)
        version = self.routing.champion
        try:
            with self.tracing.part("guard"):
                async with asyncio.timeout(self._seconds(ask)):
                    scrubbed = await self._parts.guard().scrub(ask.inputs)
        except (GuardDown, TimeoutError) as error:
            arm, version = self.routing.choose(key)
            if isinstance(error, TimeoutError) and self._seconds(ask) < self._timeout:
                self._recording.gone(call, arm, version)  # its sender would not wait: nobody's fault
            else:
                self._recording.failed(call, arm, version, "guard")
            raise Refused(503, "personal data cannot be replaced right now: try again") from None
        self.telemetry.guard().observe(call.seconds)
        call = replace(call, texts=[text for text, _ in scrubbed], values=[values for _, values in scrubbed])
        await self._parts.checks.requests(version, call.texts)
        return call

    async def _answered(
        self, call: Call, admitted: Admitted, span: Span, seconds: float, pieces: restoring.Pieces | None = None
    ) -> Answered:
        """By the sender's arm, by the champion for it, or by the backup; within `seconds` of the call's arrival."""
        hurried, tell = seconds < self._timeout, pieces.tell if pieces else None
        terms = Terms(call.arrived + seconds, admitted.relief, hurried, tell)
        arm, version = self.routing.choose(call.key)
        if admitted.by_backup:
            answered = await self._by_backup(call, terms)
        elif arm == "champion":
            answered = await self._by_champion(call, terms, pieces)
        else:
            answered = await self._by_canary(call, version, terms, pieces)
        span.answered(answered, arm)
        return answered

    async def _by_champion(self, call: Call, terms: Terms, pieces: restoring.Pieces | None) -> Answered:
        guarded, version = call.seconds, self.routing.champion
        try:
            made = await self._versions.by(version, call, "champion", terms)
        except Unanswered as error:
            return await self._instead(call, terms, error, pieces)
        if not made.kind:
            self._parts.mirrors.add(replace(call, arrived=time.monotonic() - guarded))
        return self._finish(call, version, made)

    async def _by_canary(self, call: Call, version: str, terms: Terms, pieces: restoring.Pieces | None) -> Answered:
        """By the canary or, where it has nothing that can be shown, by the champion: the event is the canary's."""
        now = time.monotonic()
        half = min(now + (terms.until - call.arrived) / 2, terms.until)
        try:
            asked = replace(terms, first=half) if pieces else replace(terms, until=half)
            made = await self._waited(version, call, asked, pieces)
            reason = "withheld" if made.withheld else ""
        except Unanswered as error:
            reason = error.reason
        if not reason:
            self.routing.canary_answered(version)
            return self._finish(call, version, made)
        if reason not in ("fuse", "spared") and not (terms.hurried and reason == "timeout"):
            self.routing.canary_failed(version)
        if self.routing.fused:
            self._waiting.release()
        if pieces and pieces.begun:  # its sender has read some of it
            raise _unanswered(Unanswered(reason))
        self.telemetry.fallbacks(version, reason).inc()
        champion = self.routing.champion
        try:
            return self._finish(call, champion, await self._versions.in_place(champion, call, terms))
        except Unanswered as error:
            return await self._instead(call, terms, error, pieces)

    async def _waited(self, version: str, call: Call, terms: Terms, pieces: restoring.Pieces | None) -> Made:
        """The canary's answers, unless it is silent and many wait or, while this waits for them, it is cut off."""
        if self._waiting.version != version:
            self._waiting.release()
            self._waiting = Waiting(version)
        waiting = self._waiting
        if waiting.spared(self.routing.weight, self._parts.admission.room.limit):
            self.telemetry.requests(version, "canary", "spared").inc()
            raise Unanswered("spared")
        terms = replace(terms, tell=waiting.heard(pieces.tell)) if pieces else terms
        async with waiting.one(lambda: pieces is not None and pieces.begun):
            made = await self._versions.by(version, call, "canary", terms)
        if not all(output.cached for output in made.whole):
            waiting.answered()
        return made

    async def _instead(self, call: Call, terms: Terms, error: Unanswered, pieces: restoring.Pieces | None) -> Answered:
        """The champion is away. Is there a backup, and time? Else its next engine answers, if that is up in time."""
        if time.monotonic() >= terms.until or (pieces and pieces.begun):
            raise _unanswered(error) from None
        if self.spec.serving.overload.backup is not None:
            return await self._by_backup(call, terms)
        return await self._by_the_next(call, terms, error)

    async def _by_the_next(self, call: Call, terms: Terms, error: Unanswered) -> Answered:
        """By the champion's next engine. A request that its engine died of is asked once more, and not again and again."""
        champion = self.routing.champion
        if error.reason not in ("away", "connection") or not await self._parts.back(champion, terms.until):
            raise _unanswered(error) from None
        try:
            return self._finish(call, champion, await self._versions.in_place(champion, call, terms))
        except Unanswered as again:
            raise _unanswered(again) from None

    async def _by_backup(self, call: Call, terms: Terms) -> Answered:
        version = f"{PREFIX}{self.spec.serving.overload.backup}"
        try:
            made = await self._versions.in_place(version, call, replace(terms, given_up=NOTHING))
        except Unanswered as error:
            raise _unanswered(error) from None
        made.degraded.add("backup")
        return self._finish(call, version, made)

    def _finish(self, call: Call, version: str, made: Made) -> Answered:
        outputs = []
        for output, values in zip(made.whole, call.values, strict=True):
            if restoring.unrestored(output.text, values, self._placeholders):
                self.telemetry.unrestored(version).inc()
            outputs.append(restoring.shown(output, values))
        for what in sorted(made.degraded):
            self.telemetry.degraded(what).inc()
        return Answered(call.request, version, outputs, sorted(made.degraded))


def _unanswered(error: Unanswered) -> Refused:
    return Refused(503, f"the model in production gave no answer ({error.reason}): try again")
