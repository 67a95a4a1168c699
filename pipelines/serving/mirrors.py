"""The mirror: what the champion has answered is answered by the canary too, never in the sender's time."""

import asyncio
import contextlib
import time

from pipelines.serving.asking import Unanswered
from pipelines.serving.exchange import Call
from pipelines.serving.routing import Routing
from pipelines.serving.telemetry import Telemetry
from pipelines.serving.versions import Terms, Versions

MIRRORS = 8  # mirrored requests in flight; more are shed


class Mirrors:
    """The mirrored requests in flight. Each is given `seconds`."""

    def __init__(self, routing: Routing, versions: Versions, telemetry: Telemetry, seconds: float) -> None:
        self._routing, self._versions, self._telemetry, self._seconds = routing, versions, telemetry, seconds
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, call: Call) -> None:
        """Copy a request to the canary, if the route says so and there is room."""
        canary = self._routing.applied.canary
        if canary is None or not self._routing.mirrored():
            return
        if len(self._tasks) >= MIRRORS:
            self._telemetry.mirrors(canary, "shed").inc()
            return
        task = asyncio.create_task(self._answer(call, canary))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, seconds: float) -> None:
        """Wait for those in flight, for at most `seconds`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def _answer(self, call: Call, canary: str) -> None:
        with contextlib.suppress(Unanswered):  # the event says so
            await self._versions.by(canary, call, "canary", Terms(time.monotonic() + self._seconds), shadow=True)
