"""Break the running system, one fault after another, and score what it makes of each by itself.

    python -m tests.gameday [FAULT ...]        all of them by default; --list names them, --keep DIR leaves the site there

A small model is trained, the whole stack is brought up (`seqline up`: its ports must be free), and senders ask RATE (5) times
a second all day. The table, the figures and the picture lie in .seqline/gameday/, where a run of some faults keeps the lines of
the others. Exit code 1 where a fault did not hold.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.gameday import report, scoring
from tests.gameday.disk import Unable
from tests.gameday.facing import Facing
from tests.gameday.faults import ALL
from tests.gameday.scoring import Score
from tests.gameday.site import Site

RATE = float(os.environ.get("RATE", "5"))
OUT = Path(".seqline/gameday")


def faced(site: Site, fault: str, folder: Path) -> Score:
    """One fault, with senders from before the blow to ten right answers after its end."""
    fates = folder / f"{fault}.jsonl"
    facing = Facing(site, fault, fates)
    before = site.holdings()
    with site.senders(RATE, fates):
        facing.settle()
        facing.seen.right = frozenset({site.champion})
        try:
            ALL[fault](facing)
            facing.settle()
        except Unable as why:
            facing.seen.skipped = str(why)
        except Exception:  # the others are faced all the same
            facing.seen.notes.append(f"could not be faced to its end: {traceback.format_exc(limit=-2)}")
            facing.settle()
    facing.seen.lost += scoring.lost(before, site.holdings())
    return facing.score()


def day(faults: Sequence[str], folder: Path) -> list[Score]:
    site = Site(folder)
    try:
        sys.stderr.write("a first version is trained\n")
        site.train()
        site.up()
        scores = []
        for fault in faults:
            sys.stderr.write(f"{fault} ...\n")
            began = time.monotonic()
            scores.append(faced(site, fault, folder))
            sys.stderr.write(f"{report.line(scores[-1])}; faced in {time.monotonic() - began:.0f} s\n")
            report.write(report.beside(scores, OUT, list(ALL)), OUT)
        return scores
    finally:
        site.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gameday", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(ALL))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    if unknown := set(given.faults) - set(ALL):
        parser.error(f"{', '.join(sorted(unknown))}: no such fault: there are {', '.join(ALL)}")
    if given.list:
        sys.stdout.write("\n".join(ALL) + "\n")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the stack ends with this
    folder = given.keep or Path(tempfile.mkdtemp(prefix="seqline-gameday-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        scores = day(given.faults or list(ALL), folder.resolve())
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
    report.show(OUT)
    return int(any(score.holds is False for score in scores))


if __name__ == "__main__":
    sys.exit(main())
