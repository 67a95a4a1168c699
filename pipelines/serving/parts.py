"""What a gateway is made of: opened in order, closed in the opposite one."""

import asyncio
import logging
import tempfile
import time
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from pipelines.errors import SeqlineError, Transient
from pipelines.rollout.store import Store
from pipelines.serving.admission import Admission
from pipelines.serving.asking import Asking
from pipelines.serving.cache import Cache
from pipelines.serving.checks import Checks
from pipelines.serving.endpoints import Endpoints, is_endpoint
from pipelines.serving.feedback import Feedback
from pipelines.serving.guard import Guard, Guards
from pipelines.serving.journal import Journal
from pipelines.serving.liveness import Liveness
from pipelines.serving.masking import Masking
from pipelines.serving.mirrors import Mirrors
from pipelines.serving.recent import Recent
from pipelines.serving.recording import Recording
from pipelines.serving.routing import Routing
from pipelines.serving.samples import Samples
from pipelines.serving.supervisor import Engine, Fetch, Launch, Launcher, Supervisor, fetched
from pipelines.serving.telemetry import Telemetry
from pipelines.serving.tracing import Tracing
from pipelines.serving.versions import Versions
from pipelines.spec import Spec

log = logging.getLogger("seqline.serving")


@dataclass(frozen=True)
class Outside:
    """What a gateway finds around it.

    `fetch` brings the folder of a version's Export; `launch`, if given, starts the engines instead (so that a proxy can stand
    before one). `judge_url` and `review_url` receive scrubbed pairs. Engines load what `signer` (a public key) signed. Somebody
    is called when a `standing` gateway is gone; others end with a rollout.
    """

    store: Store
    fetch: Fetch
    launch: Launch | None = None
    judge_url: str | None = None
    review_url: str | None = None
    signer: Path | None = None
    standing: bool = True


class Parts:
    """The parts of one gateway. `open` starts them; `close` finishes the mirrors, ends the engines and flushes what waits."""

    def __init__(self, spec: Spec, outside: Outside) -> None:
        self.spec = spec
        target = spec.slo.latency.target_ms / 1000
        self.telemetry = Telemetry(spec.name, target)
        self.tracing = Tracing(spec.name)
        self.admission = Admission(spec.serving, target)
        self.cache = Cache(spec.serving.cache)
        self._outside = outside
        self._exit = AsyncExitStack()

    async def open(self) -> None:
        """Open the journal and follow the route, which starts the engines, each with its guard."""
        exit_ = self._exit
        try:
            await asyncio.to_thread(self._outside.store.create)
        except Transient as error:
            log.warning("%s: the gateway starts all the same and waits for it", error)
        exit_.push_async_callback(asyncio.to_thread, self.tracing.close)
        self.guards = Guards(self.spec.privacy)
        exit_.push_async_callback(self.guards.close)
        journal = Journal(self._outside.store, self.spec.name, lost=self.telemetry.lost("events").inc)
        exit_.push_async_callback(asyncio.to_thread, journal.close)
        http = await exit_.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        recording = self._records(journal, http)
        endpoints = Endpoints(self.spec, http, self._charge_tokens)
        self._launch = self._outside.launch or exit_.enter_context(
            closing(Launcher(self.spec, self._outside.fetch, self._outside.signer))
        )
        self._policy = Path(exit_.enter_context(tempfile.TemporaryDirectory(prefix="seqline-endpoints-")))
        seconds = self.spec.serving.timeout_ms / 1000
        self.supervisor = Supervisor(self._start_version, self._died, seconds, Liveness(http))
        exit_.push_async_callback(self.supervisor.close)
        self.asking = Asking(self.supervisor, self.telemetry, http)
        checks = Checks(self.spec, self.guard, self.telemetry)
        self.checks = checks
        self.versions = Versions(self.asking, endpoints, checks, self.cache, recording, self.tracing, self._charge_decoding)
        self.endpoints, self.recording = endpoints, recording
        self.routing = Routing(self.spec.name, self._outside.store, self.supervisor, journal, self._changed)
        self._report(journal)
        await self.routing.poll()
        following = asyncio.create_task(self.routing.follow())
        exit_.callback(following.cancel)
        self.mirrors = Mirrors(self.routing, self.versions, self.telemetry, seconds / 2)
        exit_.push_async_callback(self.mirrors.finish, seconds)

    async def close(self) -> None:
        await self._exit.aclose()

    async def healthy(self, version: str) -> bool:
        """Does the engine of `version` answer? (An endpoint is not asked: that could cost money.)"""
        return self.endpoints.knows(version) if is_endpoint(version) else await self.asking.healthy(version)

    async def back(self, version: str, until: float) -> bool:
        """Whether the engine of `version`, which died, is up again by `until` (time.monotonic())."""
        keeper = self.supervisor.keeper(version)
        return keeper is not None and await keeper.back(until)

    def spent(self) -> float:
        """In the last hour."""
        return self.admission.spend.hour(time.monotonic())

    def guard(self) -> Guard:
        """The guard that requests are scrubbed by now: that of the version in production.

        Raises:
            GuardDown: it is not ready. Refused: 503, there is no version.
        """
        return self.guards.of(self.routing.champion)

    def _records(self, journal: Journal, http: aiohttp.ClientSession) -> Recording:
        masking = Masking(self.guard, self.spec.privacy.placeholders)
        lost = self.telemetry.lost
        judge, review = self._outside.judge_url, self._outside.review_url
        pairs = Samples(judge, http, lost=lost("pairs").inc, clean=masking.pairs) if judge else None
        samples = (
            Samples(review, http, lost=lost("samples").inc, clean=masking.pairs, told=self.telemetry.sampled)
            if review
            else None
        )
        for each in (pairs, samples):
            if each:
                self._exit.push_async_callback(each.close)
        recent = Recent()
        longest = self.spec.serving.max_chars
        self.feedback = Feedback(recent, masking, journal, self.telemetry, samples, longest)
        share = self.spec.serving.review.share
        return Recording(self.spec.slo, journal, self.telemetry, pairs, review=samples, share=share, recent=recent)

    async def _start_version(self, version: str) -> Engine:
        """Start an engine. Its guard comes first: nothing is asked of a version whose requests cannot be scrubbed."""
        managed = is_endpoint(version)
        if managed and not self.endpoints.knows(version):
            raise SeqlineError(f"{version}: no such name in serving.endpoints")
        export = self._policy if managed else await fetched(self._outside.fetch, version)
        await self.guards.prepare(version, export)
        routes = (self.routing.applied, self.routing.wanted)
        live = {named for route in routes for named in (route.champion, route.canary) if named}
        await self.guards.keep(live | {version})
        return Engine(version, "", 0, None) if managed else await self._launch(version)

    def _died(self, version: str) -> None:
        self.telemetry.restarts(version).inc()

    def _changed(self, versions: frozenset[str]) -> None:
        """A new route is followed: what belongs to versions that left can go."""
        backup = self.spec.serving.overload.backup
        self.cache.retain(versions | ({f"endpoint:{backup}"} if backup else set()))
        self.telemetry.keep(versions)

    def _charge_tokens(self, tokens: int, per_1000: float) -> None:
        self.admission.spend.add(tokens * per_1000 / 1000, time.monotonic())

    def _charge_decoding(self, seconds: float) -> None:
        self.admission.spend.add(seconds * self.spec.serving.cost.per_engine_hour / 3600, time.monotonic())

    def _report(self, journal: Journal) -> None:
        gauge, room, spend = self.telemetry.gauge, self.admission.room, self.admission.spend
        gauge(
            "standing",
            "1 of a gateway that is to stay, 0 of one that ends with a rollout",
            lambda: float(self._outside.standing),
        )
        gauge("in_flight", "Requests being answered", lambda: self.admission.in_flight)
        gauge("journal_pending", "Events not yet in the rollout database", lambda: journal.pending)
        gauge("route_generation", "Generation of the route followed", lambda: self.routing.applied.generation)
        gauge("route_weight_percent", "Share of the senders that the canary gets now", lambda: self.routing.weight)
        gauge("engine_in_flight", "Calls that wait for an engine", self.supervisor.in_flight)
        gauge("cached_answers", "Answers in the cache", lambda: len(self.cache))
        gauge("room_texts", "Texts that are let in at once while there is an overload", lambda: room.limit)
        gauge("overloaded", "1 while requests are refused to keep the others fast", lambda: float(room.overloaded))
        self.telemetry.weights(self.routing.weights)
        currency = self.spec.serving.cost.currency
        self.telemetry.spend(currency).set_function(lambda: spend.hour(time.monotonic()))
