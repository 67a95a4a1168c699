"""The admin API of a gateway: its own port, loopback only, and nothing without an admin key but the page, which says nothing.

GET  /          the page, champion and canary side by side
GET  /status    what is served, by which engines, what is in flight and spent
GET  /metrics   as the public one
GET  /rollout   the page of the last rollout: weights, e-values, budgets, verdicts
POST /rollback  {"why"}: as `seqline rollback`
POST /drain     finish what is in flight and end, as SIGTERM does
POST /compare   {"inputs", "decoding"?}: champion's and canary's answers; no evidence, no cache, not in the journal
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from pipelines.errors import Transient, UserError
from pipelines.serving import intake
from pipelines.serving.apis import page
from pipelines.serving.apis.door import Door
from pipelines.serving.exchange import Ask
from pipelines.serving.gateway import Gateway
from pipelines.serving.intake import Refused
from pipelines.serving.keys import Holder, Keys

LONGEST_BODY = 65_536  # bytes, of all but /compare
LONGEST_WHY = 500  # characters
BODY_SECONDS = 10.0
HOST = "127.0.0.1"
Action = Callable[[Request, Holder], Awaitable[Response]]

Rollback = Callable[[str, str], str]
"""(why, by whom) -> what was done; it raises UserError when there is nothing to go back to."""
Drawn = Callable[[], str]
"""The HTML of the last rollout; it raises UserError when there was none."""


def _not_drawn() -> str:
    raise UserError("this gateway was started without a rollout's page")


@dataclass(frozen=True)
class Admin:
    """How a gateway is administered. `rollback` and `rollout` are handed in, since the rollout is no part of serving.

    `key` opens it (beside API keys with `admin`); `port` 0 takes a free one; `ready` is told its base URL.
    """

    key: str
    rollback: Rollback
    port: int
    ready: Callable[[str], None] = lambda _: None
    rollout: Drawn = _not_drawn


class Desk:
    """What an admin can do, each with who asks."""

    def __init__(self, gateway: Gateway, keys: Keys, admin: Admin, drain: Callable[[], None]) -> None:
        self._gateway, self._keys, self._admin, self._drain = gateway, keys, admin, drain
        self._door = Door(gateway)
        self._began = time.time()

    async def status(self, _request: Request, _holder: Holder) -> Response:
        _, content = await self._gateway.health()
        seconds = round(time.time() - self._began)
        return intake.reply({**content, "failed_logins": self._keys.failed, "seconds": seconds})

    async def metrics(self, _request: Request, _holder: Holder) -> Response:
        return Response(self._gateway.telemetry.text(), media_type=CONTENT_TYPE_LATEST)

    async def rollback(self, request: Request, holder: Holder) -> Response:
        why = await _why(request)
        try:
            return intake.reply({"done": await asyncio.to_thread(self._admin.rollback, why, holder.name)})
        except UserError as error:
            raise Refused(409, str(error)) from None
        except Transient:
            raise Refused(503, "the rollout database does not answer: try again") from None

    async def rollout(self, _request: Request, _holder: Holder) -> Response:
        try:
            return HTMLResponse(await asyncio.to_thread(self._admin.rollout), headers=page.HEADERS)
        except UserError as error:
            raise Refused(404, str(error)) from None
        except Transient:
            raise Refused(503, "the rollout database does not answer: try again") from None

    async def drain(self, _request: Request, _holder: Holder) -> Response:
        self._drain()
        return intake.reply({"draining": True}, 202)

    async def compare(self, request: Request, holder: Holder) -> Response:
        content = intake.parse(await self._door.body(request), frozenset({"inputs", "decoding"}))
        inputs, decoding = self._door.inputs(content.get("inputs")), self._door.decoding(content.get("decoding"))
        routing, ask = self._gateway.routing, Ask(inputs, decoding, holder=holder.name)
        live = (routing.champion, routing.applied.canary)
        first, second = await asyncio.gather(*(_answer(self._gateway, version, ask) for version in live))
        return intake.reply({"champion": first, "canary": second})

    def route(self, path: str, action: Action, method: str) -> Route:
        """A route for holders of an admin key only."""

        async def answer(request: Request) -> Response:
            holder = self._keys.admin(request.headers, request.client.host if request.client else "")
            return await action(request, holder)

        def refused(status: int) -> None:
            self._gateway.telemetry.refused(status).inc()

        return Route(path, intake.in_one_line(answer, refused), methods=[method])


def app(gateway: Gateway, keys: Keys, admin: Admin, drain: Callable[[], None]) -> Starlette:
    """The admin HTTP of a started gateway."""
    desk = Desk(gateway, keys, admin, drain)
    routes = [
        page.route(gateway.spec, admin=True),
        desk.route("/status", desk.status, "GET"),
        desk.route("/metrics", desk.metrics, "GET"),
        desk.route("/rollout", desk.rollout, "GET"),
        desk.route("/rollback", desk.rollback, "POST"),
        desk.route("/drain", desk.drain, "POST"),
        desk.route("/compare", desk.compare, "POST"),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: intake.plain_refusal})


async def _why(request: Request) -> str:
    """The reason in a body that may be empty.

    Raises:
        Refused: 400.
    """
    body = await intake.read_body(request, LONGEST_BODY, BODY_SECONDS)
    why = intake.parse(body, frozenset({"why"})).get("why", "") if body else ""
    if not isinstance(why, str) or len(why) > LONGEST_WHY or not why.isprintable():
        raise Refused(400, f"why: must be a text of one line, at most {LONGEST_WHY} characters")
    return why


async def _answer(gateway: Gateway, version: str | None, ask: Ask) -> dict[str, object] | None:
    """What one version answers, and how fast; or why it does not. None for no version."""
    if version is None:
        return None
    began = time.monotonic()
    try:
        answered = await gateway.answer_by(version, ask)
    except Refused as error:
        return {"version": version, "error": error.line}
    milliseconds = round(1000 * (time.monotonic() - began), 1)
    outputs = [output.model_dump() for output in answered.outputs]
    return {"version": version, "milliseconds": milliseconds, "outputs": outputs}
