"""A page to try the model on: at `/` of the gateway, and, champion and canary side by side, of its admin port."""

from pathlib import Path

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from pipelines.spec import Spec

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:;"
    " connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def route(spec: Spec, *, admin: bool = False) -> Route:
    """GET /. The admin's page posts to /compare, the public one to /v1/generate."""
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True).from_string(text)
    shown = page.render(
        name=spec.name, task=spec.task, longest=spec.serving.max_chars, keyed=spec.serving.api_keys == "required", admin=admin
    )

    async def page_of(_request: Request) -> Response:
        return HTMLResponse(shown, headers=HEADERS)

    return Route("/", page_of)
