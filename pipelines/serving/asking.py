"""Asking an engine over HTTP, and what counts as no answer."""

import math
import time

import aiohttp
import orjson
from pydantic import BaseModel, ValidationError

from pipelines.errors import SeqlineError
from pipelines.serving.exchange import Call, Output
from pipelines.serving.supervisor import Supervisor
from pipelines.serving.telemetry import Telemetry

_JSON = {"Content-Type": "application/json"}


class _Outputs(BaseModel):
    outputs: list[Output]


class Unanswered(SeqlineError):
    """An engine gave no usable answer; `reason` is one of away, timeout, connection, status and garbled."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Asking:
    """Pooled connections to the engines that `supervisor` keeps."""

    def __init__(self, supervisor: Supervisor, telemetry: Telemetry, http: aiohttp.ClientSession) -> None:
        self._supervisor, self._telemetry, self._http = supervisor, telemetry, http

    async def ask(self, version: str, call: Call, seconds: float) -> list[Output]:
        """The engine's answers to the call's texts, one each, within `seconds`.

        Raises:
            Unanswered: the engine is away, late, broken or makes no sense.
        """
        keeper = self._supervisor.keeper(version)
        if keeper is None:
            raise Unanswered("away")
        with keeper.lease() as engine:
            if engine is None:
                raise Unanswered("away")
            if seconds <= 0:
                raise Unanswered("timeout")
            began = time.monotonic()
            raw = await self._post(engine.url, call, seconds)
            self._telemetry.engine(version).observe(time.monotonic() - began)
        try:
            outputs = _Outputs.model_validate_json(raw).outputs
        except ValidationError:
            raise Unanswered("garbled") from None
        if len(outputs) != len(call.texts):
            raise Unanswered("garbled")
        return outputs

    async def _post(self, url: str, call: Call, seconds: float) -> bytes:
        body = orjson.dumps(
            {"inputs": call.texts, "decoding": call.decoding.model_dump(), "deadline_ms": math.ceil(seconds * 1000)}
        )
        timeout = aiohttp.ClientTimeout(seconds)
        try:
            async with self._http.post(f"{url}/generate", data=body, headers=_JSON, timeout=timeout) as answer:
                raw = await answer.read()
        except TimeoutError:
            raise Unanswered("timeout") from None
        except (aiohttp.ClientError, OSError):
            raise Unanswered("connection") from None
        if answer.status != 200:
            raise Unanswered("status")
        return raw

    async def healthy(self, version: str) -> bool:
        """Does the engine of `version` answer?"""
        keeper = self._supervisor.keeper(version)
        if keeper is None or keeper.engine is None:
            return False
        try:
            async with self._http.get(f"{keeper.engine.url}/healthz", timeout=aiohttp.ClientTimeout(1)) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
