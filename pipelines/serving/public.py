"""The public HTTP of a gateway: its APIs, its health and its numbers."""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.serving import intake
from pipelines.serving.apis import deepl, generate, inference, invocations, libretranslate, openapi, page
from pipelines.serving.apis.door import Door
from pipelines.serving.gateway import Gateway
from pipelines.serving.keys import Keys


def app(gateway: Gateway, keys: Keys | None = None) -> Starlette:
    """All that strangers may ask of a started gateway."""
    door = Door(gateway, keys)
    apis = [generate, invocations, inference]
    if gateway.spec.task == "translation":
        apis += [libretranslate, deepl]
    routes = [*_own(gateway), page.route(gateway.spec), openapi.route(gateway.spec)]
    for api in apis:
        routes += api.routes(door)
    return Starlette(routes=routes, exception_handlers={HTTPException: intake.plain_refusal})


def _own(gateway: Gateway) -> list[Route]:
    async def healthz(_request: Request) -> Response:
        ok, content = await gateway.health()
        return intake.reply(content, 200 if ok else 503)

    async def metrics(_request: Request) -> Response:
        return Response(gateway.telemetry.text(), media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/metrics", metrics)]
