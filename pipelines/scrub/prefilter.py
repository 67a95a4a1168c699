"""Which patterns may match a text at all: one pass of hyperscan over every pattern of every recognizer.

The answer is a superset, never a result: what may match is then run by the recognizer's own code, so that spans, scores and
checksums are Presidio's. Where hyperscan and the `regex` package might read a text differently (odd whitespace, marks,
letters that fold into ASCII ones), or a pattern uses syntax that only `regex` has, everything is run.
"""

import copy
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pipelines.scrub.phones import Phones

# what both packages read alike: no named lists, no set operations, no fuzzy matching, no inline flags, no possessive `++`
_ESCAPE = r"\\(?:[dDwWsSbBnrtfv]|x[0-9a-fA-F]{2}|[1-9](?!\d)|[^a-zA-Z0-9])"
_SET = r"\[\^?\]?(?:\\[dDwWsSnrtfv]|\\x[0-9a-fA-F]{2}|\\[^a-zA-Z0-9]|(?!\[:|--|&&|\|\||~~)[^\]\\])*\]"
_GROUP = r"\((?:\?(?:[:=!]|<[=!]|P<\w+>|i\)))?"
PLAIN = re.compile(rf"(?:{_ESCAPE}|{_SET}|{_GROUP}|\{{\d*,?\d*\}}|(?<![+*?}}])\+|\+(?!\+)|[^\\\[(+{{])*", re.ASCII)
# parts of Unicode where the packages' ideas of letters, digits, spaces and cases are compared below, character by character
_RANGES = (
    (0xA0, 0x250),
    (0x370, 0x530),
    (0x5D0, 0x5EB),
    (0x2010, 0x2028),
    (0x2030, 0x205F),
    (0x20A0, 0x20C0),
    (0x2190, 0x2400),
)


@cache
def _unlike() -> re.Pattern[str]:
    """A character that the packages may read differently."""
    import regex  # type: ignore[import-untyped]

    word, fold = regex.compile(r"\w"), regex.compile(r"[\x00-\x7f]", regex.IGNORECASE)

    def alike(character: str) -> bool:
        kind = unicodedata.category(character)
        same = {character.lower(), character.upper(), character.casefold()}
        return (
            kind[0] not in "MC"
            and not character.isspace()
            and kind[0] != "N"
            and bool(word.match(character)) == (kind[0] == "L")
            and all(len(form) == 1 and form.lower() == character.lower() for form in same)
            and not fold.match(character)
        )

    letters = "".join(character for start, end in _RANGES for character in map(chr, range(start, end)) if alike(character))
    return re.compile(rf"[^\t\n\r\x20-\x7e{re.escape(letters)}]")


class Prefilter:
    """Names the recognizers, each with the patterns, that may find something in a text.

    Args:
        recognizers: of Presidio; those without patterns of their own are always named.
    """

    def __init__(self, recognizers: Sequence[Any]) -> None:
        self._recognizers = list(recognizers)
        self._variants: dict[tuple[int, tuple[int, ...]], Any] = {}
        self._patterns = [_patterns(recognizer) for recognizer in recognizers]
        self._phones = {index: phones for index, each in enumerate(recognizers) if (phones := _phones(each))}
        ids = [(index, number) for index, patterns in enumerate(self._patterns) for number in range(len(patterns))]
        self._ids = ids
        self._databases: dict[int, tuple[Any, frozenset[int]]] = {}

    def _database(self, flags: int) -> tuple[Any, frozenset[int]]:
        """A database of the patterns that hyperscan takes (None if it takes none), and the numbers of the others."""
        if flags not in self._databases:
            entries = [(self._patterns[index][pattern].regex, self._recognizers[index]) for index, pattern in self._ids]
            plain = [number for number, entry in enumerate(entries) if _is_plain(*entry)]
            relaxed = {number: (_relaxed(entries[number][0]), flags | _flags(entries[number][1])) for number in plain}
            database = _compiled(relaxed)
            if database is None:  # one that hyperscan refuses spoils them all
                relaxed = {number: entry for number, entry in relaxed.items() if _compiled({number: entry})}
                database = _compiled(relaxed)
            self._databases[flags] = database, frozenset(range(len(entries))) - relaxed.keys()
        return self._databases[flags]

    def recognizers(self, text: str) -> list[Any]:
        """The recognizers to run on `text`."""
        wanted: dict[int, list[int]] = {}
        for number in sorted(self._scan(text)):
            index, pattern = self._ids[number]
            wanted.setdefault(index, []).append(pattern)
        named = []
        for index, recognizer in enumerate(self._recognizers):
            if index in self._phones:
                named += self._phones[index].recognizers(text)
            elif not self._patterns[index]:
                named.append(recognizer)
            elif index in wanted:
                named.append(self._variant(index, tuple(wanted[index])))
        return named

    def _scan(self, text: str) -> set[int]:
        if _unlike().search(text):
            return set(range(len(self._ids)))
        database, unscreened = self._database(0 if text.isascii() else _unicode_flags())
        seen = set(unscreened)
        if database:
            database.scan(text.encode(), match_event_handler=lambda number, *_: seen.add(number))
        return seen

    def _variant(self, index: int, patterns: tuple[int, ...]) -> Any:
        """The recognizer with these patterns only; its id is the same."""
        if len(patterns) == len(self._patterns[index]):
            return self._recognizers[index]
        if (index, patterns) not in self._variants:
            variant = copy.copy(self._recognizers[index])
            variant.patterns = [self._patterns[index][pattern] for pattern in patterns]
            self._variants[index, patterns] = variant
        return self._variants[index, patterns]


def _patterns(recognizer: Any) -> list[Any]:
    """The patterns that decide what a recognizer finds; empty if its own code may find more."""
    from presidio_analyzer import PatternRecognizer

    stock = type(recognizer).__module__.startswith(("presidio_analyzer.", "pipelines.scrub."))
    by_patterns = isinstance(recognizer, PatternRecognizer)
    if by_patterns and (stock or type(recognizer).analyze is PatternRecognizer.analyze):
        return list(recognizer.patterns)
    return []


def _unicode_flags() -> int:
    import hyperscan

    return int(hyperscan.HS_FLAG_UTF8 | hyperscan.HS_FLAG_UCP)


def _flags(recognizer: Any) -> int:
    import hyperscan
    import regex

    pairs = (
        (regex.DOTALL, hyperscan.HS_FLAG_DOTALL),
        (regex.MULTILINE, hyperscan.HS_FLAG_MULTILINE),
        (regex.IGNORECASE, hyperscan.HS_FLAG_CASELESS),
    )
    wanted = sum(theirs for ours, theirs in pairs if recognizer.global_regex_flags & ours)
    return int(wanted | hyperscan.HS_FLAG_PREFILTER | hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY)


def _is_plain(expression: str, recognizer: Any) -> bool:
    import regex

    known = regex.DOTALL | regex.MULTILINE | regex.IGNORECASE | regex.UNICODE | regex.V0
    plain = expression.isascii() and PLAIN.fullmatch(expression)
    return bool(plain) and not recognizer.global_regex_flags & ~int(known)


def _relaxed(expression: str) -> str:
    """With long bounded repeats open: a superset (assertions, which it would narrow, are dropped in prefilter mode), and
    compiled in a tenth of the time."""
    return re.sub(r"\{(\d+),\d{2,}\}", r"{\1,}", expression)


def _compiled(entries: Mapping[int, tuple[str, int]]) -> Any:
    """A database of {id: (expression, flags)}; None if there is nothing to compile, or something that is refused."""
    import hyperscan

    if not entries:
        return None
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(
            expressions=[expression.encode() for expression, _ in entries.values()],
            ids=list(entries),
            elements=len(entries),
            flags=[flags for _, flags in entries.values()],
        )
    except hyperscan.error:
        return None
    return database


def _phones(recognizer: Any) -> Phones | None:
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer

    try:
        return Phones(recognizer) if type(recognizer) is PhoneRecognizer else None
    except ValueError:
        return None
