"""The route that a gateway follows: polled from the rollout database, applied whole, lowered by the gateway's own fuse."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from sqlalchemy.exc import SQLAlchemyError

from pipelines.errors import Transient
from pipelines.rollout.store import Event, Route, Store
from pipelines.serving import split
from pipelines.serving.intake import Refused
from pipelines.serving.journal import Journal
from pipelines.serving.supervisor import Supervisor

log = logging.getLogger("seqline.serving")
POLL_SECONDS = 0.2
FUSE_FAILURES = 20  # canary failures in a row
FUSE_STARTS = 3  # starts in a row that a canary's engine did not survive


class Routing:
    """Follows the route of `name`. While the database is away, or a new version's engine is not up, the last route stays.

    `changed` is told the versions of each new route once it is followed.
    """

    def __init__(
        self, name: str, store: Store, supervisor: Supervisor, journal: Journal,
        changed: Callable[[frozenset[str]], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.applied: Route = split.NOWHERE
        self.wanted: Route = split.NOWHERE
        self._name, self._store, self._supervisor, self._journal = name, store, supervisor, journal
        self._changed = changed
        self._failures = 0
        self._blown: int | None = None  # the generation of the route whose canary is cut off

    @property
    def fused(self) -> bool:
        return self._blown == self.wanted.generation

    @property
    def weight(self) -> float:
        """The canary's share of the senders now, in percent."""
        return self.applied.weight if split.leased(self.applied, time.time()) and not self.fused else 0.0

    @property
    def champion(self) -> str:
        """The version in production.

        Raises:
            Refused: 503, there is none yet, or it is still being started.
        """
        if self.applied.champion is None:
            coming = "the model in production is being started" if self.wanted.champion else "no model in production yet"
            raise Refused(503, coming)
        return self.applied.champion

    def choose(self, key: str) -> tuple[split.Arm, str]:
        """The arm of a sender, and the version that serves it now.

        Raises:
            Refused: 503, as `champion`.
        """
        canary = self.applied.canary
        if canary and not self.fused and split.arm(self.applied, key, time.time()) == "canary":
            return "canary", canary
        return "champion", self.champion

    def weights(self) -> Mapping[tuple[str, ...], float]:
        """(version, part) -> share of the senders in percent; part is champion, canary or shadow."""
        route, weight = self.applied, self.weight
        parts = [(route.champion, "champion", 100.0 - weight), (route.canary, "canary", weight)]
        if self.mirrored():
            parts.append((route.canary, "shadow", 100.0))
        return {(version, part): share for version, part, share in parts if version is not None}

    def mirrored(self) -> bool:
        return not self.fused and split.mirrored(self.applied, time.time())

    def canary_answered(self, version: str) -> None:
        if version == self.applied.canary:
            self._failures = 0

    def canary_failed(self, version: str) -> None:
        if version != self.applied.canary:
            return  # an answer from before the route changed
        self._failures += 1
        if self._failures >= FUSE_FAILURES:
            self._blow(version, f"{self._failures} failures in a row")

    async def follow(self) -> None:
        """Poll for ever."""
        while True:
            await self.poll()
            await asyncio.sleep(POLL_SECONDS)

    async def poll(self) -> None:
        try:
            found = await asyncio.to_thread(self._store.route, self._name)
        except (Transient, SQLAlchemyError) as error:
            log.warning("route: the rollout database is away (%s): the last route stays", type(error).__name__)
            return
        if found and found.generation != self.wanted.generation:
            self._failures = 0
        if found:
            self.wanted = found
        self._supervisor.want(split.versions(self.applied, self.wanted))
        before, self.applied = self.applied, split.settle(self.applied, self.wanted, self._supervisor.up())
        if self.applied.generation != before.generation:
            log.info("route: generation %d, champion %s, canary %s at %g %%", self.applied.generation, self.applied.champion,
                     self.applied.canary, self.applied.weight)  # fmt: skip
            self._supervisor.want(split.versions(self.applied))
            self._changed(split.versions(self.applied))
        self._check_starts()

    def _check_starts(self) -> None:
        keeper = self._supervisor.keeper(self.wanted.canary) if self.wanted.canary else None
        if keeper and keeper.failed_starts >= FUSE_STARTS:
            self._blow(self.wanted.canary, f"{keeper.failed_starts} failed starts in a row")

    def _blow(self, canary: str | None, why: str) -> None:
        if self.fused or canary is None:
            return
        self._blown = self.wanted.generation
        log.error("fuse: version %s gets no traffic until the next route: %s", canary, why)
        self._journal.add(Event("", "", "canary", canary, time.time(), {}, kind="fuse"))
