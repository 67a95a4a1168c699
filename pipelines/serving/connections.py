"""The connections of strangers: heads and bodies that come late or large, readers that stop reading, too many of all.

uvicorn with httptools bounds none of it: a head may take for ever and be of any size, and a slow body, or an answer that nobody
reads, holds its connection for ever.
"""

import array
import asyncio
import fcntl
import resource
import termios
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

HEAD_BYTES = 16_384
CONNECTIONS = 4_096
OTHER_FILES = 256  # file descriptors kept for all but connections


def affordable() -> int:
    """Connections that this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(CONNECTIONS, soft - OTHER_FILES))


@dataclass(frozen=True)
class Bounds:
    """In seconds, but for `connections`."""

    body: float
    """For a body, and for the reading of an answer, after `head`."""
    head: float = 10.0
    """For a head, from its first byte or from the connection's beginning."""
    kept: float = 30.0
    """Silence after which a connection is closed."""
    leaving: float = 1.0
    """The same once the server ends."""
    linger: float = 2.0
    """How long a sender that was refused early may still send before it is cut off."""
    connections: int = field(default_factory=affordable)


class Visitors(ServerState):
    """What all connections of one server share."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__()
        self.bounds = bounds
        self.leaving = False

    def guests(self) -> list["Connection"]:
        return [each for each in self.connections if isinstance(each, Connection)]

    def make_room(self) -> bool:
        """Close the connection that has sat longest on an unfinished head; False when there is none."""
        stalled = [each for each in self.guests() if each.in_head and each.since is not None and each.parting is None]
        if len(stalled) < 2:  # the newcomer itself
            return False
        min(stalled, key=lambda each: each.since or 0.0).abort()
        return True


class Connection(HttpToolsProtocol):
    """One connection, with bounds. It owes us bytes from `since` on (None: it is idle, or we owe an answer)."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(server_state, Visitors)
        self.visitors = server_state
        self.since: float | None = None
        self.in_head = True
        self.parting: float | None = None  # since when we have said all, and only listen
        self._stuck: float | None = None  # since when the other side does not read
        self._quiet = 0.0  # when it was last heard, or told all
        self._head = 0  # bytes
        self._error: tuple[int, str] = (400, "request: must be valid HTTP/1.1")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wire = transport
        self.transport = _Wire(transport, self.part)  # type: ignore[assignment]
        self.since = self._quiet = self.loop.time()
        if len(self.connections) > self.visitors.bounds.connections and not self.visitors.make_room():
            self.refuse(503, "too many connections: try again")

    def connection_lost(self, exc: Exception | None) -> None:
        self.parting = self.parting or 0.0
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.parting is not None:
            return
        self._quiet = self.loop.time()
        if self.since is None:
            self.since = self._quiet
        super().data_received(data)

    def on_message_begin(self) -> None:
        self.in_head, self._head = True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._weigh(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._weigh(len(name) + len(value) + 4)
        super().on_header(name, value)

    def _weigh(self, size: int) -> None:
        self._head += size
        if self._head > HEAD_BYTES:
            self._error = (431, f"request: the head must be at most {HEAD_BYTES} bytes")
            raise ValueError  # httptools stops, and data_received refuses

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.in_head = False
        # after an upgrade that is not made, llhttp reads no further request from this connection
        if self.visitors.leaving or self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self.since, self.in_head = None, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._quiet = self.loop.time()
        if self.parting is None:
            super().on_response_complete()
        else:
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        self._stuck = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stuck = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        if not self._waiting():
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  our line says what to mend
        self.refuse(*self._error)

    def refuse(self, status: int, line: str) -> None:
        """Answer without asking the application, and part."""
        body = orjson.dumps({"error": line})
        retry = b"Retry-After: 1\r\n" if status == 503 else b""
        head = b"HTTP/1.1 %d Refused\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%bConnection: close\r\n\r\n"
        self._wire.write(head % (status, len(body), retry) + body)
        self.since = self.since or self.loop.time()
        self.part()

    def part(self) -> None:
        """Close, so that what was said arrives: closing with bytes unread would reset it away, so those are read first."""
        if self.parting is not None or self._wire.is_closing():
            return
        self.parting = self.loop.time()
        if self.since is None:
            self._wire.close()
        elif self._wire.can_write_eof():
            self._wire.write_eof()

    def abort(self) -> None:
        self._wire.abort()

    def check(self, now: float) -> None:
        """Cut off who is overdue."""
        bounds = self.visitors.bounds
        if self.parting is not None:
            if now - self.parting > bounds.linger:
                self.abort()
        elif self._stuck is not None:
            if now - self._stuck > bounds.head + bounds.body:
                self.abort()
        elif self.since is not None:
            late = now - self.since
            if self.in_head and late > bounds.head and not self._busy:
                self.refuse(408, f"request: the head did not arrive within {bounds.head:g} s")
            elif late > bounds.head + bounds.body:
                self.abort()
        elif now - self._quiet > bounds.kept and not self._busy:
            self.timeout_keep_alive_handler()  # uvicorn forgets its own timer when a body ends after its answer

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def leave(self) -> None:
        """The server ends: the next answer is the last, and says so."""
        if self._busy and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def leave_if_idle(self, now: float) -> None:
        """At the end: close a connection on which nothing happens. An answer that began before still promised to go on."""
        nothing_came = self.since is None or (self.cycle is None and self._head == 0)
        if nothing_came and not self._busy and now - self._quiet > self.visitors.bounds.leaving and not self._waiting():
            self._wire.close()

    def _waiting(self) -> bool:
        """Are there bytes in the kernel that we have not read yet?"""
        found = array.array("i", [0])
        try:
            fcntl.ioctl(self._wire.get_extra_info("socket").fileno(), termios.FIONREAD, found)
        except OSError:
            return False
        return found[0] > 0


class _Wire:
    """A transport whose close() is the connection's `part`."""

    def __init__(self, transport: asyncio.Transport, part: Callable[[], None]) -> None:
        self._transport, self.close, self.write = transport, part, transport.write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
