"""A text that is longer than a model reads, cut into pieces that it reads whole: at sentences, else words, else tokens.

Pieces are stripped of the spaces at their ends; but for those, joined they are the text.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

SPACES = re.compile(r"\s+")
_ODD_SPACES = re.compile(r"[^\S \t\r\n]")


def cut(text: str, starts: Sequence[int], room: int, fits: Callable[[str], bool], language: str) -> list[str]:
    """Cut `text` greedily: each piece ends at the last sentence that fits, else the last word, else the last token.

    Args:
        starts: the place in the text where each of its tokens starts.
        room: tokens in a piece. A piece alone may have more than it had in the text, hence `fits`.
        fits: whether the model reads a piece whole. A piece of one character is not cut further, fits or not.
        language: whose sentences these are (ISO 639-1).
    """
    starts = sorted(starts)
    bounds = (sentence_ends(text, language), [match.end() for match in SPACES.finditer(text)])
    pieces, at = [], 0
    while at < len(text):
        end = _end(text, at, starts, room, fits, bounds)
        pieces.append(text[at:end].strip())
        at = end
    return pieces


def _end(
    text: str, at: int, starts: Sequence[int], room: int, fits: Callable[[str], bool], bounds: Sequence[Sequence[int]]
) -> int:
    """Where the piece that starts at `at` ends."""
    begin = _past_spaces(text, at)
    first = bisect_left(starts, begin)
    while room > 0:
        reach = starts[first + room] if first + room < len(starts) else len(text)
        end = _bound(text, begin, reach, bounds)
        if end > begin and fits(text[at:end].strip()):
            return end
        room = min(room, bisect_left(starts, end) - first) - 1
    return _past_spaces(text, begin + 1)


def _bound(text: str, begin: int, reach: int, bounds: Sequence[Sequence[int]]) -> int:
    """The best place to end a piece whose tokens end at `reach`; the spaces after it go with it."""
    past = _past_spaces(text, reach)
    if past == len(text):
        return past
    for ends in bounds:
        end = ends[place - 1] if (place := bisect_right(ends, past)) else 0
        if end > begin:
            return end
    while reach > begin and unicodedata.combining(text[reach]):  # an accent stays with its letter
        reach -= 1
    return reach


def _past_spaces(text: str, at: int) -> int:
    match = SPACES.match(text, at)
    return match.end() if match else at


def sentence_ends(text: str, language: str) -> list[int]:
    """The places in `text` where a sentence ends, the spaces after it included."""
    # sentencex 1.0.32 panics on some spaces wider than a byte (U+00A0 before a full stop, say).
    return list(accumulate(map(len, segments(_ODD_SPACES.sub(" ", text), language))))


def segments(text: str, language: str) -> list[str]:
    """The sentences of `text`, which joined are the text; all of it as one where sentencex gives up."""
    import sentencex  # type: ignore[import-untyped]

    try:
        found: list[str] = list(sentencex.segment(language, text))
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's; pyo3 derives it from BaseException
            raise
        found = []
    return found if "".join(found) == text else [text]
