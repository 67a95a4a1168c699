"""DeepL's API for translation specs: /v2/translate, /v2/languages, /v2/usage (JSON or an HTML form).

https://developers.deepl.com/docs : options that change how DeepL's models write are taken where they ask for what this model
does anyway (their defaults), and refused by name otherwise: an answer never pretends to have heeded them.
"""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.serving import intake
from pipelines.serving.apis import languages
from pipelines.serving.apis.door import Door, asked_by, identified
from pipelines.serving.exchange import Ask
from pipelines.serving.intake import Refused

DEFAULTS: Mapping[str, tuple[object, ...]] = {
    "formality": ("default", "prefer_more", "prefer_less"),
    "split_sentences": ("0", "1", "nonewlines"),
    "preserve_formatting": (False, True, "0", "1"),
    "outline_detection": (True, False, "0", "1"),
    "model_type": ("latency_optimized", "quality_optimized", "prefer_quality_optimized"),
    "show_billed_characters": (True, False, "0", "1"),
    "context": (),
}
KEYS = frozenset({"text", "source_lang", "target_lang", "auth_key", *DEFAULTS})
NO_LIMIT = 10**12


def routes(door: Door) -> list[Route]:
    async def translate(request: Request) -> Response:
        content = await door.fields(request, KEYS)
        user, holder = asked_by(_holder(door, request, content), request)
        inputs = door.inputs(content.get("text"), "text")
        source, target = content.get("source_lang"), content.get("target_lang")
        if not isinstance(target, str) or not (source is None or isinstance(source, str)):
            raise Refused(400, "target_lang: must be given, as source_lang: a language's code")
        languages.check(door.spec, source or None, target)
        _heeded(content)
        answered = await door.answer(request, Ask(inputs, door.spec.serving.decoding, user, holder))
        told = [
            {
                "detected_source_language": languages.pair(door.spec)[0].upper() if source else await _detected(text),
                "text": output.text,
                "billed_characters": len(text),
            }
            for text, output in zip(inputs, answered.outputs, strict=True)
        ]
        return intake.reply({"translations": told}, headers=identified(answered))

    async def known(request: Request) -> Response:
        content = {**request.query_params, **await door.fields(request, frozenset({"type", "auth_key"}))}
        _holder(door, request, content)
        kind = content.get("type", "source")  # DeepL's own client sends it in the body of a GET
        code = languages.pair(door.spec)[kind == "target"]
        one: dict[str, Any] = {"language": code.upper(), "name": languages.NAMES[code]}
        return intake.reply([one | {"supports_formality": False} if kind == "target" else one])

    async def usage(request: Request) -> Response:
        _holder(door, request, {})
        return intake.reply({"character_count": 0, "character_limit": NO_LIMIT})

    return [
        door.route("/v2/translate", translate, shape=_shape),
        door.route("/v2/languages", known, "GET", _shape),
        door.route("/v2/usage", usage, "GET", _shape),
    ]


def _shape(line: str, _status: int) -> Mapping[str, Any]:
    return {"message": line}


def _holder(door: Door, request: Request, content: Mapping[str, Any]) -> Any:
    """DeepL's clients send `Authorization: DeepL-Auth-Key KEY`, old ones a field."""
    given = request.headers.get("authorization", "")
    secret = given.removeprefix("DeepL-Auth-Key ") if given.startswith("DeepL-Auth-Key ") else content.get("auth_key")
    return door.holder(request, secret if isinstance(secret, str) else None)


def _heeded(content: Mapping[str, Any]) -> None:
    for option, fine in DEFAULTS.items():
        given = content.get(option)
        if given is not None and fine and given not in fine:
            raise Refused(400, f"{option}: this model cannot do that: leave it out")


async def _detected(text: str) -> str:
    code, _ = await languages.detect(text)
    return code.upper()
