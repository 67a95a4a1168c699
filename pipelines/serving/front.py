"""The server that strangers meet: bounded connections, and an end that drops nobody's request.

At its end uvicorn resets what waits in the accept queue, and cuts idle connections while a request may be on its way to them.
"""

import asyncio
import logging
import math
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import addressof, create_string_buffer

from pipelines.serving.connections import Bounds, Connection, Visitors
from pipelines.serving.listening import Application, Server

log = logging.getLogger("seqline.serving")
SETTLE_SECONDS = 0.2  # at the end: for handshakes under way; a round trip at most
SWEEP_TICKS = 5  # uvicorn's ticks (0.1 s) between two looks for the overdue


class Front(Server):
    """A server for strangers. Its end drops no request that was begun, nor one that comes on a connection we kept open.

    `grace` seconds are for what is in flight; `hurry` does not wait for it.
    """

    def __init__(self, application: Application, ready: Callable[[], None], *, grace: float, bounds: Bounds) -> None:
        super().__init__(application, ready, grace=grace, keep_alive=math.ceil(bounds.kept))
        self.config.http = Connection
        self.server_state = self.visitors = Visitors(bounds)
        self._grace = grace

    def hurry(self) -> None:
        self.should_exit = self.force_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the whole process's: see `serve`."""
        yield

    async def on_tick(self, counter: int) -> bool:
        if counter % SWEEP_TICKS == 0:
            self._sweep()
        return await super().on_tick(counter)

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in self.visitors.guests():
            connection.check(now)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, answer what is there and what still comes on kept connections, then close.

        A connection is closed when its last answer said `Connection: close`, or when nothing came for
        `Bounds.leaving`: a client that sends in the very moment of the latter is the one case that HTTP/1.1 leaves open.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self._grace
        self.visitors.leaving = True
        for connection in self.visitors.guests():
            connection.leave()
        listening = sockets or []
        filtered = [refuse_newcomers(each) for each in listening]
        if all(filtered):
            await self._wait(SETTLE_SECONDS, lambda: False)
            await self._wait(end - loop.time(), lambda: not any(accept_queue(each) for each in listening))
        for server in self.servers:
            server.close()
        await _turns()  # what was accepted last becomes a connection meanwhile
        for each in listening:
            each.close()
        await self._wait(end - loop.time(), self._left)
        await self._cut()

    def _left(self) -> bool:
        """Have all connections gone? Closes those that are idle."""
        self._sweep()
        now = asyncio.get_running_loop().time()
        for connection in self.visitors.guests():
            connection.leave_if_idle(now)
        return not self.visitors.connections and not self.visitors.tasks

    async def _wait(self, seconds: float, over: Callable[[], bool]) -> None:
        end = asyncio.get_running_loop().time() + seconds
        while not over() and not self.force_exit and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.01)

    async def _cut(self) -> None:
        left = list(self.visitors.tasks)
        if left or self.visitors.connections:
            log.warning("the end: %d connections and %d requests are cut off", len(self.visitors.connections), len(left))
        for task in left:
            task.cancel()
        for connection in self.visitors.guests():
            connection.abort()
        if left:
            await asyncio.wait(left, timeout=1)
        await _turns()  # an aborted connection gives its socket back in the next turn


async def _turns(count: int = 4) -> None:
    """Let the event loop turn: however slow the machine, what was due has been done."""
    for _ in range(count):
        await asyncio.sleep(0)


SO_ATTACH_FILTER = 26  # Linux
_DROP_SYN = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFF_FFFF))
"""Classic BPF over the TCP header: flags & (SYN | ACK) == SYN ? drop : keep."""


def refuse_newcomers(listening: socket.socket) -> bool:
    """Let no further connection begin on `listening`, while those that have begun can still be accepted.

    Closing a listening socket resets whoever waits in its queue, perhaps with a request sent already. So the kernel first drops
    what opens a connection; its sender tries again by itself, after a second, and finds the port closed or its next owner.
    Returns False where the kernel has no such filter.
    """
    program = create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN))
    try:
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(_DROP_SYN), addressof(program)))
    except OSError:
        return False
    return True


def accept_queue(listening: socket.socket) -> int:
    """Connections that wait to be accepted."""
    try:
        found: int = struct.unpack_from("I", listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28), 24)[0]
    except (AttributeError, OSError, struct.error):
        return 0
    return found
