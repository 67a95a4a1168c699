"""A translation that is its source."""

import re

from rapidfuzz import fuzz

from pipelines.filters.words import bare

ALIKE = 90.0  # percent, rapidfuzz's ratio on letters
FEWEST = 4  # ordinary words: fewer may well be the same in both languages
READ = 2_000  # characters of each side: the ratio's time grows with their product

_letters = re.compile(r"[^\W\d_]+").findall
_ordinary = re.compile(r"(?<![^\s(\"'])[^\W\d_]{2,}(?![^\s.,;:!?)\"'])").findall


def echoes(source: str, output: str) -> bool:
    """Whether `output` is `source`, but for a few letters. Names, code and numbers, and a word or two, may stay as they are."""
    if not 0.5 <= (len(output) + 1) / (len(source) + 1) <= 2:
        return False
    source, output = bare(source[:READ]), bare(output[:READ])
    # capitals mark names (and titles, which are full of them); digits, slashes, dots and underscores mark code
    if sum(map(_weight, _ordinary(source))) < FEWEST:
        return False
    ours, theirs = ("".join(_letters(text)).casefold() for text in (output, source))
    return fuzz.ratio(ours, theirs, score_cutoff=ALIKE) >= ALIKE


def _weight(word: str) -> int:
    """How many ordinary words it is: scripts without case put no blanks between theirs."""
    if word.islower():
        return 1
    return 0 if word != word.lower() else len(word) // 2
