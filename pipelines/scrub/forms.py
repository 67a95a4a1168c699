"""The forms in which one value stands on the two sides of a pair: another case, script, ending, or grouping of its digits."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

from pipelines.scrub.spans import TAGGED, WORD, occurrences, whole

INITIALISM = 3  # letters of a word so short that a like one tells nothing
SUFFIX = re.compile(r"s|es|ens|ns|n|en|a|u|i|e|y|em|om")  # endings of names in cases, romanised: en, de, commoner Slavic
ENDING = 4  # letters that an ending has at most
GAP = r"[\s\-./()\u00a0\u2010-\u2013]{0,3}"  # between digits of one number
ALIKE = 76.0  # percent, rapidfuzz's ratio: so alike are the forms of a name within a script (Gorbachev, Gorbatschow: 80);
ROMANISED = 60.0  # and across scripts, where each language romanises its own way (Iurii, Yuri: 67)

_APOSTROPHES = re.compile(r"['\u2019]")
_before = re.compile(r"(?i)(?:[dlj]|qu|dell|all|un)['\u2019](?=\w\w)")
_after = re.compile(r"(?i)(?<=\w)['\u2019]s$")
_german = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})


class Word(NamedTuple):
    """text[start:end], and its folded forms."""

    start: int
    end: int
    text: str
    folds: tuple[str, ...]

    @property
    def capital(self) -> bool:
        """Whether it begins as a name does; a script without case has no other way to begin."""
        return not self.text[0].islower()


@lru_cache(maxsize=1 << 16)
def folds(word: str) -> tuple[str, ...]:
    """`word` without case, accents and apostrophes, in Latin letters: with ä as ae, and with ä as a, where that differs.

    A soft sign (ь) is an apostrophe.
    """
    folded = word.casefold()
    if folded.isascii():
        return (_APOSTROPHES.sub("", folded),)
    import unicodedata

    from anyascii import anyascii

    composed = unicodedata.normalize("NFKC", folded)
    forms = (anyascii(composed.translate(_german)).lower(), anyascii(composed).lower())
    return tuple(dict.fromkeys(_APOSTROPHES.sub("", form) or folded for form in forms))


def words(text: str, start: int = 0, end: int | None = None) -> list[Word]:
    """The words of text[start:end], without a genitive's `'s` and an elided article (`l'`, `d'`)."""
    found = []
    for match in _word.finditer(text, start, len(text) if end is None else end):
        first, last = match.span()
        forms: tuple[str, ...] = ()
        if "'" in match[0] or "\u2019" in match[0]:
            before, after = _before.match(match[0]), _after.search(match[0])
            last -= len(after[0]) if after else 0
            if before:  # or no article at all: D'iachkov
                forms = folds(text[first:last])
                first += before.end()
        found.append(Word(first, last, text[first:last], folds(text[first:last]) + forms))
    return found


@lru_cache(maxsize=8_192)  # maintainers, towns: the same values come again and again
def _named(value: str) -> Sequence[Word]:
    """The words of a value, without what is no part of a name."""
    return tuple(_bare(words(value)))


_word = re.compile(rf"{WORD}(?:['\u2019]{WORD})*")


class Text:
    """One side of a pair, its words indexed when they are first asked for."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def words(self) -> list[Word]:
        return words(self.text)

    @cached_property
    def _at(self) -> dict[str, list[int]]:
        index: dict[str, list[int]] = {}
        for number, word in enumerate(self.words):
            for form in word.folds:
                index.setdefault(form, []).append(number)
        return index

    def same(self, value: str, entity: str) -> Iterator[tuple[int, int]]:
        """Where `value` stands, whatever its case, accents, script, genitive ending or grouping of digits."""
        exact = [(start, start + len(value)) for start in occurrences(self.text, value)]
        yield from exact
        if entity not in TAGGED:
            yield from self._pattern(value, entity)
            return
        wanted = _named(value)
        if any(self._no_more(word, len(exact)) for word in wanted):
            return
        # a single word in lower case is a word, not the name that is written like it
        strict = len(wanted) == 1 and wanted[0].capital
        for run in self._runs(wanted):
            if run[0].capital or not (strict or (wanted[0].capital and self._joined(run))):
                yield run[0].start, run[-1].end

    def _no_more(self, word: Word, exact: int) -> bool:
        """Whether a name's word, in whatever case and without any ending, stands only where the name itself does."""
        if not (self.text.isascii() and word.text.isalpha() and word.text.isascii()):
            return False
        stem = word.folds[0][: max(2, len(word.folds[0]) - ENDING)]
        return self._lowered.count(stem) <= exact

    @cached_property
    def _lowered(self) -> str:
        return self.text.lower()

    def loose(self, value: str) -> Iterator[tuple[int, int]]:
        """Where the words of `value` stand in any case, or begin a longer word (a compound)."""
        wanted = _named(value)
        for first in range(len(self.words) - len(wanted) + 1 if wanted else 0):
            run = self.words[first : first + len(wanted)]
            if all(_begins(one, other) for one, other in zip(wanted, run, strict=True)) and self._one_line(run):
                yield run[0].start, run[-1].end

    def part(self, value: str) -> Iterator[tuple[int, int]]:
        """Where the longest part of `value` stands: some of its words, one of them at least no initialism."""
        wanted = words(value)
        for length in range(len(wanted) - 1, 0, -1):
            found = False
            for first in range(len(wanted) - length + 1):
                piece = wanted[first : first + length]
                if not any(len(word.text) >= INITIALISM and word.capital for word in piece):
                    continue
                for run in self._runs(piece):
                    if any(word.capital for word in run):
                        found = True
                        yield run[0].start, run[-1].end
            if found:
                return

    def alike(self, value: str) -> Iterator[tuple[int, int]]:
        """Where words stand that look like those of `value`, in Latin letters: other romanisations, unknown endings."""
        wanted = _named(value)
        for first in range(len(self.words) - len(wanted) + 1 if wanted else 0):
            run = self.words[first : first + len(wanted)]
            close = all(
                other.capital and len(one.text) >= INITIALISM and _alike(one, other)
                for one, other in zip(wanted, run, strict=True)
            )
            if close and self._one_line(run):
                yield run[0].start, run[-1].end

    def _runs(self, wanted: Sequence[Word]) -> Iterator[list[Word]]:
        """Neighbouring words that are those of `wanted`, in order; the last may have another ending."""
        if not wanted:
            return
        if len(wanted) > 1:
            starts = sorted({number for form in wanted[0].folds for number in self._at.get(form, ())})
        else:
            letters = {form[:1] for form in wanted[0].folds}
            starts = [at for at, word in enumerate(self.words) if len(word.folds) > 1 or word.folds[0][:1] in letters]
        for first in starts:
            run = self.words[first : first + len(wanted)]
            equal = len(run) == len(wanted) and all(_equal(one, other) for one, other in zip(wanted[:-1], run, strict=False))
            if equal and _inflected(wanted[-1], run[-1], INITIALISM if len(run) == 1 else 2) and self._one_line(run):
                yield run

    def _one_line(self, run: Sequence[Word]) -> bool:
        """Whether no line break and at most three characters lie between neighbours of `run`."""
        gaps = (self.text[one.end : other.start] for one, other in pairwise(run))
        return all(len(gap) <= 3 and "\n" not in gap for gap in gaps)

    def _joined(self, run: Sequence[Word]) -> bool:
        """Whether other signs than spaces join the words, as in libjs-jquery-ui: an identifier, not the name (jQuery UI)."""
        return not all(self.text[one.end : other.start].isspace() for one, other in pairwise(run))

    def _pattern(self, value: str, entity: str) -> Iterator[tuple[int, int]]:
        if entity not in ("URL", "EMAIL_ADDRESS") and _is_number(value):
            yield from (match.span() for match in _number(value, entity).finditer(self.text))
        else:
            yield from self._any_case(value)

    def _any_case(self, value: str) -> Iterator[tuple[int, int]]:
        lowered = value.lower()
        if len(self._lowered) == len(self.text) and len(lowered) == len(value):
            yield from ((start, start + len(value)) for start in occurrences(self._lowered, lowered))
        else:  # a letter (İ) whose lower case has another length
            pattern = re.compile(re.escape(value), re.IGNORECASE)
            yield from (
                match.span() for match in pattern.finditer(self.text) if whole(self.text, *match.span()) == match.span()
            )


def _is_number(value: str) -> bool:
    """Whether it is known by its digits, five at least: an IBAN too."""
    digits = sum(character.isdigit() for character in value)
    return digits >= 5 and digits * 2 >= sum(character.isalnum() for character in value)


@lru_cache(maxsize=4_096)
def _number(value: str, entity: str) -> re.Pattern[str]:
    """The digits (and letters) of `value`, grouped in any way; a telephone number also with or without its country's code."""
    signs = [character for character in value.casefold() if character.isalnum()]
    before, after = r"(?<![\w+])", r"(?!\w)"
    if entity != "PHONE_NUMBER":
        return re.compile(before + GAP.join(map(re.escape, signs)) + after, re.IGNORECASE)
    code = rf"(?:(?:\+|00){GAP}\d{{1,3}}{GAP}|\(\+?\d{{1,3}}\){GAP})?\(?0?\)?{GAP}"
    plain = "".join(signs)
    international = value.lstrip("( ").startswith(("+", "00"))
    plain = plain.lstrip("0")
    # the country's code has one to three digits: without it, the rest follows a zero
    tails = [plain, *(plain[cut:] for cut in (1, 2, 3))] if international else [plain]
    forms = [rf"\(?{code}" + GAP.join(tail.lstrip("0")) for tail in dict.fromkeys(tails) if len(tail.lstrip("0")) >= 6]
    return re.compile(before + (f"(?:{'|'.join(forms)})" if forms else GAP.join(signs)) + after)


def _bare(run: list[Word]) -> list[Word]:
    """The words of a name without an article before it."""
    return run[1:] if len(run) > 1 and run[0].text in ("the", "The", "a", "an") else run


def _equal(one: Word, other: Word) -> bool:
    return one.folds[0] == other.folds[0] or any(form in other.folds for form in one.folds)


def _inflected(one: Word, other: Word, least: int) -> bool:
    """Whether the words are equal or, `least` letters and longer, one is the other with an ending."""
    if _equal(one, other):
        return True
    if min(len(one.text), len(other.text)) < least or abs(len(one.text) - len(other.text)) > ENDING:
        return False
    return any(
        SUFFIX.fullmatch(long[len(short) :]) is not None
        for a in one.folds
        for b in other.folds
        for short, long in ((a, b), (b, a))
        if len(short) < len(long) and long.startswith(short)
    )


def _begins(one: Word, other: Word) -> bool:
    """Whether the words are equal or, four letters and longer, one begins with the other."""
    return _equal(one, other) or any(
        min(len(a), len(b)) > INITIALISM and (a.startswith(b) or b.startswith(a)) for a in one.folds for b in other.folds
    )


def _alike(one: Word, other: Word) -> bool:
    from rapidfuzz.fuzz import ratio

    least = ALIKE if _is_latin(one.text) == _is_latin(other.text) else ROMANISED
    return max(ratio(a, b) for a in one.folds for b in other.folds) >= least


def _is_latin(word: str) -> bool:
    return max(word.replace("\u2019", "")) <= "\u036f" or "\u1e00" <= max(word) <= "\u1eff"
