"""Answers to texts of any length, from a model that reads only so much at once.

`whole` decides what has to be decoded and makes one answer of the answers. It decodes nothing itself: it is a generator that
yields texts (none longer than the model reads) and is sent their answers. `together` drives it where decoding is a call; where
it is awaited, as in an engine, the driver is:

    reading = whole(text, decoder.windows, Reading("translation"))
    wanted = next(reading)
    while True:
        answers = await submit(wanted, decoding)       # the same decoding each time: answers.settled(decoding), if it draws
        try:
            wanted = reading.send(answers)
        except StopIteration as end:
            return end.value
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.decode.answers import Answer
from pipelines.errors import UserError

SHRINKS = 0.75
"""Summaries of parts are summarised in their turn only if that takes at most this share of the pieces: so it must end."""

Parts = Generator[list[str], Sequence[Answer], Answer]
Windows = Callable[[str, str], list[str]]


class TooLong(UserError):
    """A text is longer than the model reads, and the spec refuses such texts."""


@dataclass(frozen=True)
class Reading:
    """How long texts are read: `long_inputs` as in the spec's serving section, `language` is the source's."""

    task: Literal["summarization", "translation", "text2text"]
    language: str = "en"
    long_inputs: Literal["split", "cut", "refuse"] = "split"


def whole(text: str, windows: Windows, reading: Reading) -> Parts:
    """Answer `text`: at once if it fits, else as `reading` says; `windows(text, language)` cuts it.

    Raises:
        TooLong: it does not fit, and such texts are refused.
    """
    pieces = [text] if reading.long_inputs == "cut" else windows(text, reading.language)
    if len(pieces) > 1 and reading.long_inputs == "refuse":
        raise TooLong("longer than the model reads at once: send less, or set serving.long_inputs to split")
    answers = list((yield pieces))
    if len(pieces) == 1:
        return answers[0]
    if reading.task == "summarization":
        return (yield from _condensed(pieces, answers, windows, reading.language))
    return _one(answers, answers, joined(text, pieces, [answer.text for answer in answers]))


def _condensed(pieces: list[str], answers: list[Answer], windows: Windows, language: str) -> Parts:
    """The summary of the summaries, and again until it fits; the summaries, joined, where they do not get shorter."""
    first, told = answers, list(answers)
    while True:
        summary = " ".join(answer.text for answer in answers)
        again = windows(summary, language)
        if len(again) > SHRINKS * len(pieces):
            return _one(first, told, summary, sum(answer.target_tokens for answer in answers))
        pieces = again
        answers = list((yield pieces))
        told += answers
        if len(answers) == 1:
            return _one(first, told, answers[0].text, answers[0].target_tokens)


def _one(first: Sequence[Answer], told: Sequence[Answer], text: str, tokens: int | None = None) -> Answer:
    """One answer of many: `first` read the source, `told` are all that had a part in it."""
    seeds = {answer.seed for answer in told}
    return Answer(
        text=text,
        logprob=None,
        source_tokens=sum(answer.source_tokens for answer in first),
        target_tokens=sum(answer.target_tokens for answer in told) if tokens is None else tokens,
        truncated=any(answer.truncated for answer in told),
        finished=all(answer.finished for answer in told),
        parts=len(first),
        seed=seeds.pop() if len(seeds) == 1 else None,
    )


def joined(text: str, pieces: Sequence[str], answers: Sequence[str]) -> str:
    """The answers to the pieces of `text`, between them what is between the pieces.

    Where that is nothing (a script without spaces, or a word too long for the model) an answer that itself has spaces is
    followed by one.
    """
    out, end = "", 0
    for place, (piece, answer) in enumerate(zip(pieces, answers, strict=True)):
        start = text.index(piece, end)
        if place:
            out += text[end:start] or (" " if " " in answers[place - 1] else "")
        out += answer
        end = start + len(piece)
    return out


def together(readings: Sequence[Parts], decode: Callable[[list[str]], Sequence[Answer]]) -> list[Answer]:
    """Drive all `readings` side by side: what they want is decoded in as few calls as there are levels.

    Raises:
        TooLong: naming the input.
    """
    ready: dict[int, Answer] = {}
    wanted = {}
    for place, reading in enumerate(readings):
        try:
            wanted[place] = next(reading)
        except TooLong as error:
            raise TooLong(f"inputs[{place}]: {error}") from None
    while wanted:
        answers = iter(decode([text for texts in wanted.values() for text in texts]))
        further = {}
        for place, texts in wanted.items():
            try:
                further[place] = readings[place].send([next(answers) for _ in texts])
            except StopIteration as end:
                ready[place] = end.value
        wanted = further
    return [ready[place] for place in range(len(readings))]
