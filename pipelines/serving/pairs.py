"""A scrubbed answer on its way from the gateway to the judge and to review: in memory and on loopback only."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, get_type_hints


@dataclass(frozen=True)
class Pair:
    """A scrubbed source and what a version made of it at `at` (seconds since the epoch), placeholders in place.

    `index` is the answer's place in its request, `seconds` what the request took. `reason` says why review takes it (random,
    filter, judge, feedback; empty: it does not), `weight` is one over the probability of that, and `judge_weight` the weight
    it has once the judge flags it. `flagged` and `support` are the judge's verdict, `feedback` what its sender said.
    """

    request: str
    user_hmac: str
    arm: str
    version: str
    shadow: bool
    source: str
    output: str
    at: float
    index: int = 0
    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    logprob: float | None = None
    decoding: Mapping[str, Any] = field(default_factory=dict)
    flags: Sequence[str] = ()
    reason: str = ""
    weight: float = 1.0
    judge_weight: float = 1.0
    flagged: bool | None = None
    support: float | None = None
    feedback: Mapping[str, Any] | None = None

    @property
    def key(self) -> str:
        """Names the answer: a request's other answers, and the other arm's to a mirrored request, have other keys."""
        return f"{self.request}.{self.version}.{self.index}"


SAID: Mapping[type, str] = {bool: "true or false", str: "text", float: "a number (seconds since the epoch)"}
OPTIONAL: Mapping[str, tuple[tuple[type, ...], str]] = {
    "index": ((int,), "a whole number"),
    "seconds": ((float, int), "a number"),
    "tokens_in": ((int,), "a whole number"),
    "tokens_out": ((int,), "a whole number"),
    "logprob": ((float, int, type(None)), "a number or null"),
    "decoding": ((dict,), "an object"),
    "flags": ((list,), "a list"),
    "reason": ((str,), "text"),
    "weight": ((float, int), "a number"),
    "judge_weight": ((float, int), "a number"),
    "flagged": ((bool, type(None)), "true, false or null"),
    "support": ((float, int, type(None)), "a number or null"),
    "feedback": ((dict, type(None)), "an object or null"),
}
REQUIRED: Mapping[str, type] = {
    each.name: get_type_hints(Pair)[each.name]
    for each in fields(Pair)
    if each.default is MISSING and each.default_factory is MISSING
}


def pairs_of(body: bytes) -> list[Pair]:
    """Read {"pairs": [...]}.

    Raises:
        ValueError: saying what is wrong, without any of the content.
    """
    try:
        rows = json.loads(body)["pairs"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError('the body must be JSON: {"pairs": [...]}') from None
    if not isinstance(rows, list):
        raise ValueError("pairs: must be a list")
    return [_pair(index, row) for index, row in enumerate(rows)]


def _pair(number: int, row: object) -> Pair:
    if not isinstance(row, dict):
        raise ValueError(f"pairs[{number}]: must be an object")
    for name, kind in REQUIRED.items():
        if not isinstance(row.get(name), kind):
            raise ValueError(f"pairs[{number}].{name}: must be {SAID[kind]}")
    for name, (kinds, said) in OPTIONAL.items():
        if name in row and (not isinstance(row[name], kinds) or (isinstance(row[name], bool) and bool not in kinds)):
            raise ValueError(f"pairs[{number}].{name}: must be {said}")
    return Pair(**{name: row[name] for name in (*REQUIRED, *OPTIONAL) if name in row})
