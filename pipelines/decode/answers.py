"""A text on its way through a model: Encoded, Written, Answer; and what a model has to do for it."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipelines.spec import Decoding

OnToken = Callable[[int], None]
"""Told of each token of an answer, in order, as it is written; what it raises ends the decoding and comes out."""


@dataclass(frozen=True)
class Encoded:
    """A text as the model reads it, in the model's frame (end mark and the like); its length is in tokens."""

    text: str
    ids: list[int]
    pieces: list[str]
    """The same tokens by name: CTranslate2 reads names, transformers ids."""
    truncated: bool
    """The text is longer than the model reads, and its end is not among the tokens."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Written:
    """What the model wrote: token ids without the end mark."""

    ids: list[int]
    logprob: float
    finished: bool
    seed: int | None = None


@dataclass(frozen=True)
class Answer:
    text: str
    logprob: float | None
    """Natural log of the answer's probability: the sum over its tokens, the end mark included, by the model's own distribution
    (whatever the temperature; tokens that no_repeat_ngram forbids have none). None of an answer made in parts."""
    source_tokens: int
    target_tokens: int
    truncated: bool
    """Some of the source was not read."""
    finished: bool = True
    """The model ended the answer itself, before max_tokens; of an answer in parts: every part of it."""
    parts: int = 1
    """Pieces that the source was read in."""
    seed: int | None = None
    """Of an answer that was drawn: what makes it again."""


class Model(Protocol):
    def write(self, sources: Sequence[Encoded], decoding: Decoding, batch_tokens: int) -> list[Written]: ...

    def stream(self, source: Encoded, decoding: Decoding, on_token: OnToken) -> Written: ...


def seed_of(decoding: Decoding) -> int:
    """The seed to draw with: the one that is asked for, or a new one."""
    return secrets.randbelow(2**32) if decoding.seed is None else decoding.seed


def settled(decoding: Decoding) -> Decoding:
    """`decoding` with a seed where it draws and has none: all parts of an answer are drawn with one."""
    return decoding.model_copy(update={"seed": seed_of(decoding)}) if decoding.temperature else decoding
