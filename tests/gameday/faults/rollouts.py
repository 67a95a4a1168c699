"""What goes wrong while a new version takes over: its controller dies, it is a bad one, the clock jumps."""

import json
import subprocess

import psutil

from tests.gameday.facing import Facing
from tests.gameday.faults.corruption import stop
from tests.gameday.site import NAME, Site, until

LEASE = 30.0  # seconds that a controller's tick counts


def controller(facing: Facing) -> None:
    """kill -9 of the one who rolls a version out, in mid-stage; the scheduler starts another one."""
    site = facing.site
    retrain = staged(facing)
    try:
        facing.strike()
        retrain.kill()
        retrain.wait()
        facing.detect(lambda: lapsed(site) or taken_over(site, facing.seen.struck))
        facing.mend("another controller holds the lease", lambda: taken_over(site, facing.seen.struck))
        ended(facing)
    finally:
        stop(retrain)


def canary(facing: Facing) -> None:
    """A version whose engine dies whenever it is up, with requests in its hands."""
    site = facing.site
    champion = site.champion
    retrain = staged(facing)
    bad = str(site.health()["canary"])

    def torment() -> str | None:
        if pid := site.engine(bad):
            try:
                psutil.Process(pid).kill()
            except psutil.NoSuchProcess:
                return None
        return facing.said("fuse: version") or decided(site, "rollback")

    try:
        facing.strike()
        facing.detect(torment)
        facing.mend("rolled back: the champion answers all", lambda: (torment(), site.outcome())[1])
        if site.outcome() == "promoted" or site.champion != champion:
            facing.seen.mended = None
        facing.seen.notes.append(f"the rollout ended: {site.outcome() or 'it is open'}")
        until(lambda: retrain.poll() is not None, 120)
    finally:
        stop(retrain)


def staged(facing: Facing, **environment: str) -> "subprocess.Popen[str]":
    """A retrain whose version has a share of the senders by now."""
    site = facing.site
    retrain = site.retrain(**environment)
    until(lambda: site.phase() == "stage" or retrain.poll() is not None, 420, what="a rollout in a stage")
    until(lambda: site.health().get("weight"), what="a canary with a share")
    facing.seen.right |= {str(site.health()["canary"])}
    return retrain


def lapsed(site: Site) -> str:
    """What the gateway says once nobody watches the canary any more."""
    health = site.health()
    return "healthz: the canary's weight is 0: the lease ran out" if health.get("canary") and not health["weight"] else ""


def taken_over(site: Site, struck: float) -> str:
    until_ = site.asked("SELECT until FROM controllers WHERE name = ?", NAME)[0][0]
    return "the next controller renewed the lease" if until_ > struck + LEASE + 1 else ""


def decided(site: Site, action: str) -> str:
    """The reasons of the last rollout's decision for that action; empty while there is none."""
    rows = site.asked("SELECT reasons FROM decisions WHERE rollout = (SELECT max(id) FROM rollouts) AND action = ?", action)
    return f"seqline history: {action}: {'; '.join(json.loads(rows[0][0]))}" if rows else ""


def ended(facing: Facing) -> None:
    """The rollout goes on to its end, every transition once."""
    site = facing.site
    until(site.outcome, 420)
    number = site.asked("SELECT max(id) FROM rollouts")[0][0]
    steps = [action for (action,) in site.asked("SELECT action FROM decisions WHERE rollout = ? ORDER BY id", number)]
    facing.seen.notes.append(f"the rollout ended: {site.outcome() or 'it is open'}, by {', '.join(steps)}")
    if not site.outcome():
        facing.seen.mended = None
