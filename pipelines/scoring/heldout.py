"""The pairs that a model is scored on."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class HeldOut:
    """The held-out pairs: ids, sources, references, one each."""

    ids: Sequence[str]
    sources: Sequence[str]
    references: Sequence[str]
