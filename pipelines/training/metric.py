"""The task's metric, as those who measure it give it to a training, which knows none of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """How good answers are: `score` takes answers and references and gives their mean, the higher the better.

    It has to be the mean of values that belong to single pairs: several processes score a share each. `name` counts in the
    address of the weights that it chooses.
    """

    name: str
    score: Callable[[Sequence[str], Sequence[str]], float]
