"""Strangers' connections on a real socket: what is late, large or too much is cut off; an end drops nobody's request."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pipelines.serving.connections import HEAD_BYTES, Bounds
from pipelines.serving.front import Front, accept_queue
from pipelines.serving.listening import listen
from tests.serving.site import until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
STRICT = Bounds(body=0.3, head=0.3, kept=0.3, leaving=0.3, linger=0.3)
PATIENT = Bounds(body=30, leaving=0.3)


class Running:
    """A front before a small application, on a loop in a thread. Requests to /held wait for `release`."""

    def __init__(self, bounds: Bounds, grace: float) -> None:
        self.held = 0
        routes = [Route("/", self._plain, methods=["GET", "POST"]), Route("/held", self._held), Route("/stream", self._stream)]
        more = [Route("/early", self._early, methods=["POST"]), Route("/large", self._large)]
        up = threading.Event()
        self.front = Front(Starlette(routes=[*routes, *more]), up.set, grace=grace, bounds=bounds)
        self.listening = listen("127.0.0.1", 0)
        self.port = self.listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert up.wait(30)

    def _run(self) -> None:
        with self.listening, asyncio.Runner() as running:
            self.loop = running.get_loop()
            self._gate = asyncio.Event()
            running.run(self.front.serve([self.listening]))

    async def _plain(self, request: Request) -> Response:
        return PlainTextResponse(f"read {len(await request.body())}")

    async def _held(self, _request: Request) -> Response:
        self.held += 1
        await self._gate.wait()
        return PlainTextResponse("held")

    async def _stream(self, _request: Request) -> Response:
        async def parts() -> Any:
            self.held += 1
            yield "one "
            await self._gate.wait()
            yield "two"

        return StreamingResponse(parts())

    async def _early(self, _request: Request) -> Response:
        return PlainTextResponse("no", 400, {"Connection": "close"})

    async def _large(self, _request: Request) -> Response:
        return Response(b"x" * 50_000_000)

    def do(self, action: Callable[[], object]) -> None:
        """Call it in the loop, and return when it was called."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (action(), done.set()))
        assert done.wait(10)

    def release(self) -> None:
        self.do(self._gate.set)

    def end(self) -> None:
        """Begin the end; returns when no connection is made any more."""
        self.front.should_exit = True
        until(lambda: self.front.visitors.leaving)

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.front.hurry()
        self.join()


@contextmanager
def running(bounds: Bounds = PATIENT, grace: float = 20.0) -> Iterator[Running]:
    server = Running(bounds, grace)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def strict() -> Iterator[Running]:
    with running(STRICT) as server:
        yield server


@contextmanager
def talking(server: Running) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        yield sock


def answer(sock: socket.socket) -> tuple[int, str, bytes]:
    """(status, Connection header, body) of the next answer; (0, "", b"") when the connection was closed without one."""
    got = b""
    while b"\r\n\r\n" not in got:
        if not (more := sock.recv(65_536)):
            assert not got
            return 0, "", b""
        got += more
    head, _, body = got.partition(b"\r\n\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head.decode().split("\r\n")[1:])}
    length = int(headers.get("content-length", "0"))
    while len(body) < length or (headers.get("transfer-encoding") == "chunked" and not body.endswith(b"0\r\n\r\n")):
        body += sock.recv(65_536)
    return int(head.split()[1]), headers.get("connection", ""), body


def closed(sock: socket.socket) -> bool:
    """Does it end without a word?"""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def to(path: str) -> bytes:
    return GET.replace(b"/ ", path.encode() + b" ", 1)


def test_who_waits_to_be_accepted_at_the_end_is_answered() -> None:
    with running() as server:
        waiting: list[socket.socket] = []

        def connect_and_end() -> None:  # in one turn of the loop, which cannot accept meanwhile
            for _ in range(5):
                waiting.append(socket.create_connection(("127.0.0.1", server.port), timeout=20))
                waiting[-1].sendall(GET)
            assert accept_queue(server.listening) == 5
            server.loop.create_task(server.front.shutdown([server.listening]))

        server.do(connect_and_end)
        assert [answer(sock) for sock in waiting] == [(200, "close", b"read 0")] * 5
        for sock in waiting:
            sock.close()
        until(lambda: server.listening.fileno() == -1)
        with pytest.raises(ConnectionRefusedError), talking(server):
            pass
        server.end()
        server.join()


def test_a_request_on_a_kept_connection_after_the_end_began_is_answered_as_the_last() -> None:
    with running() as server, talking(server) as sock:
        sock.sendall(GET)
        assert answer(sock) == (200, "", b"read 0")
        server.end()
        sock.sendall(GET)
        assert answer(sock) == (200, "close", b"read 0")
        assert sock.recv(1) == b""
        server.join()


def test_what_is_in_flight_is_finished_and_says_that_it_was_the_last() -> None:
    with running() as server, talking(server) as sock, talking(server) as half:
        sock.sendall(to("/held"))
        half.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        until(lambda: server.held == 1)
        server.end()
        server.release()
        half.sendall(b"cd")
        assert answer(sock) == (200, "close", b"held")
        assert answer(half) == (200, "close", b"read 4")
        server.join()


def test_a_stream_that_promised_to_keep_its_connection_keeps_it() -> None:
    with running() as server, talking(server) as sock:
        sock.sendall(to("/stream"))
        until(lambda: server.held == 1)
        server.end()
        server.release()
        status, connection, body = answer(sock)
        assert (status, connection) == (200, "")
        assert b"two" in body
        sock.sendall(GET)
        assert answer(sock) == (200, "close", b"read 0")
        server.join()


def test_silent_connections_do_not_hold_up_the_end() -> None:
    with running() as server, talking(server) as silent, talking(server) as kept:
        kept.sendall(GET)
        answer(kept)
        server.end()
        server.join()
        assert (silent.recv(1), kept.recv(1)) == (b"", b"")


def test_the_grace_is_the_longest_that_an_end_takes() -> None:
    with running(grace=0.5) as server, talking(server) as sock:
        sock.sendall(to("/held"))
        until(lambda: server.held == 1)
        server.end()
        server.join()


def test_a_hurried_end_waits_for_nobody() -> None:
    with running(grace=600) as server, talking(server) as sock:
        sock.sendall(to("/held"))
        until(lambda: server.held == 1)
        server.end()
        server.do(server.front.hurry)
        server.join()


@pytest.mark.parametrize("said", [b"", b"G", b"GET /secretword HTTP/1.1\r\nX-Slow: ", b"\r\n"])
def test_a_head_that_does_not_come_is_cut_off(strict: Running, said: bytes) -> None:
    with talking(strict) as sock:
        sock.sendall(said)
        status, connection, body = answer(sock)
        assert (status, connection) in {(408, "close"), (0, "")}
        assert b"secretword" not in body
        assert sock.recv(1) == b""


def test_a_kept_connection_is_closed_in_time_and_a_second_head_must_come_too(strict: Running) -> None:
    with talking(strict) as silent, talking(strict) as slow:
        for sock in (silent, slow):
            sock.sendall(GET)
            assert answer(sock)[0] == 200
        slow.sendall(b"GET / HT")
        assert answer(slow)[0] == 408
        assert silent.recv(1) == b""


def test_a_body_that_does_not_come_is_cut_off(strict: Running) -> None:
    with talking(strict) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsecretword")
        assert closed(sock)


def test_an_answer_that_nobody_reads_is_cut_off(strict: Running) -> None:
    with talking(strict) as sock:
        sock.sendall(to("/large"))
        until(lambda: not strict.front.visitors.connections)
        until(lambda: not strict.front.visitors.tasks)


def test_a_body_that_ends_after_its_answer_leaves_no_connection_behind(strict: Running) -> None:
    with talking(strict) as sock:
        sock.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        assert answer(sock)[0] == 404
        sock.sendall(b"cd")
        assert sock.recv(1) == b""


def test_an_early_refusal_reaches_a_sender_that_is_still_sending() -> None:
    with running() as server, talking(server) as sock:
        sock.sendall(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n")
        sock.sendall(b"x" * 5_000_000)
        assert answer(sock) == (400, "close", b"no")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"X-Long: " + b"secretword" * (HEAD_BYTES // 10) + b"\r\n", 431),
        (b"".join(b"X-%d: secretword\r\n" % number for number in range(2_000)), 431),
        (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"Content-Length: 3\r\nContent-Length: 4\r\n", 400),
        (b"secretword\x00: a\r\n", 400),
    ],
)
def test_a_bad_head_gets_one_line_that_echoes_nothing(strict: Running, head: bytes, status: int) -> None:
    with talking(strict) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
        found, connection, body = answer(sock)
        assert (found, connection) == (status, "close")
        assert body.startswith(b'{"error":"request: ')
        assert b"secretword" not in body


def test_an_upgrade_that_is_not_made_is_answered_as_the_last(strict: Running) -> None:
    with talking(strict) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n")
        assert answer(sock) == (200, "close", b"read 0")


def test_with_too_many_connections_the_longest_stalled_goes_and_a_busy_one_stays() -> None:
    with running(Bounds(body=30, connections=2)) as server, talking(server) as busy, talking(server) as stalled:
        busy.sendall(to("/held"))
        stalled.sendall(b"GET /")
        until(lambda: server.held == 1 and len(server.front.visitors.connections) == 2)
        with talking(server) as fresh:
            fresh.sendall(to("/held"))
            until(lambda: server.held == 2)
            with talking(server) as one_more:
                one_more.sendall(GET)
                status, connection, body = answer(one_more)
                assert (status, connection) == (503, "close")
                assert b"too many connections" in body
            server.release()
            assert (answer(busy)[0], answer(fresh)[0]) == (200, 200)
        assert closed(stalled)
