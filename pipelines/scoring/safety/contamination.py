"""Test pairs that training saw: a score on them says what a model remembers, not what it can do.

Found anew from the texts, whatever the splitting has promised: the same source (letters' case, punctuation and blanks aside),
the same pair, and (as GPT-3's authors did) a long run of words in common. Near-duplicates are counted by the dataset step, by
every word 3-shingle; its proof is read from dataset.json.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines import spec
from pipelines.scoring import compare
from pipelines.scoring.safety.membership import Pairs

RUN = 13
"""Words that two texts have in common only if one was copied from the other, or both from a third (Brown et al., 2020)."""
OFTEN = 10
"""Training texts with the same run from which it is a form of words and tells nothing, as there."""
WORD = re.compile(r"\w+")


def contamination(train: Pairs, test: Pairs, told: Mapping[str, Any] | None, scoring: spec.Scoring) -> dict[str, Any]:
    """How many test pairs stand in `train` too: their "sources", whole "pairs", and sources with a "run" of 13 words that
    few of the sources there have too (quotations, versions of one text: that one is told, not gated).

    Args:
        told: the dataset step's own proof (dataset.json); None where it left none, and near-duplicates are then unknown.
    """
    n = len(test.sources)
    sources = {_bare(text) for text in train.sources}
    pairs = {(_bare(source), _bare(target)) for source, target in zip(*train, strict=True)}
    same = [_bare(text) in sources for text in test.sources]
    both = [(_bare(source), _bare(target)) in pairs for source, target in zip(*test, strict=True)]
    return {
        "n": n,
        "sources": _share(sum(same), n, scoring),
        "pairs": _share(sum(both), n, scoring),
        "run": {**_share(sum(_quoting(train.sources, test.sources)), n, scoring), "words": RUN},
        "near_duplicates": told["leakage"]["near_duplicates"] if told and "leakage" in told else None,
    }


def _quoting(train: Iterable[str], test: Sequence[str]) -> list[bool]:
    """Which texts of `test` have a run of RUN words that stands in 1 to OFTEN of `train`. Memory grows with `test` alone."""
    runs = [_runs(text) for text in test]
    wanted = set().union(*runs)
    found = Counter(run for text in train for run in wanted & _runs(text))
    quoted = {run for run, times in found.items() if times <= OFTEN}
    return [not own.isdisjoint(quoted) for own in runs]


def _runs(text: str) -> set[str]:
    words = WORD.findall(text.lower())
    return {" ".join(words[start : start + RUN]) for start in range(len(words) - RUN + 1)}


def _bare(text: str) -> str:
    return " ".join(WORD.findall(text.lower())) or text.strip()


def _share(hits: int, n: int, scoring: spec.Scoring) -> dict[str, Any]:
    found = compare.share(hits, n, confidence=scoring.confidence)
    return {"count": hits, "value": found.value, "interval": [found.low, found.high]}
