"""Those who wait for a canary: a canary that hangs must not fill the gateway, nor keep anybody once the fuse has blown."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pipelines.serving.asking import Unanswered
from pipelines.serving.versions import Tell

MOST = 40  # that wait for a canary which is silent: twice those whose timeouts blow the fuse


class Waiting:
    """The requests that the canary `version` has now, the oldest first.

    Those that came after its last answer it meets in silence: one that is merely slow, or loaded, goes on answering. With many
    of them it is spared more, which go to the champion and say nothing against it.
    """

    def __init__(self, version: str = "") -> None:
        self.version = version
        self._timers: dict[int, tuple[asyncio.Timeout, Callable[[], bool]]] = {}
        self._came = 0
        self._answered = 0  # requests that had come when it last answered

    def __len__(self) -> int:
        return len(self._timers)

    def spared(self, weight: float, room: float) -> bool:
        """Is a canary with `weight` percent of the senders not asked, in a gateway that lets in `room` requests?

        In silence it holds MOST, or up to half of the room if most senders are its own (a probation); never more than its
        share and half of the others'.
        """
        silent = sum(number > self._answered for number in self._timers)
        return silent >= min(max(MOST, room * (weight - 50) / 100), room * (1 + weight / 100) / 2)

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
