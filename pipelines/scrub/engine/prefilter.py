"""Which patterns may match a text at all: one pass of hyperscan over every pattern of every recognizer.

The answer is a superset, never a result: what may match is then run by the recognizer's own expressions and checks (on the
words in question alone, if it cannot cross a space), so that spans and scores are Presidio's. Where hyperscan and the `regex`
package might read a text differently (odd whitespace, marks, letters that fold into ASCII ones), or a pattern uses syntax that
only `regex` has, everything is run.
"""

import copy
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from pipelines.scrub.engine.local import in_a_word

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
    import regex

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


class Word(NamedTuple):
    """A part of a text in which the local patterns whose bits are set in `mask` may match."""

    start: int
    text: str
    mask: int


class Prefilter:
    """Names what may find something in a text.

    Args:
        recognizers: of Presidio; those without patterns of their own are always named.
    """

    def __init__(self, recognizers: Sequence[Any]) -> None:
        self._recognizers = list(recognizers)
        self._variants: dict[tuple[int, tuple[int, ...]], Any] = {}
        self._patterns = [_patterns(recognizer) for recognizer in recognizers]
        local = [_is_local(*each) for each in zip(self._recognizers, self._patterns, strict=True)]
        ids = [(index, number) for index, patterns in enumerate(self._patterns) for number in range(len(patterns))]
        self._ids = [each for each in ids if not local[each[0]]]
        self.local = [(self._recognizers[index], self._patterns[index][number]) for index, number in ids if local[index]]
        """(recognizer, pattern) of those that cross no space: bit by bit of a word's mask."""
        whole = [(self._patterns[index][number].regex, self._recognizers[index]) for index, number in self._ids]
        self._whole = _Screen(whole, _single_match())
        self._local = _Screen([(pattern.regex, recognizer) for recognizer, pattern in self.local], 0, _headed)

    def wanted(self, text: str) -> tuple[list[Any], list[Word]]:
        """The recognizers to run on all of `text`, and the words in which to run the local ones."""
        if _unlike().search(text):
            words = [Word(0, text, (1 << len(self.local)) - 1)] if self.local else []
            return self._named(range(len(self._ids))), words
        data = text.encode()
        flags = 0 if len(data) == len(text) else _unicode_flags()
        seen = set(self._whole.unscreened(flags))
        self._whole.scan(data, flags, lambda number, *_: seen.add(number))
        ends: list[tuple[int, int]] = []
        self._local.scan(data, flags, lambda number, _start, end, *_: ends.append((end, number)))
        words = _words(text, data, ends) if ends else []
        if unscreened := self._local.unscreened(flags):
            words.append(Word(0, text, sum(1 << number for number in unscreened)))
        return self._named(sorted(seen)), words

    def _named(self, numbers: Iterable[int]) -> list[Any]:
        wanted: dict[int, list[int]] = {}
        for number in numbers:
            index, pattern = self._ids[number]
            wanted.setdefault(index, []).append(pattern)
        named = []
        for index, recognizer in enumerate(self._recognizers):
            if not self._patterns[index]:
                named.append(recognizer)
            elif index in wanted:
                named.append(self._variant(index, tuple(wanted[index])))
        return named

    def _variant(self, index: int, patterns: tuple[int, ...]) -> Any:
        """The recognizer with these patterns only; its id is the same."""
        if len(patterns) == len(self._patterns[index]):
            return self._recognizers[index]
        if (index, patterns) not in self._variants:
            variant = copy.copy(self._recognizers[index])
            variant.patterns = [self._patterns[index][pattern] for pattern in patterns]
            self._variants[index, patterns] = variant
        return self._variants[index, patterns]


class _Screen:
    """Databases of hyperscan, one by set of flags.

    Args:
        entries: (expression, recognizer); reported by their place.
    """

    def __init__(
        self, entries: Sequence[tuple[str, Any]], flags: int, shorten: Callable[[str], str] = lambda expression: expression
    ) -> None:
        self._entries, self._flags, self._shorten = entries, flags, shorten
        self._databases: dict[int, tuple[Any, frozenset[int]]] = {}

    def scan(self, data: bytes, flags: int, handler: Callable[..., Any]) -> None:
        database = self._database(flags)[0]
        if database:
            database.scan(data, match_event_handler=handler)

    def unscreened(self, flags: int) -> frozenset[int]:
        """The entries that hyperscan does not take: nothing is reported of them."""
        return self._database(flags)[1]

    def _database(self, flags: int) -> tuple[Any, frozenset[int]]:
        if flags not in self._databases:
            plain = [number for number, entry in enumerate(self._entries) if _is_plain(*entry)]
            relaxed = {number: self._entry(number, flags) for number in plain}
            database = _compiled(relaxed)
            if database is None:  # one that hyperscan refuses spoils them all
                relaxed = {number: entry for number, entry in relaxed.items() if _compiled({number: entry})}
                database = _compiled(relaxed)
            self._databases[flags] = database, frozenset(range(len(self._entries))) - relaxed.keys()
        return self._databases[flags]

    def _entry(self, number: int, flags: int) -> tuple[str, int]:
        expression, recognizer = self._entries[number]
        return self._shorten(_relaxed(expression)), flags | self._flags | _flags(recognizer)


def _words(text: str, data: bytes, ends: Iterable[tuple[int, int]]) -> list[Word]:
    """The words that hold the ends, offsets in the text's UTF-8, of what may match."""
    masks: dict[tuple[int, int], int] = {}
    first = last = 0
    for end, number in ends:
        if not first < end <= last:
            first = max(data.rfind(b" ", 0, end), data.rfind(b"\n", 0, end)) + 1
            last = min(place if place >= 0 else len(data) for place in (data.find(b" ", end), data.find(b"\n", end)))
        masks[first, last] = masks.get((first, last), 0) | 1 << number
    if len(data) == len(text):
        return [Word(first, text[first:last], mask) for (first, last), mask in masks.items()]
    return [Word(len(data[:first].decode()), data[first:last].decode(), mask) for (first, last), mask in masks.items()]


def _is_local(recognizer: Any, patterns: Sequence[Any]) -> bool:
    """Whether its results in a word depend on that word alone, and can be had without running its own `analyze`."""
    from presidio_analyzer import PatternRecognizer

    kind = type(recognizer)
    ours = kind is PatternRecognizer or kind.__module__.startswith(("presidio_analyzer.", "pipelines.scrub."))
    if not patterns or not ours or kind.analyze is not PatternRecognizer.analyze:
        return False
    return all(_is_plain(pattern.regex, recognizer) and in_a_word(pattern.regex) for pattern in patterns)


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
    return int(wanted | hyperscan.HS_FLAG_PREFILTER)


def _single_match() -> int:
    import hyperscan

    return int(hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY)


def _is_plain(expression: str, recognizer: Any) -> bool:
    import regex

    known = regex.DOTALL | regex.MULTILINE | regex.IGNORECASE | regex.UNICODE | regex.V0
    plain = expression.isascii() and PLAIN.fullmatch(expression)
    return bool(plain) and not recognizer.global_regex_flags & ~int(known)


def _relaxed(expression: str) -> str:
    """With long bounded repeats open: a superset (assertions, which it would narrow, are dropped in prefilter mode), and
    compiled in a tenth of the time."""
    return re.sub(r"\{(\d+),\d{2,}\}", r"{\1,}", expression)


def _headed(expression: str) -> str:
    """Without an optional group at its end: it matches in the same words, and fewer ends of matches are reported."""
    return re.sub(r"\(\?:(?:\[\^?\]?[^\]\\]*(?:\\.[^\]\\]*)*\]|[^()\[\]|\\])*\)\?(?=\)*\Z)", "", expression)


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
