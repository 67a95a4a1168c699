"""A disk that is full, and one that is slow: the workspace's own, with all databases on it."""

import time

from tests.gameday.facing import Facing
from tests.gameday.faults.processes import runs
from tests.gameday.site import NAME, until

FULL_SECONDS, SLOW_SECONDS = 20.0, 30.0
WRITES = 4  # a second: a commit needs several
RUN_SECONDS = 300.0  # in which one of the runs that are due each minute goes through
WAIT = 10  # events that wait in memory: more than a pause between two writes of the journal


def full(facing: Facing) -> None:
    """Not a byte is free, for FULL_SECONDS; a retrain is asked for meanwhile."""
    site = facing.site
    facing.strike()
    with site.disk.full():
        facing.detect(lambda: waiting(facing), 60)
        refused = site.project.seqline("retrain", f"models/{NAME}.yaml")
        facing.seen.notes.append(f"a retrain meanwhile: exit {refused.code}: {refused.err.strip()[-200:]}")
        time.sleep(max(0.0, facing.seen.struck + FULL_SECONDS - time.time()))
    freed = time.time()
    facing.mend("all events are written", lambda: site.health().get("ok") and not site.metric("journal_pending"))
    facing.seen.notes.append(f"room was made {freed - facing.seen.struck:.0f} s after the blow")
    if not until(lambda: runs("rollout", "COMPLETED", freed), RUN_SECONDS):
        facing.seen.mended = None
        facing.seen.notes.append("no scheduled run went through afterwards")


def slow(facing: Facing) -> None:
    """WRITES reach the disk a second, for SLOW_SECONDS."""
    site = facing.site
    facing.strike()
    with site.disk.slow(WRITES):
        facing.detect(lambda: waiting(facing), 60)
        time.sleep(max(0.0, facing.seen.struck + SLOW_SECONDS - time.time()))
    over = time.time()
    facing.mend("all events are written", lambda: site.health().get("ok") and not site.metric("journal_pending"))
    facing.seen.notes.append(f"the disk was as quick as before {over - facing.seen.struck:.0f} s after the blow")


def waiting(facing: Facing) -> str:
    """What the gateway says of a journal that cannot be written."""
    if said := facing.said("the rollout database is away|No space left|disk is full"):
        return said
    pending = facing.site.metric("journal_pending")
    return f"/metrics: seqline_journal_pending {pending:.0f}" if pending >= WAIT else ""
