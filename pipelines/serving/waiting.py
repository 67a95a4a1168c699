"""Those who wait for a canary: a canary that hangs must not fill the gateway, nor keep anybody once the fuse has blown."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from pipelines.serving.asking import Unanswered
from pipelines.serving.versions import Tell

MOST = 40  # that wait for a canary which is silent: twice those whose timeouts blow the fuse


class Waiting:
    """The requests that a canary has now, the oldest first.

    It is silent when it has answered nothing since the oldest of them came: one that is merely slow, or loaded, goes on
    answering. With MOST waiting a silent canary is spared more of them, which says nothing against it. It is stuck, and to
    blame, when it holds half of the others' room beside its own fair share, which under any load is its share of the senders.
    """

    def __init__(self) -> None:
        self._timers: dict[int, tuple[asyncio.Timeout, Callable[[], bool]]] = {}
        self._came = 0
        self._answered = 0  # requests that had come when it last answered

    def __len__(self) -> int:
        return len(self._timers)

    def refusal(self, weight: float, room: float) -> Literal["stuck", "spared", None]:
        """Why a canary with `weight` percent of the senders is not asked, in a gateway that lets in `room` requests."""
        if next(iter(self._timers), 0) <= self._answered:
            return None
        if len(self._timers) >= room * (1 + weight / 100) / 2:
            return "stuck"
        return "spared" if len(self._timers) >= MOST else None

    def answered(self) -> None:
        """The canary has answered one of them, or a part of one."""
        self._answered = self._came

    def heard(self, tell: Tell) -> Tell:
        """`tell`, by whose pieces it is known, too, that the canary answers."""

        def told(index: int, text: str) -> None:
            self.answered()
            tell(index, text)

        return told

    @asynccontextmanager
    async def one(self, begun: Callable[[], bool]) -> AsyncIterator[None]:
        """Wait here; `begun` says that its sender has read some of the answer, which only the canary can end.

        Raises:
            Unanswered: it was released.
        """
        self._came += 1
        number = self._came
        try:
            async with asyncio.timeout(None) as timer:
                self._timers[number] = timer, begun
                yield
        except TimeoutError:
            if not timer.expired():
                raise
            raise Unanswered("fuse") from None
        finally:
            del self._timers[number]

    def release(self) -> None:
        """Let nobody wait any longer, but for those whose answer has begun."""
        for timer, begun in self._timers.values():
            if timer.when() is None and not begun():
                timer.reschedule(0)
