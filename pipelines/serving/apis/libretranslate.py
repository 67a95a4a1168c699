"""LibreTranslate's API for translation specs: /translate, /detect, /languages (JSON or an HTML form).

https://docs.libretranslate.com/ : plain text only; `alternatives` are not made; the key may come as `api_key`.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.serving import intake
from pipelines.serving.apis import languages
from pipelines.serving.apis.door import Door, asked_by, identified, texts_of
from pipelines.serving.exchange import Ask
from pipelines.serving.intake import Refused

KEYS = frozenset({"q", "source", "target", "format", "alternatives", "api_key"})


def routes(door: Door) -> list[Route]:
    async def translate(request: Request) -> Response:
        content = await door.fields(request, KEYS)
        user, holder = asked_by(door.holder(request, _text(content, "api_key", None)), request)
        if _text(content, "format", "text") != "text":
            raise Refused(400, "format: must be text")
        inputs = door.inputs(content.get("q"), "q")
        source = _text(content, "source", "auto")
        languages.check(door.spec, None if source == "auto" else source, _text(content, "target", languages.pair(door.spec)[1]))
        answered = await door.answer(request, Ask(inputs, door.spec.serving.decoding, user, holder))
        texts, many = texts_of(answered), isinstance(content["q"], list)
        told: dict[str, Any] = {"translatedText": texts if many else texts[0]}
        if content.get("alternatives"):
            told["alternatives"] = [[] for _ in texts] if many else []
        if source == "auto":
            found = [_confidence(*await languages.detect(text)) for text in inputs]
            told["detectedLanguage"] = found if many else found[0]
        return intake.reply(told, headers=identified(answered))

    async def detect(request: Request) -> Response:
        content = await door.fields(request, KEYS)
        door.holder(request, _text(content, "api_key", None))
        (text,) = door.inputs(_text(content, "q", ""), "q")
        return intake.reply([_confidence(*await languages.detect(text))])

    async def known(_request: Request) -> Response:
        source, target = languages.pair(door.spec)
        listed = {source: [target], target: []}
        return intake.reply([{"code": c, "name": languages.NAMES[c], "targets": to} for c, to in listed.items()])

    return [
        door.route("/translate", translate),
        door.route("/detect", detect),
        door.route("/languages", known, "GET"),
    ]


def _text(content: dict[str, Any], key: str, default: str | None) -> Any:
    given = content.get(key, default)
    if given is not None and not isinstance(given, str):
        raise Refused(400, f"{key}: must be a text")
    return given


def _confidence(code: str, probability: float) -> dict[str, Any]:
    return {"confidence": round(100 * probability, 1), "language": code}
