"""`serve`: the gateway behind its two ports, from start to a graceful end.

A start: both ports are bound (a taken one is told at once), the gateway follows its route, the keys are read, the admin port
answers, the public port answers. An end: the public port finishes (front.py says how), then the admin port, then the gateway
with its mirrors, engines and journal.
"""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from pipelines.errors import Transient, UserError
from pipelines.rollout.store import Store
from pipelines.serving import admin as admin_api
from pipelines.serving import public
from pipelines.serving.admin import Admin
from pipelines.serving.connections import Bounds
from pipelines.serving.front import Front
from pipelines.serving.gateway import Gateway
from pipelines.serving.keys import Keys
from pipelines.serving.listening import listen
from pipelines.serving.supervisor import Fetch, Launch
from pipelines.spec import Spec

log = logging.getLogger("seqline.serving")
Ready = Callable[[str], None]
"""Told the base URL once the server answers."""
ADMIN_GRACE = 1.0  # seconds
HURRIED_SECONDS = 2.0  # for the engines and the journal, once the end was asked for twice


@dataclass(frozen=True)
class End:
    """When to end: `graceful` finishes what is in flight, `hurried` does not wait for it."""

    graceful: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self) -> None:
        """Asked once it is graceful, asked again hurried."""
        (self.hurried if self.graceful.is_set() else self.graceful).set()

    async def bring(self, front: Front) -> None:
        """End `front` when it is time."""
        await self.graceful.wait()
        front.should_exit = True
        await self.hurried.wait()
        front.hurry()


@dataclass(frozen=True)
class Back:
    """The admin port, taken, and what answers there."""

    listening: socket.socket
    admin: Admin


async def run(
    gateway: Gateway,
    listening: socket.socket,
    ready: Ready,
    stop: asyncio.Event,
    *,
    keys: Keys | None = None,
    back: Back | None = None,
    hurry: asyncio.Event | None = None,
) -> None:
    """Start the gateway and answer on `listening` until `stop`, then finish what is in flight (for at most the timeout of a
    request) and stop the gateway. `hurry` cuts that short. Without `keys` nobody needs one."""
    seconds = gateway.spec.serving.timeout_ms / 1000
    end = End(stop, hurry or asyncio.Event())
    front = Front(public.app(gateway, keys), lambda: ready(_url(listening)), grace=seconds + 1, bounds=Bounds(seconds))
    async with AsyncExitStack() as later:
        later.push_async_callback(_stop, gateway, end)
        await gateway.start()
        if keys:
            await _follow(keys, gateway, later)
            if back:
                await _open(gateway, keys, back, end, later)
        later.callback(asyncio.create_task(end.bring(front)).cancel)
        await front.serve([listening])


async def _follow(keys: Keys, gateway: Gateway, later: AsyncExitStack) -> None:
    """Read the keys now, and again and again until `later`."""
    try:
        await asyncio.to_thread(keys.read)
    except (Transient, SQLAlchemyError) as error:
        log.warning("keys: the rollout database is away (%s): the gateway starts all the same", type(error).__name__)
    gateway.telemetry.gauge("failed_logins", "Requests with a wrong key", lambda: keys.failed)
    later.callback(asyncio.create_task(keys.follow(gateway.telemetry.know_holders)).cancel)


async def _open(gateway: Gateway, keys: Keys, back: Back, end: End, later: AsyncExitStack) -> None:
    """Answer on the admin port until `later`."""
    application = admin_api.app(gateway, keys, back.admin, end.graceful.set)
    up = asyncio.Event()
    front = Front(application, up.set, grace=ADMIN_GRACE, bounds=Bounds(admin_api.BODY_SECONDS))
    serving = asyncio.create_task(front.serve([back.listening]))

    async def close() -> None:
        front.should_exit, front.force_exit = True, end.hurried.is_set()
        await serving

    later.push_async_callback(close)
    await up.wait()
    back.admin.ready(_url(back.listening))


async def _stop(gateway: Gateway, end: End) -> None:
    """Stop the gateway: in its own time or, hurried, within HURRIED_SECONDS; what is left then ends with this process."""
    stopping = asyncio.create_task(gateway.stop())
    hurried = asyncio.create_task(end.hurried.wait())
    await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    await asyncio.wait({stopping}, timeout=HURRIED_SECONDS)
    if not stopping.done():
        log.error("the end was asked for twice: engines and journal are left as they are")
        os._exit(0)
    await stopping


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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
    review_url: str | None = None,
    signer: Path | None = None,
    admin: Admin | None = None,
    standing: bool = True,
) -> None:
    """Serve `spec`'s model until SIGTERM or SIGINT; with no champion in the route yet, answer 503 till there is one.

    `fetch(version)` brings the folder of that version's Export; `key` keys the hashes of senders; `judge_url` receives sampled
    scrubbed pairs, `review_url` what people shall look at; host and port default to the spec's; `launch` replaces the start of
    engines (a proxy before one, say); `signer` is the public key that must have signed what they load. With `admin` there is an
    admin port too. `standing` says whether it is missed when it is gone. It returns when all is answered and written; a second
    signal cuts that short.

    Raises:
        UserError: an address is taken, or the admin key is too short.
    """
    keys = Keys(store, spec.name, spec.serving, admin_key=admin.key if admin else None)
    with ExitStack() as open_:
        listening = open_.enter_context(
            listen(spec.serving.host if host is None else host, spec.serving.port if port is None else port)
        )
        back = Back(open_.enter_context(_listen_behind(admin.port)), admin) if admin else None
        gateway = Gateway(
            spec, store, fetch=fetch, key=key, launch=launch, judge_url=judge_url, review_url=review_url, signer=signer,
            standing=standing,
        )  # fmt: skip
        with asyncio.Runner() as running:
            end = End()
            if threading.current_thread() is threading.main_thread():  # elsewhere there are no signals
                for number in (signal.SIGTERM, signal.SIGINT):
                    running.get_loop().add_signal_handler(number, end.ask)
            running.run(run(gateway, listening, ready, end.graceful, keys=keys, back=back, hurry=end.hurried))


def _listen_behind(port: int) -> socket.socket:
    try:
        return listen(admin_api.HOST, port)
    except UserError as error:
        raise UserError(str(error).replace("serving.port", "serving.admin_port")) from None
