"""GET /openapi.json: what the public APIs take and give, with examples (OpenAPI 3.1)."""

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.serving import intake
from pipelines.serving.apis import languages
from pipelines.serving.exchange import Output
from pipelines.spec import Decoding, Spec

Json = dict[str, Any]
REFUSALS = {
    400: "What was sent breaks a rule: one line names it",
    401: "An API key is needed",
    408: "The body did not arrive in time",
    429: "Too much at once, over a rate limit or over the spend cap: Retry-After says when",
    431: "The headers are too large",
    503: "Nothing can answer right now: Retry-After says when",
}
TEXT = {"type": "string", "minLength": 1}
EXAMPLE = "Description: a library that reads and writes images of many kinds"


def route(spec: Spec) -> Route:
    described = intake.reply(document(spec))

    async def openapi(_request: Request) -> Response:
        return described

    return Route("/openapi.json", openapi)


def document(spec: Spec) -> Json:
    """The description of all that a gateway of `spec` answers."""
    paths = _generate(spec) | _inference(spec) | _invocations(spec) | _feedback()
    if spec.task == "translation":
        paths |= _libretranslate(spec) | _deepl(spec)
    paths["/healthz"] = {"get": _operation("What is served now", None, {"type": "object"}, statuses=(503,))}
    keyed = spec.serving.api_keys == "required"
    return {
        "openapi": "3.1.0",
        "info": {"title": spec.name, "version": "1", "description": f"{spec.task} by seqline"},
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        **({"security": [{"key": []}]} if keyed else {}),
    }


def _operation(
    summary: str,
    body: Json | None,
    answer: Json,
    *,
    example: Json | None = None,
    refusal: str = "error",
    statuses: Iterable[int] = tuple(REFUSALS),
    form: bool = False,
    media: Mapping[str, Json] | None = None,
) -> Json:
    """One method of one path; `refusal` is the key under which its refusals put their line."""
    line = {"type": "object", "required": [refusal], "properties": {refusal: {"type": "string"}}}
    responses: Json = {
        str(status): {"description": REFUSALS[status], "content": {"application/json": {"schema": line}}} for status in statuses
    }
    if "503" in responses and body is None:
        responses["503"]["content"]["application/json"]["schema"] = {}
    responses["200"] = {"description": "The answer", "content": {"application/json": {"schema": answer}, **(media or {})}}
    made: Json = {"summary": summary, "responses": responses}
    if body is not None:
        content: Json = {"schema": body, **({"example": example} if example else {})}
        made["requestBody"] = {"required": True, "content": {"application/json": content}}
        if form:
            made["requestBody"]["content"]["application/x-www-form-urlencoded"] = content
    return made


def _object(required: Iterable[str], **properties: Json) -> Json:
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


def _decoding(spec: Spec) -> Json:
    schema = Decoding.model_json_schema()
    caps, own = spec.serving.caps, spec.serving.decoding
    schema["properties"]["beam"] |= {"maximum": max(caps.beam, own.beam), "default": own.beam}
    schema["properties"]["max_tokens"] |= {"maximum": max(caps.max_tokens, own.max_tokens), "default": own.max_tokens}
    return schema


def _texts(spec: Spec) -> Json:
    one = TEXT | {"maxLength": spec.serving.max_chars}
    return {"oneOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": spec.serving.max_inputs}]}


def _generate(spec: Spec) -> Json:
    output = Output.model_json_schema()
    output["properties"]["version"] = {"type": "string"}
    answer = {
        "type": "object",
        "required": ["request_id", "model", "version", "outputs"],
        "properties": {
            "request_id": {"type": "string"},
            "model": {"type": "string"},
            "version": {"type": "string"},
            "degraded": {"type": "array", "items": {"type": "string"}},
            "outputs": {"type": "array", "items": output},
        },
    }
    body = _object(
        ["inputs"],
        inputs=_texts(spec),
        decoding=_decoding(spec),
        stream={"type": "boolean", "description": "Server-sent events: delta {index, text}, then done, or error"},
        deadline_ms={"type": "number", "minimum": 1, "maximum": 3_600_000},
    )
    example = {"inputs": [EXAMPLE], "decoding": {"beam": 1}}
    events = {"text/event-stream": {"schema": {"type": "string"}}}
    return {"/v1/generate": {"post": _operation("Answer texts", body, answer, example=example, media=events)}}


def _feedback() -> Json:
    body = _object(
        ["request_id"],
        request_id=TEXT,
        index={"type": "integer", "minimum": 0},
        rating={"oneOf": [{"enum": ["up", "down"]}, {"type": "integer", "minimum": 1, "maximum": 5}]},
        correction=TEXT,
        comment=TEXT,
    )
    example = {"request_id": "0123456789abcdef0123456789abcdef", "rating": "down", "correction": "What it should have said"}
    operation = _operation("Say what you think of an answer", body, {"type": "object"}, example=example)
    operation["responses"]["202"] = operation["responses"].pop("200")
    operation["responses"]["404"] = {"description": "No such request, or too long ago"}
    return {"/v1/feedback": {"post": operation}}


def _inference(spec: Spec) -> Json:
    tensor = _object(
        ["name", "shape", "datatype", "data"],
        name={"type": "string"},
        shape={"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
        datatype={"const": "BYTES"},
        data={"type": "array", "items": TEXT},
        parameters={"type": "object"},
    )
    body = _object(
        ["inputs"],
        id={"type": "string", "maxLength": 256},
        inputs={"type": "array", "items": tensor, "minItems": 1, "maxItems": 1},
        outputs={"type": "array", "items": {"type": "object"}},
        parameters={"type": "object"},
    )
    example = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [EXAMPLE]}]}
    model = f"/v2/models/{spec.name}"
    bytes_too = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    anything: Json = {"type": "object"}
    return {
        "/v2": {"get": _operation("Open Inference Protocol: the server", None, anything, statuses=())},
        "/v2/health/live": {"get": _operation("Is it alive", None, anything, statuses=())},
        "/v2/health/ready": {"get": _operation("Can it answer", None, anything, statuses=(503,))},
        model: {"get": _operation("The model's tensors", None, anything, statuses=())},
        f"{model}/ready": {"get": _operation("Can the model answer", None, anything, statuses=(503,))},
        f"{model}/infer": {"post": _operation("Answer texts", body, anything, example=example, media=bytes_too)},
    }


def _invocations(spec: Spec) -> Json:
    answer = {"type": "object", "properties": {"predictions": {"type": "array", "items": {"type": "string"}}}}
    body = {"type": "object"}
    example = {"inputs": [EXAMPLE], "params": {"beam": 1}}
    operation = _operation("MLflow's scoring protocol", body, answer, example=example, refusal="message")
    operation["requestBody"]["content"]["text/csv"] = {"schema": {"type": "string"}}
    return {"/invocations": {"post": operation}, f"/endpoints/{spec.name}/invocations": {"post": operation}}


def _libretranslate(spec: Spec) -> Json:
    source, target = languages.pair(spec)
    body = _object(
        ["q"],
        q=_texts(spec),
        source={"enum": [source, "auto"]},
        target={"enum": [target]},
        format={"enum": ["text"]},
        alternatives={"type": "integer", "minimum": 0},
        api_key={"type": "string"},
    )
    example = {"q": "Save as", "source": source, "target": target}
    anything: Json = {}
    detect = _object(["q"], q=TEXT | {"maxLength": spec.serving.max_chars}, api_key={"type": "string"})
    return {
        "/translate": {"post": _operation("LibreTranslate: translate", body, anything, example=example, form=True)},
        "/detect": {"post": _operation("LibreTranslate: which language", detect, anything, example={"q": "Save"}, form=True)},
        "/languages": {"get": _operation("LibreTranslate: languages", None, anything, statuses=())},
    }


def _deepl(spec: Spec) -> Json:
    source, target = (code.upper() for code in languages.pair(spec))
    body = _object(
        ["text", "target_lang"],
        text=_texts(spec),
        source_lang={"enum": [source]},
        target_lang={"enum": [target]},
        context={"type": "string"},
        show_billed_characters={"type": "boolean"},
        auth_key={"type": "string"},
    )
    example = {"text": ["Save as"], "target_lang": target}
    anything: Json = {}
    translate = _operation("DeepL: translate", body, anything, example=example, refusal="message", form=True)
    return {
        "/v2/translate": {"post": translate},
        "/v2/languages": {"get": _operation("DeepL: languages", None, anything, statuses=(400, 401, 429))},
        "/v2/usage": {"get": _operation("DeepL: usage", None, anything, statuses=(401, 429))},
    }
