"""Asking an engine over HTTP, and what counts as no answer."""

import math
import time
from collections.abc import Sequence

import aiohttp
import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import SeqlineError
from pipelines.serving.supervisor import Supervisor
from pipelines.serving.telemetry import Telemetry

_JSON = {"Content-Type": "application/json"}


class Output(BaseModel):
    """An engine's answer to one text; `logprob` is the sum over its tokens."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    text: str
    logprob: float
    source_tokens: int
    target_tokens: int
    truncated: bool


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

    async def ask(self, version: str, texts: Sequence[str], seconds: float) -> list[Output]:
        """The engine's answers to `texts`, one each, within `seconds`.

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
            raw = await self._post(engine.url, texts, seconds)
            self._telemetry.engine(version).observe(time.monotonic() - began)
        try:
            outputs = _Outputs.model_validate_json(raw).outputs
        except ValidationError:
            raise Unanswered("garbled") from None
        if len(outputs) != len(texts):
            raise Unanswered("garbled")
        return outputs

    async def _post(self, url: str, texts: Sequence[str], seconds: float) -> bytes:
        body = orjson.dumps({"inputs": texts, "deadline_ms": math.ceil(seconds * 1000)})
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
