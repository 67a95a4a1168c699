"""The pairs that a model is scored on."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class HeldOut:
    """The held-out pairs: ids, sources, references, one each; `fresh`: the ids of those that came after the first draw."""

    ids: Sequence[str]
    sources: Sequence[str]
    references: Sequence[str]
    fresh: frozenset[str] = frozenset()
