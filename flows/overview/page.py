"""`seqline overview` (python -m flows.overview.page): a page for all models, live, at http://127.0.0.1:8100 of this machine.

What it shows is gathered in the background (gathering.py); a request is answered with the last whole gathering, at once.
"""

import asyncio
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from flows.reporting import console, report
from flows.settings import Settings
from pipelines.errors import SeqlineError, UserError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from pipelines.overview.facts import Overview

HOST, PORT = "127.0.0.1", 8100
NAMES = ("127.0.0.1", "localhost")  # a page of another name that leads here (DNS rebinding) is refused
STUCK = 60.0  # seconds without a gathering after which /healthz says so
TEXT = "text/plain; charset=utf-8"

log = logging.getLogger(__name__)


class Shown(NamedTuple):
    """A gathering as it is served, made `at` seconds since the epoch."""

    at: float
    page: bytes
    facts: bytes


def overview(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port on the loopback.")] = PORT,
    as_json: Annotated[bool, typer.Option("--json", help="Gather once, print the facts as JSON and end.")] = False,
) -> None:
    """Serve the status page of all models, until Ctrl-C."""
    from flows.overview.gathering import Gatherer
    from pipelines.overview import page

    settings = Settings().apply()
    if as_json:
        with Gatherer(settings).at_work() as gatherer:
            report(page.plain(gatherer.gather(patience=60)), True, "")
        return
    console.print(f"the status page of all models: http://{HOST}:{port} (as JSON: /overview.json; end it: Ctrl-C)")
    serve(settings, port)


def serve(settings: Settings, port: int = PORT) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        UserError: the port is taken.
    """
    import uvicorn

    try:
        listener = socket.create_server((HOST, port))
    except OSError as error:
        raise UserError(f"http://{HOST}:{port} is taken ({error.strerror}): stop what holds it, or give --port") from None
    with closing(listener):
        config = uvicorn.Config(application(settings), log_config=None, access_log=False, timeout_graceful_shutdown=2)
        uvicorn.Server(config).run([listener])


def application(settings: Settings) -> "Starlette":
    """The page, its JSON, /healthz, the page of each model's last rollout, and the runbooks."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.routing import Route

    desk = Desk(settings)
    routes = [
        Route("/", desk.page),
        Route("/overview.json", desk.facts),
        Route("/healthz", desk.health),
        Route("/metrics", desk.metrics),
        Route("/rollout/{name}", desk.rollout),
        Route("/runbook/{name}", desk.runbook),
    ]
    named = Middleware(TrustedHostMiddleware, allowed_hosts=list(NAMES), www_redirect=False)
    return Starlette(routes=routes, middleware=[named], lifespan=desk.lifespan)


class Desk:
    """Answers requests from the last gathering, which a thread replaces every few seconds."""

    def __init__(self, settings: Settings) -> None:
        from flows.overview.gathering import Gatherer
        from pipelines.overview import page

        self._settings = settings
        self._gatherer = Gatherer(settings)
        self._headers = page.headers()
        self._ended = threading.Event()
        self._shown = _shown(self._gatherer.latest)
        self.answered = False
        """Whether a gathering is shown: before the first one the page knows of no model."""

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncIterator[None]:
        thread = threading.Thread(target=self._gather, name="overview", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            await asyncio.to_thread(thread.join)

    def _gather(self) -> None:
        from flows.overview.gathering import ROUND

        with self._gatherer.at_work() as gatherer:
            while not self._ended.is_set():
                began = time.monotonic()
                try:
                    gatherer.gather()
                    self._shown, self.answered = _shown(gatherer.latest), True
                except Exception:
                    log.exception("a gathering failed: the one before is shown")
                self._ended.wait(max(ROUND / 3, ROUND - (time.monotonic() - began)))

    def _latest(self) -> "Overview":
        """The last gathering; where none has followed for long its facts are as old as they are, whatever keeps the next."""
        from pipelines.overview.page import LATE
        from pipelines.overview.wording import span

        found, now = self._gatherer.latest, time.time()
        if abs(now - found.at) <= LATE:
            return found
        said = f"nothing was gathered for {span(abs(now - found.at))}: see logs/overview.log"
        return replace(found, at=now, problem="; ".join(filter(None, (found.problem, said))))

    def _served(self) -> Shown:
        found = self._latest()
        return self._shown if found is self._gatherer.latest else _shown(found)

    async def page(self, _request: object) -> "Response":
        from starlette.responses import HTMLResponse

        return HTMLResponse(self._served().page, headers=self._headers)

    async def facts(self, _request: object) -> "Response":
        from starlette.responses import Response

        return Response(self._served().facts, media_type="application/json", headers=self._headers)

    async def metrics(self, _request: object) -> "Response":
        """What no gateway knows, for Prometheus (exported.py)."""
        from starlette.responses import Response

        from flows.overview import exported

        return Response(exported.text(self._latest()), media_type="text/plain; version=0.0.4")

    async def health(self, _request: object) -> "Response":
        from starlette.responses import JSONResponse

        age = time.time() - self._shown.at
        return JSONResponse({"ok": age < STUCK, "gathered_seconds_ago": round(age, 1)}, 200 if age < STUCK else 503)

    async def rollout(self, request: "Request") -> "Response":
        """The page of a model's last rollout, drawn now."""
        from starlette.responses import HTMLResponse, PlainTextResponse

        try:
            drawn = await asyncio.to_thread(self._rollout, request.path_params["name"])
        except SeqlineError as error:
            said = str(error) if isinstance(error, UserError) else "the rollout database does not answer"
            return PlainTextResponse(said, 404 if isinstance(error, UserError) else 503)
        own = {**self._headers, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(drawn, headers=own)

    def _rollout(self, name: str) -> str:
        from pipelines.overview.onlooker import Onlooker
        from pipelines.rollout import page

        if name not in {model.name for model in self._gatherer.latest.models}:
            raise UserError("there is no such model")
        store = Onlooker(self._settings.database)
        try:
            return page.latest(store, name)
        finally:
            store.engine.dispose()

    async def runbook(self, request: "Request") -> "Response":
        """A page of infra/runbooks/, as it is written."""
        from starlette.responses import PlainTextResponse

        name = request.path_params["name"]
        if name not in self._gatherer.latest.runbooks:
            return PlainTextResponse("there is no such runbook", 404)
        path = self._settings.project / "infra" / "runbooks" / f"{name}.md"
        return PlainTextResponse(path.read_text(encoding="utf-8"), headers=self._headers)


def _shown(found: "Overview") -> Shown:
    from pipelines.overview import page

    facts = json.dumps(page.plain(found), ensure_ascii=False, allow_nan=False, indent=1)
    return Shown(found.at, page.html(found).encode(), facts.encode())


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        serve(Settings().apply())
    except UserError as error:
        sys.stderr.write(f"seqline: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
