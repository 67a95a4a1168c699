"""Our own API: POST /v1/generate (one text or many; whole, or as it is written, by server-sent events), POST /v1/feedback."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from pipelines.serving import intake
from pipelines.serving.apis.door import Door, as_asked, asked_by, identified, number
from pipelines.serving.exchange import Answered, Ask, Delta
from pipelines.serving.feedback import KEYS as FEEDBACK
from pipelines.serving.intake import Refused

KEYS = frozenset({"inputs", "decoding", "stream", "deadline_ms"})


def routes(door: Door) -> list[Route]:
    async def generate(request: Request) -> Response:
        user, holder = asked_by(door.holder(request), request)
        content = intake.parse(await door.body(request), KEYS)
        inputs, decoding = door.inputs(content.get("inputs")), door.decoding(content.get("decoding"))
        longest = door.spec.serving.timeout_ms
        seconds = number(content.get("deadline_ms", longest), "deadline_ms", 1, 3_600_000) / 1000
        stream = content.get("stream", "text/event-stream" in request.headers.get("accept", ""))
        if not isinstance(stream, bool):
            raise Refused(400, "stream: must be true or false")
        ask = Ask(inputs, decoding, user, holder, min(seconds, longest / 1000))
        if stream:
            return await _streamed(door, request, ask)
        answered = await door.answer(request, ask)
        return intake.reply(_content(door, answered), headers=identified(answered))

    async def feedback(request: Request) -> Response:
        door.holder(request)
        content = intake.parse(await door.body(request), FEEDBACK)
        return intake.reply(await door.gateway.feedback.take(content), 202)

    return [door.route("/v1/generate", generate), door.route("/v1/feedback", feedback)]


def _content(door: Door, answered: Answered) -> dict[str, Any]:
    outputs = [{**output.model_dump(), "version": answered.version} for output in answered.outputs]
    return {
        "request_id": answered.request,
        "model": door.spec.name,
        "version": answered.version,
        "degraded": list(answered.degraded),
        "outputs": outputs,
    }


async def _streamed(door: Door, request: Request, ask: Ask) -> Response:
    """Events `delta` {index, text} as the answer is written, then `done` with the whole answer, or `error` with its line.

    What is refused before the first word has its own status, as without streaming.
    """
    parts = door.gateway.stream(as_asked(request, ask))

    async def begin() -> Delta | Answered:
        return await anext(parts)

    try:
        first = await intake.unless_gone(request, begin())
    except BaseException:
        await parts.aclose()
        raise

    async def events() -> AsyncIterator[bytes]:
        try:
            yield _event(door, first)
            async for part in parts:
                yield _event(door, part)
        except Refused as error:
            door.gateway.telemetry.refused(error.status).inc()
            yield _sent("error", {"error": error.line, "status": error.status})
        finally:
            await parts.aclose()

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _event(door: Door, part: Delta | Answered) -> bytes:
    if isinstance(part, Delta):
        return _sent("delta", {"index": part.index, "text": part.text})
    return _sent("done", _content(door, part))


def _sent(event: str, content: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.encode(), orjson.dumps(content))
