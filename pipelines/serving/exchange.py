"""What is asked of the gateway and of an engine, and what comes back."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from pipelines.spec import Decoding


class Output(BaseModel):
    """The answer to one text."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    text: str
    logprob: float | None = None
    """Natural log of its probability, the sum over its tokens; None where one of our engines did not make it in one piece."""
    source_tokens: int
    target_tokens: int
    truncated: bool
    """Some of the source was not read."""
    parts: int = 1
    """Pieces that the source was split into because it is longer than the model reads."""
    finished: bool = True
    """The model ended the answer itself, before max_tokens."""
    seed: int | None = None
    """Of an answer that was drawn (temperature above 0): what makes it again."""
    flags: list[str] = []
    """Filters that doubt the answer."""
    withheld: bool = False
    """A filter refused the answer: the text is empty."""
    cached: bool = False
    """It was made for an earlier request."""


@dataclass(frozen=True)
class Ask:
    """One request: `decoding` is the spec's with what the sender changed, within the caps.

    `user` is who sends (X-User), `holder` the name of the API key, `seconds` the sender's own deadline; `fresh` answers are
    made for this request (Cache-Control: no-cache).
    """

    inputs: Sequence[str]
    decoding: Decoding
    user: str | None = None
    holder: str | None = None
    seconds: float | None = None
    fresh: bool = False


@dataclass(frozen=True)
class Call:
    """One request on its way. `key` decides the arm, `arrived` is by time.monotonic, `texts` are scrubbed."""

    request: str
    key: str
    user_hmac: str
    arrived: float
    decoding: Decoding
    texts: Sequence[str] = ()
    values: Sequence[Mapping[str, str]] = ()
    fresh: bool = False

    @property
    def seconds(self) -> float:
        """Since it arrived."""
        return time.monotonic() - self.arrived


@dataclass(frozen=True)
class Answered:
    """What the sender gets: `version` really made the outputs; the sender's own values are back in the texts.

    `degraded` says what was given up for want of room or money: smaller_beam, stale, backup.
    """

    request: str
    version: str
    outputs: Sequence[Output]
    degraded: Sequence[str] = ()


@dataclass(frozen=True)
class Delta:
    """A piece of the answer to input `index`, as it is written; the pieces joined are that answer's text."""

    index: int
    text: str
