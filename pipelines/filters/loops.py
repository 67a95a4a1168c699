"""A decoder that is caught in a loop: "salad salad salad", "hahahaha", the same clause again and again."""

from collections import Counter
from operator import eq

from pipelines.filters.words import bare, runs

TIMES = 3  # so often in a row it is a loop
TIMES_SHORT = 4  # for a single word of up to SHORT letters: "no, no, no", "bla bla bla"
SHORT = 3
PERIODS = 24  # longest loop, in words
LETTERS_TIMES = {1: 6}  # "aaaaaa"; else
LETTERS_TIMES_ELSE = 4  # "hahahaha"
LETTERS_PERIODS = 12  # longest loop within a word, in characters
LONG_WORD = 6  # characters; shorter ones hold no loop
HASH = 64  # characters up to which a word with a digit is a number in hex, a hash, a key
GRAM, GRAM_TIMES, GRAM_SHARE = 4, 4, 0.5  # so many words, so often, so much of the text: a loop with other words between


def loops(source: str, output: str) -> bool:
    """Whether `output` repeats itself as no writer would, and more than its source does."""
    found = repeats(output)
    return found >= TIMES and found >= 2 * repeats(source)


def repeats(text: str) -> int:
    """How often the text's most repeated loop comes (TIMES or more); 0 if there is none. Linear in the text."""
    words = runs(bare(text).casefold())
    return max(_of_words(words), _of_letters(words))


def _of_words(words: list[str]) -> int:
    counts = Counter(words)
    if not counts or max(counts.values()) < TIMES:
        return 0
    most = 0
    for period in range(1, min(PERIODS, len(words) // TIMES) + 1):
        # same[i]: word i comes again `period` words later
        same = bytes(map(eq, words[period:], words))
        if b"\1" * (period * (TIMES - 1)) in same:
            most = max(most, _longest(words, same, period))
    return most or _scattered(words)


def _longest(words: list[str], same: bytes, period: int) -> int:
    """Repeats of the longest loop of `period` words in which there are letters (rows of digits are tables, not loops)."""
    most = at = 0
    for run in same.split(b"\0"):
        times = len(run) // period + 1
        if times >= TIMES and times > most:
            loop = words[at : at + period]
            short = period == 1 and len(loop[0]) <= SHORT
            if times >= (TIMES_SHORT if short else TIMES) and not all(map(str.isnumeric, loop)):
                most = times
        at += len(run) + 1
    return most


def _scattered(words: list[str]) -> int:
    """How often the commonest run of GRAM words comes, if it is much of the text."""
    grams = Counter(zip(words, words[1:], words[2:], words[3:], strict=False))
    if not grams:
        return 0
    times = max(grams.values())
    return times if times >= GRAM_TIMES and times * GRAM >= GRAM_SHARE * len(words) else 0


def _of_letters(words: list[str]) -> int:
    return max((_within(word) for word in set(words) if len(word) >= LONG_WORD and not _is_code(word)), default=0)


def _is_code(word: str) -> bool:
    return word.isnumeric() or (len(word) <= HASH and any(map(str.isdigit, word)))


def _within(word: str) -> int:
    for period in range(1, min(LETTERS_PERIODS, len(word) // 2) + 1):
        times = LETTERS_TIMES.get(period, LETTERS_TIMES_ELSE)
        if len(word) < times * period:
            break
        same = bytes(map(eq, word[period:], word))
        at = same.find(b"\1" * (period * (times - 1)))
        if at >= 0 and not word[at : at + period].isnumeric():
            return max(map(len, same[at:].split(b"\0"))) // period + 1
    return 0
