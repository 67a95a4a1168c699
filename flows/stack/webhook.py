"""An ear for MLflow, which can say that a version was made: the controller then looks at once, not after two seconds.

Only a hint: what a request says is never read, for the tick reads the registry as it always does. So the worst that anybody
could win here is a tick too early; and even that takes a signature of this watch's own secret, of this very minute, once.
What is lost costs nothing but the two seconds: the poll is the truth.

Used with the MLflow that `seqline up` starts (stack.webhooks), and with another one of this machine that MLFLOW_TRACKING_URI
names, if it was started with MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https, MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true and a
MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY. One elsewhere cannot reach the loopback: it is polled.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager

import uvicorn
from cachetools import TTLCache
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from flows.settings import Settings
from flows.stack import members as stack
from pipelines.errors import SeqlineError
from pipelines.registry import webhooks

Wait = Callable[[float], None]
"""Waits so many seconds, or less when there is something to see."""

HOST = "127.0.0.1"
LARGEST_BODY = 256 * 2**10  # MLflow sends a version's tags along
BODY_SECONDS = 5.0  # as long as MLflow waits for an answer
FRESH_SECONDS = 60.0  # either way; MLflow's own repeats come within ten
REMEMBERED = 1_000  # deliveries in two such spans: beyond them it is a flood, and the poll does as well
REST_SECONDS = 0.1  # between two ticks, however many knock
CONNECTIONS = 16
DELIVERY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SECONDS = re.compile(r"[0-9]{1,12}")


class Ear:
    """Hears signed deliveries, each once; counts what it takes and what it refuses, by the reason."""

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._secret, self._clock = secret.encode(), clock
        self._known: TTLCache[str, None] = TTLCache(REMEMBERED, 2 * FRESH_SECONDS, clock)
        self._heard = threading.Event()
        self.counts: Counter[str] = Counter()

    def take(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Wake who waits; or why not."""
        refused = self._refusal(headers, body)
        self.counts[refused or "taken"] += 1
        if refused is None:
            self._heard.set()
        return refused

    def wait(self, seconds: float) -> None:
        """Until a delivery is taken, `seconds` at the most; what came since the last wait counts."""
        time.sleep(min(seconds, REST_SECONDS))
        if self._heard.wait(max(0.0, seconds - REST_SECONDS)):
            self._heard.clear()

    def _refusal(self, headers: Mapping[str, str], body: bytes) -> str | None:
        delivery, at = headers.get("x-mlflow-delivery-id", ""), headers.get("x-mlflow-timestamp", "")
        # with any other letters, id, time and body could be cut anew from what was signed together
        if not DELIVERY.fullmatch(delivery) or not SECONDS.fullmatch(at):
            return "no delivery id or no time"
        wanted = signature(self._secret, delivery, at, body)
        if not hmac.compare_digest(wanted, headers.get("x-mlflow-signature", "").encode("utf-8", "replace")):
            return "signature"
        if abs(self._clock() - int(at)) > FRESH_SECONDS:
            return "time"
        if delivery in self._known:
            return "replay"
        if len(self._known) >= REMEMBERED:
            return "flood"
        self._known[delivery] = None
        return None


def signature(secret: bytes, delivery: str, at: str, body: bytes) -> bytes:
    """As MLflow signs: HMAC-SHA256 of id, time and body, with the version of the scheme before it."""
    signed = hmac.digest(secret, f"{delivery}.{at}.".encode() + body, hashlib.sha256)
    return b"v1," + base64.b64encode(signed)


def application(ear: Ear) -> Starlette:
    """POST / for MLflow, GET /healthz for what was taken and refused."""

    async def post(request: Request) -> JSONResponse:
        length = request.headers.get("content-length", "")
        if not SECONDS.fullmatch(length) or int(length) > LARGEST_BODY:
            ear.counts["size"] += 1
            return JSONResponse({"error": f"send at most {LARGEST_BODY} bytes, with Content-Length"}, 413)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await request.body()
        except (ClientDisconnect, TimeoutError):
            ear.counts["broken off"] += 1
            return JSONResponse({"error": "the body did not come"}, 400)
        refused = ear.take(request.headers, body)
        return JSONResponse({"error": refused}, 403) if refused else JSONResponse({}, 202)

    async def health(_: Request) -> JSONResponse:
        return JSONResponse(dict(ear.counts))

    return Starlette(routes=[Route("/", post, methods=["POST"]), Route("/healthz", health)])


@contextmanager
def served(ear: Ear) -> Iterator[str]:
    """The ear's address, on a free port of the loopback, for as long as the block."""
    with closing(socket.create_server((HOST, 0))) as listener:
        config = uvicorn.Config(
            application(ear), log_config=None, access_log=False, limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), name="webhook", daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def listening(name: str, settings: Settings, console: Console) -> Iterator[Wait]:
    """How to wait between two ticks: until MLflow says that a version was made, where it can, else for all the seconds."""
    uri = settings.mlflow if settings.mlflow.startswith("http") else settings.mlflow_ui if stack.running(settings) else ""
    if not webhooks.is_here(uri):
        yield time.sleep
        return
    secret = secrets.token_hex(32)
    ear = Ear(secret)
    with ExitStack() as around:
        url = around.enter_context(served(ear))
        try:
            around.enter_context(webhooks.told(uri, f"{name} in {settings.workspace}", url, secret))
        except SeqlineError as error:
            console.print(f"no webhook, so MLflow is asked every 2 s: {error}", markup=False)
        yield ear.wait
        if refused := {why: count for why, count in sorted(ear.counts.items()) if why != "taken"}:
            console.print(f"webhook: refused {', '.join(f'{why} {count}' for why, count in refused.items())}", markup=False)
