"""Uvicorn as both the gateway and the engines run it: with httptools; engines on uvloop."""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import uvicorn
import uvloop

from pipelines.errors import UserError

T = TypeVar("T")
Application = Callable[..., Coroutine[Any, Any, None]]
"""Called as ASGI says."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """asyncio.run on uvloop, for servers without child processes: with some, uvloop 0.23 never ends closing its loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as running:
        return running.run(main)


class Server(uvicorn.Server):
    """Uvicorn with bounds, silent about requests, that tells `ready` and returns after a signal instead of dying of it.

    Requests in flight get `grace` seconds to finish once the server is to stop.
    """

    def __init__(self, application: Application, ready: Callable[[], None], *, grace: float, keep_alive: int = 30) -> None:
        super().__init__(
            uvicorn.Config(
                application, http="httptools", access_log=False, log_config=None, lifespan="off", ws="none",
                server_header=False, timeout_keep_alive=keep_alive, timeout_graceful_shutdown=round(grace) + 1,
            )
        )  # fmt: skip
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the signal is not raised again after the shutdown: there is more to finish then."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        UserError: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # with the protocol named, asyncio turns Nagle's algorithm off for what is accepted: else each answer can wait 40 ms
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
        return listening
    except OSError as error:
        listening.close()
        raise UserError(f"serving.port: cannot listen on {host}:{port}: {error.strerror or error}") from None
