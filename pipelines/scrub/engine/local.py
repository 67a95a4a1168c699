"""What patterns find, without the rest of the text: by the word where they cross no space, by the line for mailboxes.

The expressions are run by the `regex` package and validated by the recognizer's own code, as PatternRecognizer.analyze does; it
makes explanations, logs and results besides, most of its time on a short text.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

Hits = list[tuple[int, int, float]]

# no literal space, no class that has one (`\s`, `\W`, `\D`, `.`, a negated set without `\s`), no anchor: neither a match nor
# what it looks at reaches over a space or a line break, and the end of a text is to it as one
_IN_A_WORD = re.compile(
    r"(?:\\[dwbB1-9]|\\[^a-zA-Z0-9\s]"
    r"|\[\^(?:\\[^\s]|[^\]\\\s])*?\\s(?:\\[^\s]|[^\]\\\s])*\]|\[(?!\^)\]?(?:\\[dw]|\\[^a-zA-Z0-9\s]|[^\]\\\s])*\]"
    r"|\((?:\?(?:[:=!]|<[=!]|P<\w+>|i\)))?|[^\s\\\[(.^$])*",
    re.ASCII,
)
_ANGLE = re.compile(r"<[^<>@\s]+@[^<>@\s]+>")


def in_a_word(expression: str) -> bool:
    """Whether all that `expression`, a plain one, matches or looks at lies between spaces and line breaks."""
    return _IN_A_WORD.fullmatch(expression) is not None


def by_patterns(recognizer: Any, patterns: Iterable[Any], text: str) -> Hits:
    """(start, end, score) of each result that a PatternRecognizer with these patterns has.

    Raises:
        TimeoutError: an expression was given up.
    """
    import regex
    from presidio_analyzer import pattern_recognizer

    timeout, flags = pattern_recognizer.REGEX_TIMEOUT_SECONDS, recognizer.global_regex_flags
    hits: set[tuple[int, int, float]] = set()
    for pattern in patterns:
        if not pattern.compiled_regex or pattern.compiled_with_flags != flags:
            pattern.compiled_with_flags, pattern.compiled_regex = flags, regex.compile(pattern.regex, flags=flags)
        for match in pattern.compiled_regex.finditer(text, timeout=timeout):
            value, score = match[0], pattern.score
            valid = recognizer.validate_result(value) if value else False
            if valid is not None:
                score = 1.0 if valid else 0.0
            if score > 0 and not recognizer.invalidate_result(value):
                hits.add((*match.span(), score))
    return outermost(hits)


def outermost(hits: Iterable[tuple[int, int, float]]) -> Hits:
    """EntityRecognizer.remove_duplicates for one entity: no result in another that is as sure."""
    kept: Hits = []
    for start, end, score in sorted(hits, key=lambda hit: (hit[0], -hit[1], -hit[2])):
        if score and not any(other[1] >= end and other[2] >= score for other in kept):
            kept.append((start, end, score))
    return kept


class Mailboxes:
    """The spans of MailboxRecognizer: its patterns cross no line break, and all need an address."""

    def __init__(self, recognizer: Any) -> None:
        self._recognizer = recognizer
        *self._before, self._comment = recognizer.patterns
        self._lines: dict[str, Hits] = {}

    def forget(self) -> None:
        """Drop what is remembered of the texts."""
        self._lines.clear()

    def spans(self, text: str) -> Hits:
        """(start, end, score) of each name."""
        hits: Hits = []
        sign = text.find("@")
        while sign >= 0:
            start, end = text.rfind("\n", 0, sign) + 1, text.find("\n", sign)
            end = end if end >= 0 else len(text)
            hits += ((first + start, last + start, score) for first, last, score in self._line(text[start:end]))
            sign = text.find("@", end)
        return hits

    def _line(self, line: str) -> Hits:
        if " (" in line[line.find("@") :]:
            return self._found(line, [*self._before, self._comment])
        # a name ends before an address in brackets: what follows the last one is not looked at
        named = line[: line.rfind(">") + 1]
        return self._found(named, self._before) if _ANGLE.search(named) else []

    def _found(self, line: str, patterns: Sequence[Any]) -> Hits:
        # another thread may `forget` at any time
        hits = self._lines.get(line)
        if hits is None:
            hits = self._lines[line] = by_patterns(self._recognizer, patterns, line)
        return hits


class Words:
    """The spans of recognizers whose patterns cross no space, for the words in which they may match.

    Args:
        entries: (recognizer, pattern), in a fixed order; a mask's bits stand for them.
    """

    def __init__(self, entries: Sequence[tuple[Any, Any]]) -> None:
        self._entries = entries
        self._seen: dict[tuple[str, int], list[tuple[Any, Hits]]] = {}

    def forget(self) -> None:
        """Drop what is remembered of the texts."""
        self._seen.clear()

    def spans(self, word: str, mask: int) -> list[tuple[Any, Hits]]:
        """Each recognizer with what it finds in `word`, by the patterns of the mask."""
        key = word, mask
        known = self._seen.get(key)
        if known is None:
            chosen: dict[int, tuple[Any, list[Any]]] = {}
            for number, (recognizer, pattern) in enumerate(self._entries):
                if mask >> number & 1:
                    chosen.setdefault(id(recognizer), (recognizer, []))[1].append(pattern)
            found = ((recognizer, by_patterns(recognizer, patterns, word)) for recognizer, patterns in chosen.values())
            known = self._seen[key] = [(recognizer, hits) for recognizer, hits in found if hits]
        return known
