"""Pairs given with a word that both sides share replaced by a placeholder, as a person's name would be.

Real placeholders are rare in what a model learns from (a synopsis names nobody), so that copying them is hardly learnt from
them; any rare word that stands on both sides can stand in for a name. Chosen by counts and hashes alone: the same pairs give
the same bytes.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

BEFORE, AFTER = r"(?<![\w<%{@/.-])(?<!%\()", r"(?![\w>%}@/])"
"""A word is no part of a placeholder, a field (`%(name)s`, `{name}`), an address or a path."""
WORD = re.compile(rf"{BEFORE}[^\W\d_]\w{{2,}}{AFTER}")
COMMON = 0.002
"""A word in more than this share of the sources is no stand-in for a name."""


@dataclass(frozen=True)
class Masked:
    """A pair with a `placeholder` on both sides in the place of `word`; `row` is the pair it was made of."""

    row: int
    source: str
    target: str
    word: str
    placeholder: str


def masked(sources: Sequence[str], targets: Sequence[str], placeholders: Sequence[str], share: float = 1.0) -> list[Masked]:
    """Of the pairs that share a rare word about `share` (0 to 1, chosen by hash), each with its rarest one replaced.

    Pairs that lack a shared rare word, or hold every one of the `placeholders`, are left out.
    """
    found = Counter(word for source in sources for word in set(WORD.findall(source)))
    most = max(1, int(COMMON * len(sources)))
    made = []
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        number = int.from_bytes(hashlib.sha256(f"{source}\0{target}".encode()).digest()[:8], "big")
        if number >= share * 2**64:
            continue
        shared = {word for word in set(WORD.findall(target)) & set(WORD.findall(source)) if found[word] <= most}
        free = [each for each in placeholders if each not in source and each not in target]
        if shared and free:
            word, mark = min(shared, key=lambda each: (found[each], each)), free[number % len(free)]
            whole = re.compile(BEFORE + re.escape(word) + AFTER)
            made.append(Masked(row, whole.sub(mark, source), whole.sub(mark, target), word, mark))
    return made
