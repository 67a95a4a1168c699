"""Sums of numbers that are kept as their natural logs, where the numbers themselves would overflow."""

import math
from collections.abc import Sequence


def add(a: float, b: float) -> float:
    high, low = (a, b) if a >= b else (b, a)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def total(logs: Sequence[float]) -> float:
    high = max(logs)
    if high == -math.inf:
        return high
    return high + math.log(math.fsum(math.exp(log - high) for log in logs))
