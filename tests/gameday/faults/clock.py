"""A clock that jumps under the whole stack while a version takes over: an hour ahead, an hour back, right again."""

import shutil
import struct
import subprocess
import time
from pathlib import Path

from tests.gameday.disk import Unable
from tests.gameday.facing import Facing
from tests.gameday.faults.rollouts import ended, lapsed, staged, taken_over
from tests.gameday.site import until

HOUR, PAUSE = 3_600, 12.0
SOURCE = Path(__file__).with_name("clock.c")


def jump(facing: Facing) -> None:
    """All processes of the stack but those of Go (Prometheus, Alertmanager) read the time of day through clock.c."""
    site = facing.site
    offset = facing.folder / "clock"
    jumped(offset, 0)
    environment = {"LD_PRELOAD": str(preloaded(facing.folder)), "GAMEDAY_CLOCK": str(offset)}
    site.down()
    site.up(**environment)
    retrain = staged(facing, **environment)
    try:
        facing.strike()
        jumped(offset, HOUR)
        facing.detect(lambda: lapsed(site) or _ahead(facing), 60)
        time.sleep(max(0.0, facing.seen.struck + PAUSE - time.time()))
        jumped(offset, -HOUR)
        time.sleep(PAUSE)
        jumped(offset, 0)
        righted = time.time()
        facing.seen.notes.append(f"the clock was right again {righted - facing.seen.struck:.0f} s after the blow")
        facing.mend("the controller's ticks count by the right clock", lambda: _leased(facing, righted))
        ended(facing)
        until(lambda: retrain.poll() is not None, 120)
    finally:
        jumped(offset, 0)
        if retrain.poll() is None:
            retrain.kill()
        retrain.wait()


def jumped(offset: Path, seconds: int) -> None:
    """Set the clocks that read `offset` ahead by so many seconds: in its place, for it is mapped into their memory."""
    with offset.open("r+b" if offset.exists() else "wb") as stream:
        stream.write(struct.pack("=q", seconds))


def _ahead(facing: Facing) -> str:
    """The lease is counted from the clock as it is now: an hour ahead of the one of before."""
    return "the lease was renewed by the new time" if taken_over(facing.site, facing.seen.struck + HOUR / 2) else ""


def _leased(facing: Facing, righted: float) -> bool:
    """Whether a tick was made by the right clock, or all is decided."""
    found = facing.site.asked("SELECT until FROM controllers")
    return bool(facing.site.outcome()) or righted < found[0][0] < righted + HOUR / 2


def preloaded(folder: Path) -> Path:
    """clock.c as a library in `folder`.

    Raises:
        Unable: there is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Unable("there is no C compiler (cc) to build tests/gameday/faults/clock.c with")
    made = folder / "clock.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(made), str(SOURCE)], check=True)
    return made
