"""HTTP in front of the gateway, and `serve`, which runs it until SIGTERM or SIGINT."""

import asyncio
import socket
from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.rollout.store import Store
from pipelines.serving import intake
from pipelines.serving.gateway import Gateway
from pipelines.serving.listening import Server, listen
from pipelines.serving.supervisor import Fetch, Launch
from pipelines.spec import Spec

Ready = Callable[[str], None]
"""Told the base URL once the server answers."""


def app(gateway: Gateway) -> Starlette:
    """The HTTP of a started gateway: POST /v1/generate, GET /healthz, GET /metrics."""
    limits = gateway.spec.serving
    largest = intake.largest_body(limits)

    async def generate(request: Request) -> Response:
        user = intake.user_of(request)
        body = await intake.read_body(request, largest, limits.timeout_ms / 1000)
        inputs = intake.inputs_of(intake.parse(body, frozenset({"inputs"})), limits)
        answered = await intake.unless_gone(request, gateway.generate(inputs, user))
        outputs = [{**output.model_dump(), "version": answered.version} for output in answered.outputs]
        content = {"model": gateway.spec.name, "version": answered.version, "outputs": outputs}
        return intake.reply(content, headers={"X-Request-Id": answered.request})

    async def healthz(_request: Request) -> Response:
        ok, content = await gateway.health()
        return intake.reply(content, 200 if ok else 503)

    async def metrics(_request: Request) -> Response:
        return Response(gateway.telemetry.text(), media_type=CONTENT_TYPE_LATEST)

    refused = lambda status: gateway.telemetry.refused(status).inc()  # noqa: E731
    routes = [
        Route("/v1/generate", intake.in_one_line(generate, refused), methods=["POST"]),
        Route("/healthz", healthz),
        Route("/metrics", metrics),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: intake.plain_refusal})


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
