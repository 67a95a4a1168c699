"""HTTP in front of the gateway, and `serve`, which runs it until SIGTERM or SIGINT."""

import asyncio
import socket
from collections.abc import Callable

from pipelines.rollout.store import Store
from pipelines.serving.gateway import Gateway
from pipelines.serving.listening import Server, listen
from pipelines.serving.public import app
from pipelines.serving.supervisor import Fetch, Launch
from pipelines.spec import Spec

Ready = Callable[[str], None]
"""Told the base URL once the server answers."""


async def run(gateway: Gateway, listening: socket.socket, ready: Ready, stop: asyncio.Event) -> None:
    """Start the gateway, answer on `listening` until `stop` or a signal, then finish what is in flight and stop the gateway."""
    host, port = listening.getsockname()[:2]
    grace = gateway.spec.serving.timeout_ms / 1000
    server = Server(app(gateway), lambda: ready(f"http://{host}:{port}"), grace=grace)
    stopping = asyncio.create_task(_stop_with(server, stop))
    try:
        await gateway.start()
        await server.serve([listening])
    finally:
        stopping.cancel()
        await gateway.stop()


async def _stop_with(server: Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True


def serve(  # noqa: PLR0913  what is served, from where, and how to know
    spec: Spec,
    store: Store,
    fetch: Fetch,
    key: bytes,
    judge_url: str | None = None,
    host: str | None = None,
    port: int | None = None,
    ready: Ready = lambda _: None,
    *,
    launch: Launch | None = None,
) -> None:
    """Serve `spec`'s model until SIGTERM or SIGINT; with no champion in the route yet, answer 503 till there is one.

    `fetch(version)` brings the folder of that version's Export; `key` keys the hashes of senders; `judge_url` receives sampled
    scrubbed pairs; host and port default to the spec's; `launch` replaces the starting of engines (a proxy before one, say).

    Raises:
        UserError: the address is taken.
    """
    listening = listen(spec.serving.host if host is None else host, spec.serving.port if port is None else port)
    with listening:
        gateway = Gateway(spec, store, fetch=fetch, key=key, launch=launch, judge_url=judge_url)
        asyncio.run(run(gateway, listening, ready, asyncio.Event()))
