"""Managed models behind an URL, asked like engines: only scrubbed text goes out, and what comes back goes through the filters.

A version `endpoint:NAME` of a route, or `overload.backup`, names one. Its key comes from the environment and goes nowhere else:
no redirect is followed.
"""

import asyncio
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import aiohttp
import orjson
from pydantic import BaseModel, Field, ValidationError

from pipelines.errors import UserError
from pipelines.serving.asking import Unanswered
from pipelines.serving.exchange import Call, Output
from pipelines.spec import Endpoint, Spec

PREFIX = "endpoint:"
CHARS_A_TOKEN = 4  # where an endpoint does not count its tokens: about right for English
LARGEST_ANSWER = 16 << 20  # bytes
AT_ONCE = 8  # calls of one request to an endpoint that takes one text a call

Charge = Callable[[int, float], None]
"""Told the tokens of a call and their price for 1,000."""


def is_endpoint(version: str) -> bool:
    return version.startswith(PREFIX)


class Endpoints:
    """The endpoints of a spec. `charge` is told what was used.

    Raises (when made):
        UserError: the variable that a key should come from is not set.
    """

    def __init__(self, spec: Spec, http: aiohttp.ClientSession, charge: Charge) -> None:
        self._http, self._charge, self._languages = http, charge, _languages(spec)
        self._known = {name: (endpoint, _key(name, endpoint)) for name, endpoint in spec.serving.endpoints.items()}

    def knows(self, version: str) -> bool:
        return version.removeprefix(PREFIX) in self._known and is_endpoint(version)

    async def ask(self, version: str, call: Call, seconds: float) -> list[Output]:
        """The endpoint's answers to the call's texts, one each, within `seconds`.

        Raises:
            Unanswered: it is away, late, refuses, or makes no sense.
        """
        if not self.knows(version):
            raise Unanswered("away")
        endpoint, key = self._known[version.removeprefix(PREFIX)]
        if seconds <= 0:
            raise Unanswered("timeout")
        ask = {"openai": self._openai, "libretranslate": self._libretranslate, "seqline": self._seqline}[endpoint.protocol]
        try:
            outputs = await ask(endpoint, key, call, time.monotonic() + seconds)
        except ValidationError:
            raise Unanswered("garbled") from None
        if len(outputs) != len(call.texts):
            raise Unanswered("garbled")
        self._charge(sum(each.source_tokens + each.target_tokens for each in outputs), endpoint.per_1000_tokens)
        return outputs

    async def _openai(self, endpoint: Endpoint, key: str | None, call: Call, deadline: float) -> list[Output]:
        """Chat completions, a call a text."""
        doors = asyncio.Semaphore(AT_ONCE)

        async def one(text: str) -> Output:
            async with doors:
                raw = await self._post(endpoint.url, _bearer(key), _chat(endpoint, call, text), deadline)
            return _completed(text, _Completion.model_validate_json(raw))

        tasks = [asyncio.create_task(one(text)) for text in call.texts]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _seqline(self, endpoint: Endpoint, key: str | None, call: Call, deadline: float) -> list[Output]:
        left = max(1, math.floor((deadline - time.monotonic()) * 1000))
        body = {"inputs": call.texts, "decoding": call.decoding.model_dump(exclude_none=True), "deadline_ms": left}
        raw = await self._post(endpoint.url, _bearer(key), body, deadline)
        return [Output(**each.model_dump()) for each in _Generated.model_validate_json(raw).outputs]

    async def _libretranslate(self, endpoint: Endpoint, key: str | None, call: Call, deadline: float) -> list[Output]:
        source, target = self._languages
        body = {"q": call.texts, "source": source, "target": target, "format": "text", **({"api_key": key} if key else {})}
        raw = await self._post(endpoint.url, {}, body, deadline)
        translated = _Translated.model_validate_json(raw).translatedText
        return [_estimated(text, answer) for text, answer in zip(call.texts, translated, strict=False)]

    async def _post(self, url: str, headers: Mapping[str, str], body: object, deadline: float) -> bytes:
        timeout = aiohttp.ClientTimeout(max(0.001, deadline - time.monotonic()))
        headers = {"Content-Type": "application/json", **headers}
        try:
            async with self._http.post(
                url, data=orjson.dumps(body), headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                raw = bytearray()
                async for part in answer.content.iter_any():
                    raw += part
                    if len(raw) > LARGEST_ANSWER:
                        raise Unanswered("garbled")
        except TimeoutError:
            raise Unanswered("timeout") from None
        except (aiohttp.ClientError, OSError):
            raise Unanswered("connection") from None
        if answer.status != 200:
            raise Unanswered("status")
        return bytes(raw)


class _Message(BaseModel):
    content: str


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: Annotated[int, Field(ge=0)]
    completion_tokens: Annotated[int, Field(ge=0)]


class _Completion(BaseModel):
    choices: Annotated[list[_Choice], Field(min_length=1)]
    usage: _Usage | None = None


class _Translated(BaseModel):
    translatedText: list[str]  # noqa: N815  LibreTranslate's name


class _Made(BaseModel):
    """Of another gateway's output, what is not about its own cache."""

    text: str
    logprob: float | None = None
    source_tokens: Annotated[int, Field(ge=0)]
    target_tokens: Annotated[int, Field(ge=0)]
    truncated: bool = False
    parts: int = 1
    finished: bool = True
    seed: int | None = None
    withheld: bool = False


class _Generated(BaseModel):
    outputs: Sequence[_Made]


def _chat(endpoint: Endpoint, call: Call, text: str) -> dict[str, Any]:
    """What an OpenAI-like server is asked for one text. (Beams, top_k and penalties have no name there.)"""
    told = endpoint.prompt.replace("{text}", text)
    decoding = call.decoding
    body = {
        "model": endpoint.model, "messages": [{"role": "user", "content": told}], "max_tokens": decoding.max_tokens,
        "temperature": decoding.temperature,
    }  # fmt: skip
    if decoding.temperature > 0:
        body |= {"top_p": decoding.top_p, **({} if decoding.seed is None else {"seed": decoding.seed})}
    return body


def _completed(text: str, completion: "_Completion") -> Output:
    choice, usage = completion.choices[0], completion.usage
    output = _estimated(text, choice.message.content.strip(), finished=choice.finish_reason != "length")
    if usage is None:
        return output
    return output.model_copy(update={"source_tokens": usage.prompt_tokens, "target_tokens": usage.completion_tokens})


def _estimated(text: str, answer: str, *, finished: bool = True) -> Output:
    read, written = (math.ceil(len(each) / CHARS_A_TOKEN) for each in (text, answer))
    return Output(text=answer, source_tokens=read, target_tokens=written, truncated=False, finished=finished)


def _bearer(key: str | None) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _key(name: str, endpoint: Endpoint) -> str | None:
    if endpoint.key is None:
        return None
    variable = endpoint.key.removeprefix("env:")
    key = os.environ.get(variable)
    if not key:
        raise UserError(f"serving.endpoints.{name}.key: the environment variable {variable} is not set")
    return key


def _languages(spec: Spec) -> tuple[str, str]:
    """Source and target of a translation, for endpoints that want to be told."""
    return spec.privacy.language, spec.privacy.target_language or spec.privacy.language
