"""A fault as it is faced: struck from outside, then watched for what the system says and does about it by itself."""

import time
from collections.abc import Callable
from pathlib import Path

from tests.gameday import scoring, senders
from tests.gameday.scoring import Seen
from tests.gameday.site import PATIENCE, Site, until

ENOUGH = 10  # right answers in a row after which the senders are content


class Facing:
    """What a fault's own code writes its findings with: `strike`, then `detect` and `mend` in this order."""

    def __init__(self, site: Site, fault: str, fates: Path) -> None:
        self.site, self.seen, self.fates, self.folder = site, Seen(fault), fates, fates.parent
        self._mark = site.marked()

    def strike(self) -> None:
        """Call it right before the blow."""
        self._mark = self.site.marked()
        self.seen.struck = time.time()

    def said(self, pattern: str) -> str | None:
        """The first line that a log of the system says since the strike, if one says this."""
        return self.site.said(pattern, self._mark)

    def detect(self, says: Callable[[], str | None], seconds: float = PATIENCE) -> None:
        """Wait until the system says that something is wrong, in its own words."""
        if said := until(says, seconds):
            self.seen.detected, self.seen.by = time.time(), said

    def mend(self, how: str, true: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Wait until the system is as it should be."""
        if until(true, seconds):
            self.seen.mended, self.seen.how = time.time(), how

    def settle(self) -> None:
        """Look at the senders until ENOUGH right answers have come since it was mended."""
        began = time.time()

        def content() -> bool:
            found = [fate for fate in senders.read(self.fates) if fate.sent >= began][-ENOUGH:]
            return len(found) == ENOUGH and all(scoring.status(fate, self.seen.right) == scoring.GOOD for fate in found)

        until(content, 120)
        self.seen.until = time.time()

    def score(self) -> scoring.Score:
        """Once all that was answered is written, or a minute has passed."""
        fates = senders.read(self.fates)
        answered = {fate.request for fate in fates if fate.status == scoring.GOOD and fate.sent <= self.seen.until}
        until(lambda: answered <= self.site.events(), 60)
        return scoring.score(self.seen, fates, self.site.events())
