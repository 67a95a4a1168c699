"""Numbers of answers, good and bad: over a whole time, and over the last minutes. Pure."""

import math
from dataclasses import dataclass

HALF_LIFE = 60.0  # seconds after which an answer counts half in `Recent`


@dataclass(frozen=True, slots=True)
class Count:
    n: int = 0
    bad: int = 0

    def add(self, good: bool) -> "Count":
        return Count(self.n + 1, self.bad + (not good))

    def __add__(self, other: "Count") -> "Count":
        return Count(self.n + other.n, self.bad + other.bad)

    def interval(self, z: float = 1.96) -> tuple[float, float]:
        """Wilson's interval of the bad rate (95 % by default), for people to read: no decision uses it."""
        if not self.n:
            return 0.0, 1.0
        rate, spread = self.bad / self.n, z * z / self.n
        middle = (rate + spread / 2) / (1 + spread)
        half = math.sqrt(rate * (1 - rate) * spread + spread * spread / 4) / (1 + spread)
        return max(0.0, middle - half), min(1.0, middle + half)


NOTHING = Count()


@dataclass(frozen=True, slots=True)
class Recent:
    """Answers of the last minutes: each counts less the older it is, half after HALF_LIFE. `at` is the time of the latest."""

    n: float = 0.0
    bad: float = 0.0
    at: float = 0.0

    def add(self, n: int, bad: int, at: float) -> "Recent":
        kept = 0.5 ** (max(0.0, at - self.at) / HALF_LIFE)
        return Recent(self.n * kept + n, self.bad * kept + bad, max(at, self.at))
