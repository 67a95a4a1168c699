"""MLflow's scoring protocol (POST /invocations, GET /ping, /version), its deployments client's (/endpoints/NAME/invocations).

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/ : dataframe_split, dataframe_records, instances, inputs, CSV.
"""

import csv
import io
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pipelines.serving import intake
from pipelines.serving.apis.door import Door, asked_by, identified, texts_of
from pipelines.serving.exchange import Answered, Ask
from pipelines.serving.intake import Refused

TABLES = ("dataframe_split", "dataframe_records", "instances", "inputs")
KEYS = frozenset({*TABLES, "params", "prompt", "max_tokens", "temperature"})
SPEAKS = "3.17.2"
"""The MLflow release whose protocol this is."""


def routes(door: Door) -> list[Route]:
    async def invocations(request: Request) -> Response:
        user, holder = asked_by(door.holder(request), request)
        body = await door.body(request)
        if request.headers.get("content-type", "").startswith("text/csv"):
            content: dict[str, Any] = {"inputs": _of_csv(body)}
        else:
            content = intake.parse(body, KEYS)
        params = dict(_object(content.get("params", {}), "params"))
        params |= {key: content[key] for key in ("max_tokens", "temperature") if key in content}
        prompt = content.get("prompt")
        given = prompt if prompt is not None else _column(content)
        ask = Ask(
            door.inputs(given, "prompt" if prompt is not None else "inputs"), door.decoding(params, "params"), user, holder
        )
        answered = await door.answer(request, ask)
        told = {"predictions": texts_of(answered)} if prompt is None else _completion(door.spec.name, answered)
        return intake.reply(told, headers=identified(answered))

    async def ping(_request: Request) -> Response:
        ok, _ = await door.gateway.health()
        return Response(b"\n", 200 if ok else 503)

    async def version(_request: Request) -> Response:
        return PlainTextResponse(SPEAKS)

    async def endpoint(request: Request) -> Response:
        if request.path_params["name"] != door.spec.name:
            raise Refused(404, "no such endpoint here")
        return intake.reply(_endpoint(door.spec.name))

    async def endpoints(_request: Request) -> Response:
        return intake.reply({"endpoints": [_endpoint(door.spec.name)]})

    return [
        door.route("/invocations", invocations, shape=_shape),
        door.route(f"/endpoints/{door.spec.name}/invocations", invocations, shape=_shape),
        door.route("/ping", ping, "GET"),
        door.route("/health", ping, "GET"),
        door.route("/version", version, "GET"),
        door.route("/api/2.0/endpoints/", endpoints, "GET", _shape),
        door.route("/api/2.0/endpoints/{name}", endpoint, "GET", _shape),
    ]


def _shape(line: str, status: int) -> Mapping[str, Any]:
    codes = {400: "BAD_REQUEST", 401: "UNAUTHENTICATED", 404: "RESOURCE_DOES_NOT_EXIST", 429: "REQUEST_LIMIT_EXCEEDED"}
    return {"error_code": codes.get(status, "TEMPORARILY_UNAVAILABLE" if status == 503 else "INTERNAL_ERROR"), "message": line}


def _object(given: object, name: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise Refused(400, f"{name}: must be an object")
    return given


def _column(content: Mapping[str, Any]) -> object:
    """The texts: a list of them, or the only (or the `text`, `source`, `input`) column of a table."""
    named = [name for name in TABLES if name in content]
    if len(named) != 1:
        raise Refused(400, f"body: must hold one of {', '.join(TABLES)}")
    given = content[named[0]]
    if named[0] == "dataframe_split":
        table = _object(given, "dataframe_split")
        names, rows = table.get("columns"), table.get("data")
        if not isinstance(rows, list) or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Refused(400, "dataframe_split: must hold columns and data")
        if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
            raise Refused(400, "dataframe_split.data: each row must have a value a column")
        given = [dict(zip(names, row, strict=True)) for row in rows]
    if isinstance(given, dict):  # a column: {"text": [...]}
        only = _only(given)
        return given[only]
    if isinstance(given, list) and given and all(isinstance(row, dict) for row in given):
        only = _only(given[0])
        return [row.get(only) for row in given]
    return given


def _only(row: Mapping[str, Any]) -> str:
    known = [name for name in ("text", "source", "input", "inputs") if name in row] or list(row)
    if len(known) != 1:
        raise Refused(400, "inputs: must have one column of texts, or one that is called text")
    return known[0]


def _of_csv(body: bytes) -> list[object]:
    try:
        rows = list(csv.DictReader(io.StringIO(body.decode(), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise Refused(400, "body: must be CSV in UTF-8 with a header line") from None
    return [row.get(_only(rows[0])) for row in rows]


def _completion(name: str, answered: Answered) -> dict[str, Any]:
    """As an OpenAI completion: what MLflow's deployments client expects of `llm/v1/completions`."""
    read, written = (sum(getattr(o, f"{side}_tokens") for o in answered.outputs) for side in ("source", "target"))
    choices = [
        {"index": index, "text": output.text, "finish_reason": "stop" if output.finished else "length"}
        for index, output in enumerate(answered.outputs)
    ]
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    made = int(time.time())
    return {
        "id": answered.request, "object": "text_completion", "created": made, "model": name, "choices": choices, "usage": usage,
    }  # fmt: skip


def _endpoint(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "endpoint_type": "llm/v1/completions",
        "model": {"name": name, "provider": "seqline"},
        "endpoint_url": f"/endpoints/{name}/invocations",
        "limit": None,
    }
