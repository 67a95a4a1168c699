"""`scoring`: metrics, baselines, the gate; and how answers are decoded."""

from typing import Literal

from pydantic import Field

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


class Gate(Section):
    reads_source: bool = True
    """An output must score higher on its own reference than the output for another source does, interval and all."""
    beats: tuple[Literal["lead", "sentence", "constant"], ...] = ()
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
    """The baselines `lead` and `sentence` start after this text in the source, where it occurs (`Description: `, say)."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence of every interval."""
    resamples: int = Field(2_000, ge=100)
    """Paired bootstrap resamples."""
    judge_threshold: Share = 0.75
    """Share of an output's content words without support in the source from which the judge flags it."""
    gate: Gate = Gate()
    """What a version needs to be let into a rollout."""
