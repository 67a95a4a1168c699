"""The gateway's core: guard, split, ask, fall back, mirror. HTTP is in server.py, the pure rules in split.py."""

import asyncio
import hashlib
import hmac
import logging
import os
import re
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import replace

import aiohttp

from pipelines.errors import Transient
from pipelines.rollout.store import Store
from pipelines.scrub.detect import placeholders, restore
from pipelines.serving import split
from pipelines.serving.asking import Asking, Unanswered
from pipelines.serving.exchange import Answered, Ask, Call, Output
from pipelines.serving.guard import GuardDown, Guards
from pipelines.serving.intake import Refused
from pipelines.serving.journal import Journal
from pipelines.serving.recording import Recording
from pipelines.serving.routing import Routing
from pipelines.serving.samples import Samples
from pipelines.serving.supervisor import Engine, Fetch, Launch, Launcher, Supervisor, fetched
from pipelines.serving.telemetry import Telemetry
from pipelines.spec import Spec

log = logging.getLogger("seqline.serving")
MIRRORS = 8  # mirrored requests in flight; more are shed


class Gateway:
    """Serves one model: what the route in `store` names, by the spec.

    `fetch` brings the folder of a version's Export; `launch`, if given, starts the engines instead (so that a proxy can stand
    before one). `key` keys the hashes of senders. `judge_url` receives sampled scrubbed pairs.
    """

    def __init__(
        self, spec: Spec, store: Store, *, fetch: Fetch, key: bytes, launch: Launch | None = None, judge_url: str | None = None
    ) -> None:
        self.spec = spec
        self.telemetry = Telemetry(spec.name)
        self._store, self._fetch, self._launch, self._key, self._judge_url = store, fetch, launch, key, judge_url
        self._timeout = spec.serving.timeout_ms / 1000
        self._in_flight = 0
        self._mirrors: set[asyncio.Task[None]] = set()
        self._placeholder = re.compile("|".join(map(re.escape, placeholders(spec.privacy))))
        self._exit = AsyncExitStack()

    async def start(self) -> None:
        """Open the journal and follow the route, which starts the engines, each with its guard."""
        try:
            await asyncio.to_thread(self._store.create)
        except Transient as error:
            log.warning("%s: the gateway starts all the same and waits for it", error)
        self._guards = Guards(self.spec.privacy)
        self._exit.push_async_callback(self._guards.close)
        journal = Journal(self._store, self.spec.name, lost=self.telemetry.lost("events").inc)
        self._exit.push_async_callback(asyncio.to_thread, journal.close)
        http = await self._exit.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        samples = Samples(self._judge_url, http, lost=self.telemetry.lost("pairs").inc) if self._judge_url else None
        if samples:
            self._exit.push_async_callback(samples.close)
        self._launcher = self._launch or self._exit.enter_context(closing(Launcher(self.spec, self._fetch)))
        self._supervisor = Supervisor(
            self._start_version, lambda version: self.telemetry.restarts(version).inc(), self._timeout
        )
        self._exit.push_async_callback(self._supervisor.close)
        self._asking = Asking(self._supervisor, self.telemetry, http)
        self._recording = Recording(self.spec.slo, journal, self.telemetry, samples)
        self.routing = Routing(self.spec.name, self._store, self._supervisor, journal)
        self._report(journal)
        await self.routing.poll()
        following = asyncio.create_task(self.routing.follow())
        self._exit.callback(following.cancel)

    async def _start_version(self, version: str) -> Engine:
        """Start an engine. Its guard comes first: nothing is asked of a version whose requests cannot be scrubbed."""
        await self._guards.prepare(version, await fetched(self._fetch, version))
        routes = (self.routing.applied, self.routing.wanted)
        live = {named for route in routes for named in (route.champion, route.canary) if named}
        await self._guards.keep(live | {version})
        return await self._launcher(version)

    def _report(self, journal: Journal) -> None:
        gauge = self.telemetry.gauge
        gauge("in_flight", "Requests being answered", lambda: self._in_flight)
        gauge("journal_pending", "Events not yet in the rollout database", lambda: journal.pending)
        gauge("route_generation", "Generation of the route followed", lambda: self.routing.applied.generation)
        gauge("route_weight_percent", "Share of the senders that the canary gets now", lambda: self.routing.weight)
        gauge("engine_in_flight", "Calls that wait for an engine", self._supervisor.in_flight)

    async def stop(self) -> None:
        """Finish the mirrors, stop the engines, flush the journal. Call it when all senders have their answers."""
        if self._mirrors:
            await asyncio.wait(self._mirrors, timeout=self._timeout)
        await self._exit.aclose()

    async def health(self) -> tuple[bool, dict[str, object]]:
        """Does the champion's engine answer? And what is served now."""
        route, wanted = self.routing.applied, self.routing.wanted
        ok = route.champion is not None and await self._asking.healthy(route.champion)
        return ok, {
            "ok": ok, "model": self.spec.name, "champion": route.champion, "canary": route.canary,
            "weight": self.routing.weight, "shadow": self.routing.mirrored(), "generation": route.generation,
            "wanted": wanted.generation, "fused": self.routing.fused, "engines": self._supervisor.pids(), "pid": os.getpid(),
        }  # fmt: skip

    async def generate(self, ask: Ask) -> Answered:
        """Answer one request.

        Raises:
            Refused: 429 when too many are in flight, 503 when nothing can answer in time.
        """
        if self._in_flight >= self.spec.serving.queue:
            raise Refused(429, f"more than {self.spec.serving.queue} requests are in flight: try again")
        _ = self.routing.champion  # refuses at once when there is none
        self._in_flight += 1
        try:
            return await self._split(await self._scrubbed(ask))
        finally:
            self._in_flight -= 1

    async def _scrubbed(self, ask: Ask) -> Call:
        key = ask.user or "\0".join(ask.inputs)
        mac = hmac.digest(self._key, key.encode(), hashlib.sha256).hex()
        call = Call(uuid.uuid4().hex, key, mac, time.monotonic(), ask.decoding)
        try:
            guard = self._guards.of(self.routing.champion)
            scrubbed = await asyncio.wait_for(guard.scrub(ask.inputs), self._timeout)
        except (GuardDown, TimeoutError):
            arm, version = self.routing.choose(key)
            self._recording.failed(call, arm, version, "guard")
            raise Refused(503, "personal data cannot be replaced right now: try again") from None
        self.telemetry.guard().observe(call.seconds)
        return replace(call, texts=[text for text, _ in scrubbed], values=[values for _, values in scrubbed])

    async def _split(self, call: Call) -> Answered:
        guarded = call.seconds
        arm, version = self.routing.choose(call.key)
        if arm == "champion":
            try:
                outputs = await self._asked(call, arm, version, self._timeout - guarded)
            except Unanswered as error:
                raise _unanswered(error) from None
            self._mirror(replace(call, arrived=time.monotonic() - guarded))
            return self._finish(call, version, outputs)
        try:
            outputs = await self._asked(call, arm, version, min(self._timeout / 2, self._timeout - guarded))
        except Unanswered as error:
            self.routing.canary_failed(version)
            self.telemetry.fallbacks(version, error.reason).inc()
            return await self._fall_back(call)
        self.routing.canary_answered(version)
        return self._finish(call, version, outputs)

    async def _fall_back(self, call: Call) -> Answered:
        """The champion answers for the canary. The event was the canary's, so nothing is recorded here."""
        champion = self.routing.champion
        try:
            outputs = await self._asking.ask(champion, call, self._timeout - call.seconds)
        except Unanswered as error:
            raise _unanswered(error) from None
        return self._finish(call, champion, outputs)

    async def _asked(self, call: Call, arm: split.Arm, version: str, seconds: float, *, shadow: bool = False) -> list[Output]:
        """Ask one version and record what came of it."""
        try:
            outputs = await self._asking.ask(version, call, seconds)
        except Unanswered as error:
            self._recording.failed(call, arm, version, error.reason, shadow=shadow)
            raise
        except asyncio.CancelledError:
            self._recording.gone(call, arm, version, shadow=shadow)
            raise
        self._recording.answered(call, arm, version, outputs, shadow=shadow)
        return outputs

    def _mirror(self, call: Call) -> None:
        """Let the canary answer too what the champion has answered; never in the sender's time."""
        canary = self.routing.applied.canary
        if canary is None or not self.routing.mirrored():
            return
        if len(self._mirrors) >= MIRRORS:
            self.telemetry.mirrors(canary, "shed").inc()
            return
        task = asyncio.create_task(self._mirrored(call, canary))
        self._mirrors.add(task)
        task.add_done_callback(self._mirrors.discard)

    async def _mirrored(self, call: Call, canary: str) -> None:
        try:
            await self._asked(call, "canary", canary, self._timeout / 2, shadow=True)
        except Unanswered as error:
            log.debug("mirror: %s", error.reason)

    def _finish(self, call: Call, version: str, outputs: Sequence[Output]) -> Answered:
        restored = []
        for output, values in zip(outputs, call.values, strict=True):
            if not values.keys() >= set(self._placeholder.findall(output.text)):
                self.telemetry.unrestored(version).inc()
            restored.append(output.model_copy(update={"text": restore(output.text, values)}))
        return Answered(call.request, version, restored)


def _unanswered(error: Unanswered) -> Refused:
    return Refused(503, f"the model in production gave no answer ({error.reason}): try again")
