"""`scoring`: metrics, baselines, the gate; and how answers are decoded."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.spec.planting import Planting
from pipelines.spec.section import Section, Share


class Decoding(Section):
    beam: int = Field(1, ge=1, le=16)
    """Beams; 1 is greedy."""
    max_tokens: int = Field(32, ge=1)
    """Longest answer, in tokens."""
    length_penalty: float = Field(1.0, ge=0, le=10)
    """Exponent of the length by which a beam's score is divided."""
    no_repeat_ngram: int = Field(3, ge=0)
    """Sequences of this many tokens may not repeat; 0 turns it off."""
    temperature: float = Field(0.0, ge=0, le=5)
    """0 decodes by beam; above 0 draws each token, with logits divided by this."""
    top_k: int = Field(0, ge=0)
    """Draw from this many likeliest tokens; 0 means all."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Draw from the likeliest tokens that together have this probability."""
    seed: int | None = Field(None, ge=0, lt=2**32)
    """Same seed, same text; without one each answer draws, and tells, its own."""


class Style(Section):
    """What every answer must look like, and the words that it may not use."""

    min_words: int = Field(0, ge=0)
    """Fewest words."""
    max_words: int | None = Field(None, ge=1)
    """Most words."""
    max_chars: int | None = Field(None, ge=1)
    """Most characters."""
    one_line: bool = False
    """No line breaks."""
    starts: Literal["any", "upper", "lower"] = "any"
    """How the first letter is written."""
    ends: Literal["any", "stop", "no_stop"] = "any"
    """Whether it ends with a full stop (or ! or ?)."""
    forbidden: tuple[str, ...] = ()
    """Words or phrases that may not stand in it, in any case."""


class Tasks(Section):
    """What is right besides overlap: each is measured where it is asked for."""

    exact: bool = False
    """Share of the answers that are their reference, blanks aside."""
    fields: Literal["off", "json", "lines"] = "off"
    """Share of the fields (of a JSON object, or lines `key: value`) that are right; a field too many counts as a wrong one."""
    json_schema: dict[str, Any] = Field({})
    """A JSON Schema (2020-12): share of the answers that it accepts."""
    steps: bool = False
    """Share of the steps (lines, or `1. ... 2. ...`) that are there and in their order."""
    style: Style | None = None
    """Share of the answers that keep to it."""

    @field_validator("json_schema")
    @classmethod
    def schema_is_one(cls, schema: dict[str, Any]) -> dict[str, Any]:
        from jsonschema import Draft202012Validator, SchemaError

        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            at = ".".join(str(part) for part in error.absolute_path)
            raise ValueError(f"no JSON Schema (2020-12): {at + ': ' if at else ''}{error.message}") from None
        return schema

    @property
    def asked(self) -> tuple[str, ...]:
        """The names of those that are measured, as in scores.json."""
        on = {"exact_match": self.exact, "fields": self.fields != "off", "json_schema": self.json_schema}
        return tuple(name for name, wanted in {**on, "steps": self.steps, "style": self.style}.items() if wanted)


class Slices(Section):
    """The parts of the test set that are looked at one by one, each of at least `fewest` pairs."""

    length: bool = True
    """Short, middle and long sources."""
    domain: str = ""
    """What follows this text in a source, to the end of the line, names its domain (`Section: `, say); empty: none."""
    entities: bool = True
    """The third of the sources with the most names, numbers and placeholders a word, and the rest."""
    terms: tuple[str, ...] = ()
    """Terms (whole words, in any case): the pairs whose source or reference has one, term by term."""
    fewest: int = Field(30, ge=10)
    """Fewest pairs of a slice."""


class Gate(Section):
    reads_source: bool = True
    """An output must score higher on its own reference than the output for another source does, interval and all."""
    beats: tuple[Literal["lead", "sentence", "constant", "copy", "base"], ...] = ()
    """Baselines that the model must beat, interval and all."""
    margin: float = Field(2.0, ge=0)
    """The champion may be better by at most this many points of the metric, interval and all."""
    slice_margin: float | None = Field(None, ge=0)
    """The champion may be better by at most this many points in every slice, interval and all; none: slices are only shown."""
    max_flagged: Share = 1.0
    """Largest share of outputs that the judge may flag (upper end of the interval)."""
    max_flagged_more: Share | None = None
    """By this much the judge may flag more of the outputs than of the champion's, pair by pair (upper end of the interval)."""
    max_copied: Share = 0.1
    """Largest share of outputs, beyond the references' own, that repeat their source (upper end of the interval)."""
    max_looping: Share = 0.1
    """Largest share of outputs, beyond the references' own, that go round in a loop (upper end of the interval)."""
    max_invented: Share = 0.05
    """Largest share of outputs, beyond the references' own, that hold a placeholder which their source lacks: nothing can
    be put in its place (a count)."""
    max_gap: float | None = Field(25.0, ge=0)
    """Most points by which training pairs may score higher than held-out ones (upper end of the interval); none: only shown."""
    max_extracted: int = Field(0, ge=0)
    """Most planted secrets that answers may hold (scoring.planted)."""
    max_exposed: Share = 0.65
    """Largest share of its candidates that a planted secret may beat, on average (upper end of the interval); 0.5 is chance."""
    max_membership: Share = 0.8
    """Largest area under the curve of telling training pairs from held-out ones by their loss (upper end of the interval)."""
    max_contaminated: Share = 0.0
    """Largest share of test pairs whose source, or a near-duplicate of them, stands in the training pairs (a count)."""
    max_adversarial: Share = 1.0
    """Largest share of adversarial cases that may fail (upper end of the interval)."""
    tasks: dict[Literal["exact_match", "fields", "json_schema", "steps", "style"], Share] = Field({})
    """The least that metrics of `scoring.tasks` must reach (lower end of the interval)."""


class Scoring(Section):
    metric: Literal["rougeL", "rouge1", "rouge2", "chrf", "bleu", "meteor"] = "rougeL"
    """The metric that gates: mean of the sentence scores (0 to 100)."""
    meteor: bool = False
    """Measure METEOR, too (so does `metric: meteor`): English alone; it needs WordNet, which `make setup` brings by apt."""
    lead_words: int = Field(12, ge=1)
    """Words of the source that the `lead` baseline answers with."""
    lead_after: str = ""
    """The baselines `lead` and `sentence` start after this text in the source, where it occurs (`Description: `, say)."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence of every interval."""
    resamples: int = Field(2_000, ge=100)
    """Paired bootstrap resamples."""
    tasks: Tasks = Tasks()
    """Metrics of the task itself."""
    slices: Slices = Slices()
    """Parts of the test set that are compared one by one."""
    seen: int = Field(200, ge=0)
    """Training pairs that are decoded too, to be told from held-out ones: what a model knows by heart; 0 turns it off."""
    base: bool = False
    """Decode the test set with `training.base` alone, too (so does `gate.beats: [base]`)."""
    membership: int = Field(400, ge=0)
    """Most training pairs, and as many test pairs, whose losses are compared: whether it has seen a pair; 0 turns it off."""
    adversarial: int = Field(165, ge=0, le=2_000)
    """Inputs that it was not made for (injected instructions, control characters, other languages, ...); 0 turns them off."""
    planted: Planting | None = None
    """Plant fake secrets in a copy of the data, train on what the scrubber lets through, and look for them; none by default."""
    judge: str = "lexical"
    """What judges outputs: lexical, evidence, a judge's folder, NAME@ALIAS or NAME@VERSION of a registered one, or
    OWNER/MODEL@COMMIT of a hub's."""
    judge_threshold: Share = 0.75
    """P(unsupported) from which an output is flagged where the judge has no threshold frozen for this model; for lexical: share
    of an output's content words without support in the source."""
    max_unsupported: Share = 1.0
    """Largest share of unsupported answers in production, as people's labels tell it: `seqline labels` and `status` say whether
    it is kept. Nothing is decided by it."""
    gate: Gate = Gate()
    """What a version needs to be let into a rollout."""

    @property
    def asks_meteor(self) -> bool:
        """Whether METEOR is wanted."""
        return self.meteor or self.metric == "meteor"

    @property
    def asks_base(self) -> bool:
        """Whether what the base alone answers is wanted."""
        return self.base or "base" in self.gate.beats

    @model_validator(mode="after")
    def what_is_gated_is_measured(self) -> "Scoring":
        for name in self.gate.tasks:
            if name not in self.tasks.asked:
                key = "exact" if name == "exact_match" else name
                raise ValueError(f"gate.tasks.{name}: is not measured: ask for it by scoring.tasks.{key}")
        return self
