"""What a stranger may send: bounded bodies, strict JSON, and refusals of one line that never repeat what was sent."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from pipelines.errors import SeqlineError
from pipelines.spec import Serving

log = logging.getLogger("seqline.serving")
T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
Shape = Callable[[str, int], Mapping[str, Any]]
"""(line, status) -> the body of a refusal."""
LONGEST_USER = 256  # characters of X-User
RETRY_SECONDS = 1


def plain(line: str, _status: int) -> Mapping[str, Any]:
    return {"error": line}


@dataclass
class Refused(SeqlineError):
    """An answer other than 200: its status and its one line; after `retry_seconds` it is worth asking again (429 and 503)."""

    status: int
    line: str
    retry_seconds: int = RETRY_SECONDS


class Gone(SeqlineError):
    """The sender hung up before its answer was ready."""


def largest_body(limits: Serving) -> int:
    """Bytes that a request within the limits can take (an escaped character up to 12), but at most 16 MiB."""
    return min(limits.max_inputs * limits.max_chars * 12 + 65_536, 16 << 20)


async def read_body(request: Request, limit: int, seconds: float) -> bytes:
    """Read a body of at most `limit` bytes within `seconds`.

    Raises:
        Refused: 400 when it is larger, 408 when it is slower.
        Gone: the sender hung up.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise Refused(400, f"body: must be at most {limit} bytes")
    try:
        return await asyncio.wait_for(_read(request, limit), seconds)
    except TimeoutError:
        raise Refused(408, f"body: did not arrive within {seconds:g} s") from None
    except ClientDisconnect:
        raise Gone from None


async def _read(request: Request, limit: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise Refused(400, f"body: must be at most {limit} bytes")
        parts.append(part)
    return b"".join(parts)


def parse(body: bytes, keys: frozenset[str]) -> dict[str, Any]:
    """Read a JSON object with no other keys than `keys`. NaN, lone surrogates, bad UTF-8 and deep nesting are no JSON here.

    Raises:
        Refused: 400.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused(400, "body: must be valid JSON in UTF-8") from None
    if not isinstance(content, dict):
        raise Refused(400, 'body: must be a JSON object such as {"inputs": ["..."]}')
    if not content.keys() <= keys:
        raise Refused(400, f"body: unknown key: the keys are {', '.join(sorted(keys))}")
    return content


def inputs_of(content: Mapping[str, Any], limits: Serving, name: str = "inputs") -> list[str]:
    """The texts of a request under `name`, each within the limits.

    Raises:
        Refused: 400, naming the index of the first bad input and the rule.
    """
    inputs = content.get(name)
    if not isinstance(inputs, list) or not inputs:
        raise Refused(400, f"{name}: must be a list of at least one text")
    if len(inputs) > limits.max_inputs:
        raise Refused(400, f"{name}: must be at most {limits.max_inputs} texts, not {len(inputs)}")
    for index, text in enumerate(inputs):
        if not isinstance(text, str):
            raise Refused(400, f"{name}[{index}]: must be a text")
        if not text.strip():
            raise Refused(400, f"{name}[{index}]: must not be empty")
        if len(text) > limits.max_chars:
            raise Refused(400, f"{name}[{index}]: must be at most {limits.max_chars} characters, not {len(text)}")
    return inputs


def user_of(request: Request) -> str | None:
    """The X-User header, if there is one.

    Raises:
        Refused: 400 when it is too long.
    """
    user = request.headers.get("x-user")
    if user is not None and len(user) > LONGEST_USER:
        raise Refused(400, f"X-User: must be at most {LONGEST_USER} characters")
    return user or None


def reply(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, "application/json")


def refusal(error: Refused, shape: Shape = plain) -> Response:
    headers = {"Retry-After": str(error.retry_seconds)} if error.status in (429, 503) else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return reply(shape(error.line, error.status), error.status, headers)


def in_one_line(handler: Handler, refused: Callable[[int], None] = lambda _: None, shape: Shape = plain) -> Handler:
    """Turn what `handler` raises into an answer of one line, in the API's own `shape`; `refused` is told the status.

    No text of a request is logged.
    """

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as error:
            refused(error.status)
            return refusal(error, shape)
        except Gone:
            refused(499)
            return Response(status_code=499)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]  # the error's own message could hold text of the request
            log.error("a request failed: %s in %s:%d", type(error).__name__, where.name, where.lineno or 0)
            refused(500)
            return reply(shape("something broke here; it was logged", 500), 500)

    return answer


def plain_refusal(_request: Request, error: Exception) -> Response:
    """Starlette's own refusals (404, 405) in our form."""
    assert isinstance(error, HTTPException)
    return reply({"error": error.detail}, error.status_code, error.headers)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, but cancel it when the sender hangs up (the body must have been read).

    Raises:
        Gone: the sender hung up; `work` was cancelled.
    """
    task = asyncio.ensure_future(work)
    hung_up = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({task, hung_up}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Gone
        return task.result()
    finally:
        task.cancel()
        hung_up.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
