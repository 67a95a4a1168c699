"""`kind: base`: a model to fine-tune others from, trained once on what several models learn from."""

from typing import Literal

from pydantic import Field

from pipelines.spec.section import Name, Section
from pipelines.spec.training import TokensSection, Training


class Base(Section):
    kind: Literal["base"]
    """A base, made by `seqline pretrain`."""
    name: Name
    """The folder beside this file that the weights are written to; specs name it in `training.base`."""
    corpora: tuple[str, ...] = Field(min_length=1)
    """YAMLs of models, relative to this one: the base learns from their scrubbed training pairs."""
    licence: str = Field(min_length=1)
    """Licence of the weights, for the card; the corpora must allow it."""
    margin: int = Field(1_000, ge=1)
    """Pairs of each corpus, beside its validation and test pairs, that the base never sees, nor what resembles them: those that
    test sets drawn from newer data would take next. Some of them serve for early stopping."""
    validation: int = Field(200, ge=1)
    """How many of them, from each corpus."""
    near_duplicate: float = Field(0.8, gt=0, le=1)
    """Jaccard similarity of word 3-shingles from which a pair resembles another."""
    tokens: TokensSection = TokensSection()
    """The tokenizer that all models from this base share."""
    training: Training = Training()
    """Shape, steps, rate; `training.base` may name an earlier base to carry on from."""
