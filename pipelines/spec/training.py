"""`tokens` and `training`: the tokenizer, the model and how it learns."""

from typing import Literal

from pydantic import Field, model_validator

from pipelines.spec.section import Section, Share


class TokensSection(Section):
    vocabulary: int = Field(4_000, ge=200)
    """Pieces of the tokenizer trained on the scrubbed training text (unused with a base that brings its own)."""
    max_source: int = Field(128, ge=8)
    """Longest input in tokens; longer ones are cut, and counted."""
    max_target: int = Field(32, ge=4)
    """Longest output in tokens; longer ones are cut, and counted."""
    masked: Share = 0.1
    """Share of the training pairs given once more with a rare word of both sides replaced by a placeholder, so that the model
    learns to copy placeholders."""


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


class Private(Section):
    """DP-SGD: what training learns from any one pair is bounded (needs `pip install seqline[dp]`). Give epsilon or noise."""

    epsilon: float | None = Field(None, gt=0)
    """Most privacy loss that `training.steps` steps may spend at `delta`; the noise that keeps it is looked up."""
    noise: float | None = Field(None, gt=0)
    """Noise instead of epsilon: its standard deviation, in units of `clip`."""
    delta: float | None = Field(None, gt=0, lt=1)
    """Probability that the bound of epsilon does not hold; by default 1 / pairs to train on."""
    clip: float = Field(1.0, gt=0)
    """Largest gradient norm of one pair (stands in for training.clip)."""

    @model_validator(mode="after")
    def one_of_epsilon_and_noise(self) -> "Private":
        if (self.epsilon is None) == (self.noise is None):
            raise ValueError("give epsilon or noise, one of the two")
        return self


class Lora(Section):
    """Train small matrices beside the base's own, and add them in at the end (needs `pip install seqline[lora]`)."""

    rank: int = Field(8, ge=1)
    """Rows of the small matrices: how much they can learn."""
    alpha: int = Field(16, ge=1)
    """What they add is scaled by alpha / rank."""
    targets: tuple[str, ...] = ()
    """Names of the layers that get them (q_proj, v_proj, ...); by default every linear layer but the output's."""


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
    denoising: Share = 0.15
    """Share of batches that ask for the source itself, a few tokens hidden (from scratch, and only so; early it is higher)."""
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
    select: Literal["loss", "metric"] = "loss"
    """Which weights are the best: of the lowest validation loss, or of the highest `scoring.metric` of greedy answers to 100
    validation pairs. With `metric` a better value of either holds `patience` off."""
    seed: int = 17
    """Seed of initial weights, batches and dropout."""
    private: Private | None = None
    """Differential privacy of the training pairs (DP-SGD); none by default."""
    accumulate: int = Field(1, ge=1)
    """Batches an optimiser step: as one batch that many times as large, in the memory of one."""
    overfit: float | None = Field(None, gt=0)
    """Nats a token by which the validation loss may lie above the training loss; beyond, training ends (none: no limit)."""
    lora: Lora | None = None
    """Low-rank adapters (LoRA) on a base; none by default: all weights learn."""

    @model_validator(mode="after")
    def adapters_need_a_base(self) -> "Training":
        if self.lora and self.base == "scratch":
            raise ValueError("lora needs a base that has learnt: set base")
        if self.lora and self.private:
            raise ValueError("lora does not go with private: leave one out")
        return self

    @model_validator(mode="after")
    def private_batches_are_whole(self) -> "Training":
        if self.private and self.accumulate > 1:
            raise ValueError("private draws each step's batch whole: leave accumulate at 1 and raise batch_tokens")
        return self


class Preferences(Section):
    """A round on what people corrected in MLflow: their answers preferred to the model's own (DPO, Rafailov et al., 2023)."""

    pairs: int = Field(20, ge=2)
    """Fewest corrections for a round; with fewer the fine-tuned weights stay as they are, and the run says so."""
    screened: bool = True
    """As of a source of `labels`: corrections that look like lies beside the data's own pairs are set aside."""
    held_out: Share = 0.25
    """Share of the corrections that the round does not learn from: they choose its best weights, and tell what it brought."""
    beta: float = Field(0.1, gt=0)
    """How closely the weights are held to those that the round began with: the higher, the closer."""
    imitation: float = Field(1.0, ge=0)
    """Weight of the corrected answers' own loss (nats a token): preferring alone may make both answers less likely."""
    steps: int = Field(100, ge=1)
    """Most optimiser steps."""
    learning_rate: float = Field(3e-5, gt=0)
    """Highest learning rate; higher ones prefer no more, and cost the plain metric more."""
    validate_steps: int = Field(10, ge=1)
    """Steps between validations, each with a checkpoint."""
    patience: int = Field(5, ge=1)
    """Validations without a better loss on the corrections held out after which the round ends; the best weights are kept."""
    drift: float = Field(0.1, ge=0)
    """Nats a token by which the loss on ordinary validation pairs may rise; beyond, the round ends with its best weights."""
