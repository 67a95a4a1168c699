"""What every API does alike: who asks, a bounded body, strict JSON, the caps, refusals of one line in the API's own form."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from pydantic import ValidationError
from starlette.requests import Request
from starlette.routing import Route

from pipelines.serving import intake
from pipelines.serving.exchange import Answered, Ask
from pipelines.serving.gateway import Gateway
from pipelines.serving.intake import Handler, Refused, Shape, plain
from pipelines.serving.keys import Holder, Keys
from pipelines.spec import Decoding, Spec


@dataclass(frozen=True)
class Door:
    """A gateway, and the keys that open it."""

    gateway: Gateway
    keys: Keys | None = None

    @property
    def spec(self) -> Spec:
        return self.gateway.spec

    def route(self, path: str, handler: Handler, method: str = "POST", shape: Shape = plain) -> Route:
        """A route whose refusals have the API's own form."""

        def refused(status: int) -> None:
            self.gateway.telemetry.refused(status).inc()

        return Route(path, intake.in_one_line(handler, refused, shape), methods=[method])

    def holder(self, request: Request, secret: str | None = None) -> Holder | None:
        """Whose key came with the request (`secret`, if the API sends it elsewhere than in a header).

        Raises:
            Refused: 401 without a good key where one is required, 429 over its rate.
        """
        if self.keys is None:
            return None
        return self.keys.of(secret) if secret is not None else self.keys.holder(request.headers)

    async def body(self, request: Request) -> bytes:
        """The body, read only if there is room for the request."""
        self.gateway.check_room()
        limits = self.spec.serving
        return await intake.read_body(request, intake.largest_body(limits), limits.timeout_ms / 1000)

    async def fields(self, request: Request, keys: frozenset[str]) -> dict[str, Any]:
        """The fields of a JSON object or, where the sender says so, of an HTML form (a repeated one becomes a list)."""
        body = await self.body(request)
        if not body and request.method == "GET":
            return {}
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            return intake.parse(body, keys)
        found: dict[str, Any] = {}
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=1_000)
        except ValueError:
            raise Refused(400, "body: must be a form in UTF-8") from None
        for key, value in pairs:
            found[key] = [*_listed(found[key]), value] if key in found else value
        if not found.keys() <= keys:
            raise Refused(400, f"body: unknown field: the fields are {', '.join(sorted(keys))}")
        return found

    def inputs(self, given: object, name: str = "inputs") -> list[str]:
        """The texts of a request: one, or a list.

        Raises:
            Refused: 400, naming the bad one by its place and the rule.
        """
        return intake.inputs_of({name: [given] if isinstance(given, str) else given}, self.spec.serving, name)

    def decoding(self, wanted: object, name: str = "decoding") -> Decoding:
        """The spec's decoding with what the sender wants changed, within the caps.

        Raises:
            Refused: 400, naming the key and the rule.
        """
        spec, caps = self.spec.serving.decoding, self.spec.serving.caps
        if wanted is None:
            return spec
        if not isinstance(wanted, dict):
            raise Refused(400, f'{name}: must be an object such as {{"beam": 1}}')
        try:
            decoding = Decoding.model_validate({**spec.model_dump(), **wanted}, strict=True)
        except ValidationError as error:
            key = ".".join(str(part) for part in error.errors()[0]["loc"] if part in Decoding.model_fields)
            known = ", ".join(Decoding.model_fields)
            rule = _rule(error) if key else f"the keys are {known}"
            raise Refused(400, f"{name}{'.' + key if key else ''}: {rule}") from None
        for key, most in (("beam", caps.beam), ("max_tokens", caps.max_tokens)):
            if getattr(decoding, key) > max(most, getattr(spec, key)):
                raise Refused(400, f"{name}.{key}: must be at most {most}")
        return decoding

    async def answer(self, request: Request, ask: Ask) -> Answered:
        """The gateway's answer, unless the sender hangs up first."""
        return await intake.unless_gone(request, self.gateway.generate(as_asked(request, ask)))


def asked_by(holder: Holder | None, request: Request) -> tuple[str | None, str | None]:
    """(user, holder) of an Ask: a key's holder counts as the user where no X-User tells better."""
    name = holder.name if holder else None
    return intake.user_of(request) or name, name


def as_asked(request: Request, ask: Ask) -> Ask:
    """Whether the answer must be a fresh one: the standard header says so."""
    return replace(ask, fresh="no-cache" in request.headers.get("cache-control", ""))


def number(given: object, name: str, least: float, most: float) -> float:
    """A number of a request.

    Raises:
        Refused: 400, it is none, or out of bounds.
    """
    if isinstance(given, bool) or not isinstance(given, int | float) or not least <= given <= most:
        raise Refused(400, f"{name}: must be a number from {least:g} to {most:g}")
    return float(given)


def texts_of(answered: Answered) -> Sequence[str]:
    return [output.text for output in answered.outputs]


def identified(answered: Answered) -> dict[str, str]:
    """The headers that say which request and version an answer is of, for the APIs whose bodies have no room for it."""
    return {"X-Request-Id": answered.request, "X-Model-Version": answered.version}


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _rule(error: ValidationError) -> str:
    """What pydantic says of a value, without the value."""
    return error.errors(include_input=False, include_url=False)[0]["msg"].replace("Input should be", "must be")
