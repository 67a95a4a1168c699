"""What serving costs: the spend of the last hour, and what is left of the cap. Pure: the clock is passed in (seconds)."""

import math
from bisect import bisect_left
from collections import deque

HOUR = 3_600.0
SLOT = 10.0  # seconds that are counted together


class Spend:
    """Amounts over a sliding hour, kept in slots of SLOT seconds. `cap` is the most that an hour may cost, if there is one."""

    def __init__(self, cap: float | None) -> None:
        self._cap = cap
        self._slots: deque[tuple[float, float]] = deque()  # (end of the slot, amount), the oldest first
        self._total = 0.0

    def add(self, amount: float, now: float) -> None:
        """Something cost `amount`; the clock never goes back."""
        if amount <= 0:
            return
        end = (now // SLOT + 1) * SLOT
        if self._slots and self._slots[-1][0] >= end:
            self._slots[-1] = (self._slots[-1][0], self._slots[-1][1] + amount)
        else:
            self._slots.append((end, amount))
        self._total += amount

    def hour(self, now: float) -> float:
        """The spend of the last hour (up to SLOT seconds more)."""
        if self._slots and self._slots[0][0] + HOUR <= now:
            while self._slots and self._slots[0][0] + HOUR <= now:
                self._slots.popleft()
            self._total = math.fsum(amount for _, amount in self._slots)  # anew: sums of many small ones drift
        return self._total

    def share(self, now: float) -> float:
        """The spend over the cap; 0.0 where there is none."""
        return self.hour(now) / self._cap if self._cap else 0.0

    def retry_seconds(self, now: float) -> int:
        """Whole seconds until the spend is below the cap again; 0 if it is."""
        cap = self._cap
        if cap is None or self.hour(now) < cap:
            return 0
        slots = list(self._slots)

        def enough(place: int) -> bool:
            """Is it below the cap once the slots up to `place` are past? Summed as `hour` will sum it then."""
            return math.fsum(amount for _, amount in slots[place + 1 :]) < cap

        end, _ = slots[bisect_left(range(len(slots)), True, key=enough)]
        return max(1, math.ceil(end + HOUR - now))
