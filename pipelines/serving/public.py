"""The public HTTP of a gateway."""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.serving import intake
from pipelines.serving.exchange import Ask
from pipelines.serving.gateway import Gateway


def app(gateway: Gateway) -> Starlette:
    """The HTTP of a started gateway: POST /v1/generate, GET /healthz, GET /metrics."""
    limits = gateway.spec.serving
    largest = intake.largest_body(limits)

    async def generate(request: Request) -> Response:
        user = intake.user_of(request)
        body = await intake.read_body(request, largest, limits.timeout_ms / 1000)
        inputs = intake.inputs_of(intake.parse(body, frozenset({"inputs"})), limits)
        answered = await intake.unless_gone(request, gateway.generate(Ask(inputs, limits.decoding, user)))
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
