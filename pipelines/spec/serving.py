"""`serving`: the gateway, its engines, what it refuses, what it keeps."""

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipelines.spec.scoring import Decoding
from pipelines.spec.section import Section, Share

Doubt = Literal["off", "flag", "refuse"]
"""What becomes of an answer that a filter doubts: nothing, a mark and a sample for review, or no answer."""


class Caps(Section):
    """The most that a sender may ask for."""

    beam: int = Field(8, ge=1, le=16)
    """Beams."""
    max_tokens: int = Field(512, ge=1)
    """Tokens in an answer."""


class Cache(Section):
    entries: int = Field(4_096, ge=0)
    """Answers kept; 0 turns the cache off. Answers that were sampled (temperature above 0) are never kept."""
    seconds: float = Field(3_600, gt=0)
    """Longest time that an answer is kept."""


class Overload(Section):
    """The brown-out ladder, by the share of `queue` in use: smaller beam, then older answers, then the backup, then 429.

    Once the queue has been full the whole ladder applies, until the overload has ended.
    """

    smaller_beam_at: Share = 0.5
    """From here on everybody is decoded with a beam of 1."""
    stale_at: Share = 0.7
    """From here on an answer of the cache serves whatever beam it was decoded with, and past its time."""
    backup: str | None = None
    """A name from `endpoints`, asked when the queue is full or the model in production is away; nobody by default."""


class Cost(Section):
    """What serving and training cost, and the most that they may cost."""

    currency: str = "EUR"
    """Of all prices."""
    per_engine_hour: float = Field(0.0, ge=0)
    """Price of an hour of decoding."""
    cap_per_hour: float | None = Field(None, gt=0)
    """Spend in any hour: from 80 % of it beams are 1, at all of it requests are refused (429)."""
    per_training_hour: float = Field(0.0, ge=0)
    """Price of an hour of retraining: of its steps, from ingest to register."""
    budget_per_month: float | None = Field(None, gt=0)
    """Spend in a calendar month (UTC), retrains included: a forecast above it is a ticket; nothing is refused."""


class Endpoint(Section):
    """A managed model behind an URL: stands as an engine (version `endpoint:NAME`) or as the backup."""

    url: str
    """Where to post: the whole URL."""
    protocol: Literal["seqline", "openai", "libretranslate"] = "seqline"
    """`openai` is /v1/chat/completions, `seqline` our own /v1/generate."""
    key: str | None = None
    """`env:NAME`: the environment variable that holds the key."""
    model: str = ""
    """The model that `openai` endpoints are asked for."""
    prompt: str = "{text}"
    """What an `openai` endpoint is told; {text} is the scrubbed input."""
    per_1000_tokens: float = Field(0.0, ge=0)
    """Its price, counted into `cost`."""

    @field_validator("key")
    @classmethod
    def key_is_elsewhere(cls, key: str | None) -> str | None:
        if key is not None and not key.startswith("env:"):
            raise ValueError("must be env:NAME: a spec holds no secrets")
        return key


class Filters(Section):
    """What is looked for in answers (and `input_patterns` in requests); each hit is counted by version."""

    leak: Literal["off", "flag", "redact", "refuse"] = "redact"
    """Personal data in an answer that its request did not hold."""
    length: Doubt = "flag"
    """An answer that reached max_tokens unfinished, or is `longest_ratio` times as long as its source."""
    longest_ratio: float = Field(4.0, gt=0)
    """Characters of an answer for each of its source's (short sources are given 40 characters more)."""
    repetition: Doubt = "flag"
    """A loop: the same words again and again."""
    echo: Doubt = "flag"
    """A translation that repeats its source."""
    numbers: Doubt = "flag"
    """A number that is not in the source."""
    names: Doubt = "off"
    """A capitalised word that is not in the source (summaries in languages that do not capitalise nouns)."""
    patterns: tuple[str, ...] = ()
    """Regular expressions that no answer may match; what to do is `pattern`."""
    pattern: Doubt = "refuse"
    """What becomes of an answer that matches one of `patterns`."""
    input_patterns: tuple[str, ...] = ()
    """Regular expressions: a request that matches one is refused (400)."""

    @field_validator("patterns", "input_patterns")
    @classmethod
    def patterns_compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern}: not a regular expression: {error}") from None
        return patterns


class Review(Section):
    """Scrubbed answers that go to MLflow as traces for people to look at."""

    share: Share = 0.01
    """Random share of all answers; besides, all that a filter or the judge doubts and all with feedback."""
    per_hour: int = Field(500, ge=0)
    """Most traces in an hour; what is left out is counted, and the weights say so."""
    keep_days: int = Field(30, ge=1)
    """Days after which a sampled answer is deleted from every store; what its label became in a dataset stays there. At least
    30 with `drift` or `quality` among `watch.triggers`, which look back so far."""


class Serving(Section):
    host: str = "127.0.0.1"
    """Address that the gateway listens on."""
    port: int = Field(8080, ge=0, le=65_535)
    """Port that the gateway listens on."""
    admin_port: int | None = Field(None, ge=0, le=65_535)
    """Port of the admin API, on loopback; `port` + 1000 by default."""
    api_keys: Literal["none", "required"] = "none"
    """`required`: requests need an API key made by `seqline keys add`."""
    requests_per_minute: int = Field(600, ge=1)
    """Rate limit of a key that was given none of its own."""
    decoding: Decoding = Decoding()
    """How answers are decoded, in scoring as in serving, unless the sender asks otherwise."""
    caps: Caps = Caps()
    """Bounds of that."""
    quantisation: Literal["int8", "bfloat16", "float16", "float32"] = "int8"
    """Type of the served weights."""
    threads: int = Field(0, ge=0)
    """Decoding threads of an engine; 0 means one less than there are cores, but at least one."""
    batch_tokens: int = Field(1_024, ge=16)
    """Padded source tokens in a micro-batch."""
    batch_wait_ms: int = Field(0, ge=0)
    """Longest wait of a request for company while the engine is idle."""
    queue: int = Field(256, ge=1)
    """Requests in flight; further ones get 429."""
    timeout_ms: int = Field(5_000, ge=1)
    """A request not answered by then gets 503; a canary is given half of it, then the champion answers."""
    max_inputs: int = Field(64, ge=1)
    """Inputs in one request."""
    max_chars: int = Field(20_000, ge=1)
    """Characters in one input."""
    long_inputs: Literal["split", "cut", "refuse"] = "split"
    """An input longer than the model reads: split at sentences (summaries: in levels), cut and said so, or refused (400)."""
    cache: Cache = Cache()
    """Answers kept for those who ask the same."""
    overload: Overload = Overload()
    """What is given up first when there is too much to do."""
    cost: Cost = Cost()
    """Prices and the cap."""
    endpoints: Mapping[str, Endpoint] = Field(default_factory=dict)
    """Managed models, by name."""
    filters: Filters = Filters()
    """What is looked for in answers and requests."""
    review: Review = Review()
    """What people look at later."""

    @model_validator(mode="after")
    def backup_is_an_endpoint(self) -> "Serving":
        if self.overload.backup is not None and self.overload.backup not in self.endpoints:
            raise ValueError(f"overload.backup: {self.overload.backup}: no such name in endpoints")
        return self

    @property
    def admin(self) -> int:
        """The admin API's port."""
        if self.admin_port is not None:
            return self.admin_port
        return self.port + 1_000 if self.port else 0
