"""What every judge says of an output, in one shape, so that reports, gates and reviews need not know which judge spoke."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

SENTENCE = re.compile(r"[^\s](?:[^\n.!?]|[.!?](?!\s|$))*[.!?]*")  # ends at a stop that a space follows, or at the line's end


@dataclass(frozen=True)
class Span:
    """`text` = output[start:end], which the source does not support; `kind` says what it is (number, name, word, ...)."""

    start: int
    end: int
    text: str
    kind: str


@dataclass(frozen=True)
class SentenceVerdict:
    """P(unsupported), 0 to 1, of the sentence output[start:end]."""

    start: int
    end: int
    probability: float


@dataclass(frozen=True)
class Verdict:
    """`probability` is P(unsupported), 0 to 1, never below that of the worst of `sentences`; `flagged` is the decision at the
    judge's threshold. `support` is 1 - probability; for the lexical judge the share of content words that the source holds.
    `unsupported` names what the source does not hold, in the output's order."""

    flagged: bool
    probability: float
    support: float
    unsupported: tuple[Span, ...] = ()
    sentences: tuple[SentenceVerdict, ...] = ()


class Judge(Protocol):
    """Deterministic: the same texts get the same verdicts, to the last bit, in whatever batch they come."""

    @property
    def name(self) -> str:
        """What reports record: `lexical`, or name, version and digest."""
        ...

    @property
    def threshold(self) -> float:
        """The probability (0 to 1) from which an output is flagged."""
        ...

    def judge(
        self, sources: Sequence[str], outputs: Sequence[str], logprobs: Sequence[float | None] | None = None
    ) -> list[Verdict]:
        """One verdict a pair. `logprobs`: the mean log-probability of the output's tokens under the model that wrote it."""
        ...


def sentence_bounds(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence, without the spaces between; none for a blank text."""
    return [match.span() for match in SENTENCE.finditer(text)]
