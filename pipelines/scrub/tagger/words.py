"""From text to words, and from words to features: the half that training and tagging share.

A word's features would not give the word away: hashes of its first and last letters, its shape, whether Faker's public lists
of names hold it, and an identity of its own only for words that many records of the data hold in lower case.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

# A partition of the text: each word takes the blanks before it along, so that offsets are sums of lengths.
WORD = re.compile(r"[^\S\n]*(?:[^\W\d_]+(?:['\u2019][^\W\d_]+)?|\d+|\n\s*|[^\w\s]|_|\Z)")
EDGE = ""  # stands around each text, so that no word sees its neighbours in the batch
REACH = 5  # words on either side that the network sees
AFFIX = 4096  # buckets for each kind of affix
MARKS = ".,:;()[]<>@/-+\"'#&*!"
SHAPES = 12 + len(MARKS)
LISTS = ("given", "family", "place", "country", "street", "word")
NAMES = slice(0, 4)  # of the lists: given names to countries
CLUES = 2 ** (len(LISTS) + 1)  # membership in each list, and use in lower case in the data
LONGEST = 15
SPECIAL = 8  # identities before the known words': edge, blank, number, mark, unknown
SLOTS = 7  # features of a word: identity, three affixes, shape, clues, length


def split(text: str) -> list[str]:
    """The words of a text; joined they are the text."""
    words = WORD.findall(text)
    return words[:-1] if words and not words[-1] else words


def digest(word: str, salt: int) -> int:
    """32 bits of a word."""
    return crc32(word.encode("utf-8", "surrogatepass"), salt)


def normal(word: str) -> str:
    """The form in which lists and data are compared: lower case, straight apostrophe, no possessive."""
    word = word.casefold().replace("\u2019", "'")
    return word[:-2] if word.endswith("'s") else word


def shape(word: str) -> int:  # noqa: PLR0911  (a table of cases)
    """One of SHAPES kinds: letters by their case, digits, a line break, or the very punctuation mark."""
    first = word[0]
    if first.isdecimal():
        return 1
    if first == "\n":
        return 2
    if not first.isalnum():
        return 11 + MARKS.find(first) + 1 if first in MARKS else 11
    if len(word) == 1:
        return 3 if first.isupper() else 4
    if word.islower():
        return 5
    if word.isupper():
        return 6
    if first.isupper() or first.istitle():
        return 7 if word[1:].islower() else 8
    return 9 if first.islower() else 10  # 10: a script without case


@dataclass(frozen=True)
class Lexicon:
    """What is known of words, as salted 32-bit digests of their `normal` form.

    `known` have an identity (the value: its row), `lists` are the public lists, `common` stand in lower case in the data.
    """

    salt: int
    known: dict[int, int]
    lists: tuple[frozenset[int], ...]
    common: frozenset[int]

    @property
    def starts(self) -> tuple[int, ...]:
        """The first row of each slot in the table of vectors, then the number of rows."""
        sizes = (SPECIAL + len(self.known), AFFIX, AFFIX, AFFIX, 2 * SHAPES, CLUES, 2 * (LONGEST + 1))
        return (0, *(int(total) for total in np.cumsum(sizes)))

    def is_telling(self, token: str) -> bool:
        """Whether a word may be part of a name or a number.

        It starts with a capital, a digit, or in a script without case; or a list of names has it, and no use as a plain word.
        """
        word = token.lstrip()
        if not word or not word[0].isalnum():
            return False
        if not word[0].islower():
            return True
        own = digest(normal(word), self.salt)
        named = len(word) > 2 and any(own in members for members in self.lists[NAMES])
        return named and own not in self.common and own not in self.lists[-1]

    def features(self, token: str) -> tuple[int, ...]:
        """One value for each slot of a word (with the blanks before it)."""
        if token == EDGE:
            return (0, 0, 0, 0, 0, 0, 0)
        word = token.lstrip() or token
        if token.lstrip(" \t\r\f\v")[:1] == "\n":
            return (3, min(token.count("\n"), 3), 0, 0, 2, 0, 0)
        if word.isspace():
            return (1, 0, 0, 0, 0, 0, 0)
        kind, spaced = shape(word), SHAPES * (len(word) < len(token))
        size = min(len(word), LONGEST)
        if kind == 1:
            return (2, 10 + unicodedata.digit(word[0], 0), 20 + min(len(word), 30), 0, 1 + spaced, 0, LONGEST + 1 + size)
        if not word[0].isalnum():
            return (3, 100 + digest(word[0], self.salt) % (AFFIX - 100), 0, 0, kind + spaced, 0, 0)
        plain = normal(word)
        own = digest(plain, self.salt)
        clues = sum(1 << place for place, members in enumerate(self.lists) if own in members)
        clues |= (own in self.common) << len(self.lists)
        first, last, end = (digest(part, self.salt) % AFFIX for part in ("<" + plain[:3], plain[-3:] + ">", plain[-2:] + ">"))
        return (self.known.get(own, 4), first, last, end, kind + spaced, clues, size)


class Batch:
    """The words of several texts in one row, EDGEs between the texts."""

    def __init__(self, texts: Sequence[str], number: Callable[[Sequence[str]], Ints]) -> None:
        edge = [EDGE] * REACH
        self.tokens: list[str] = list(edge)
        self.firsts: list[int] = []  # where each text starts
        for text in texts:
            self.firsts.append(len(self.tokens))
            self.tokens += split(text)
            self.tokens += edge
        self.ids = number(self.tokens)
        self.ends = np.cumsum(np.fromiter(map(len, self.tokens), np.int64, len(self.tokens)))

    def active(self, telling: NDArray[np.bool_]) -> Ints:
        """The words that the network reads: telling ones (by the number of their form) and their neighbours."""
        mask = telling[self.ids]
        wide = mask.copy()
        wide[1:] |= mask[:-1]
        wide[:-1] |= mask[1:]
        return np.flatnonzero(wide & (self.ids > 0))
