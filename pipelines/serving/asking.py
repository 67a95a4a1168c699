"""Asking an engine over HTTP, and what counts as no answer."""

import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp
import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from pipelines.errors import SeqlineError
from pipelines.serving.exchange import Call, Delta, Output
from pipelines.serving.liveness import Liveness
from pipelines.serving.recording import Timing
from pipelines.serving.supervisor import Engine, Supervisor
from pipelines.serving.telemetry import Telemetry

_JSON = {"Content-Type": "application/json"}
LONGEST_LINE = 16 << 20  # bytes


class Unanswered(SeqlineError):
    """An engine gave no usable answer; `reason` is one of away, timeout, connection, status, garbled and guard; of a canary
    also spared (it was not even asked) and fuse (nobody waits for it any more)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Outputs(list[Output]):
    """What an engine answered, and how it came to it. `busy` is the seconds of a decoding thread that it took."""

    def __init__(self, outputs: list[Output], timing: Timing, busy: float) -> None:
        super().__init__(outputs)
        self.timing, self.busy = timing, busy


class _Timing(BaseModel):
    queue: float
    decode: float
    batch: int
    busy: float


class _Answer(BaseModel):
    outputs: list[Output]
    timing: _Timing


class _Piece(BaseModel):
    index: int
    text: str


_LINE: TypeAdapter[_Piece | _Answer] = TypeAdapter(_Piece | _Answer)


class Asking:
    """Pooled connections to the engines that `supervisor` keeps."""

    def __init__(self, supervisor: Supervisor, telemetry: Telemetry, http: aiohttp.ClientSession) -> None:
        self._supervisor, self._telemetry, self._http = supervisor, telemetry, http

    async def ask(self, version: str, call: Call, seconds: float) -> Outputs:
        """The engine's answers to the call's texts, one each, within `seconds`.

        Raises:
            Unanswered: the engine is away, late, broken or makes no sense.
        """
        with self._engine(version, seconds) as engine:
            began = time.monotonic()
            async with self._posted(engine, _body(call, seconds), seconds) as answer:
                raw = await answer.read()
            self._telemetry.engine(version).observe(time.monotonic() - began)
        try:
            return _outputs(_Answer.model_validate_json(raw), call)
        except ValidationError:
            raise Unanswered("garbled") from None

    async def stream(self, version: str, call: Call, seconds: float) -> AsyncIterator[Delta | Outputs]:
        """As `ask`, but first the answers' texts in pieces as they are written, each with the index of its text in the call.

        Raises:
            Unanswered: as in `ask`, at any time; a stream that the engine broke off is `connection`.
        """
        with self._engine(version, seconds) as engine:
            began = time.monotonic()
            async with self._posted(engine, _body(call, seconds, stream=True), seconds) as answer:
                async for line in _lines(answer.content):
                    part = _part(line, call)
                    yield part
                    if isinstance(part, Outputs):
                        self._telemetry.engine(version).observe(time.monotonic() - began)
                        return
        raise Unanswered("connection")

    @contextmanager
    def _engine(self, version: str, seconds: float) -> Iterator[Engine]:
        keeper = self._supervisor.keeper(version)
        if keeper is None:
            raise Unanswered("away")
        with keeper.lease() as engine:
            if engine is None:
                raise Unanswered("away")
            if seconds <= 0:
                raise Unanswered("timeout")
            yield engine

    @asynccontextmanager
    async def _posted(self, engine: Engine, body: bytes, seconds: float) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with await self._post(f"{engine.url}/generate", body, time.monotonic() + seconds) as answer:
                if answer.status != 200:
                    raise Unanswered("status")
                yield answer
        except TimeoutError:
            raise Unanswered("timeout") from None
        except (aiohttp.ClientError, OSError):
            raise Unanswered("connection") from None

    async def _post(self, url: str, body: bytes, until: float) -> aiohttp.ClientResponse:
        """An engine may close a kept connection in the moment in which we send on it: then we send again, once.

        A request that was read all the same is decoded twice, which changes nothing; an engine that died refuses the second.
        """
        try:
            return await self._http.post(url, data=body, headers=_JSON, timeout=_left(until))
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError):
            return await self._http.post(url, data=body, headers=_JSON, timeout=_left(until))

    async def healthy(self, version: str) -> bool:
        """Does the engine of `version` answer?"""
        keeper = self._supervisor.keeper(version)
        return bool(keeper and keeper.engine and await Liveness(self._http).answers(keeper.engine.url, 1))


def _left(until: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(max(0.001, until - time.monotonic()))  # 0 would be for ever


def _body(call: Call, seconds: float, *, stream: bool = False) -> bytes:
    body = {"inputs": call.texts, "decoding": call.decoding.model_dump(), "deadline_ms": math.ceil(seconds * 1000)}
    return orjson.dumps({**body, "stream": True} if stream else body)


def _outputs(answer: _Answer, call: Call) -> Outputs:
    if len(answer.outputs) != len(call.texts):
        raise Unanswered("garbled")
    timing = answer.timing
    return Outputs(answer.outputs, Timing(timing.queue, timing.decode, timing.batch), timing.busy)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    async for some in content.iter_any():
        *lines, rest = (rest + some).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > LONGEST_LINE:
            raise Unanswered("garbled")


def _part(line: bytes, call: Call) -> Delta | Outputs:
    try:
        part = _LINE.validate_json(line)
    except ValidationError:
        raise Unanswered("status" if line.startswith(b'{"error"') else "garbled") from None
    if isinstance(part, _Answer):
        return _outputs(part, call)
    if not 0 <= part.index < len(call.texts):
        raise Unanswered("garbled")
    return Delta(part.index, part.text)
