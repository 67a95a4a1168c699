"""What answers are worth, as this step is told it: by a Judge from outside, since a step imports no other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Measured:
    """A mean over pairs, or a mean difference, with its interval; `verdict` is what the difference allows to say."""

    value: float
    low: float
    high: float
    verdict: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        found: dict[str, Any] = {"value": self.value, "interval": [self.low, self.high]}
        return found | ({"verdict": self.verdict} if self.verdict else {})


def cell(measured: Any, form: str = ".1f") -> str:
    """What `plain` made, for a person."""
    low, high = measured["interval"]
    return f"{measured['value']:{form}} [{low:{form}}, {high:{form}}]"


class Judge(Protocol):
    """Scores of answers to the sources of some pairs, in their order, and what they say."""

    def score(self, answers: Sequence[str]) -> Any:
        """A score a pair."""

    def mean(self, scores: Any) -> Measured:
        """Their mean."""

    def difference(self, ours: Any, theirs: Any) -> Measured:
        """The mean of ours - theirs, pair by pair; the verdict is about the floor."""
