"""The canary's engine killed (kill -9) every 5 seconds for SECONDS (120), with half of the senders on it.

The bars: no request fails, and the gateway knows within a second. It knows when its /healthz does not name the dead process any
more (asked every 20 ms). A canary that keeps dying is cut off by the gateway's own fuse: the route is then set anew, so that
half of the senders stay on it.
"""

import os
import time
from dataclasses import dataclass, field

import psutil

from tests.benchmarks import load, results, served, started

SECONDS = float(os.environ.get("SECONDS", "120"))
EVERY = 5.0
GOAL = 1.0  # seconds
USERS = 5_000


@dataclass
class Killed:
    detected: list[float] = field(default_factory=list)  # seconds each
    away: int = 0  # times that there was nothing to kill
    routed: int = 0  # times that the fuse had cut the canary off


def kill(gateway: started.Gateway, until: float) -> Killed:
    found = Killed()
    at = time.monotonic()
    while (at := at + EVERY) < until:
        time.sleep(max(0.0, at - time.monotonic()))
        health = gateway.health()
        if health.get("weight") != 50.0:
            gateway.route(canary="2", weight=50.0)
            found.routed += 1
        if (pid := health["engines"].get("2")) is None:
            found.away += 1
            continue
        psutil.Process(pid).kill()
        dead = time.monotonic()
        while gateway.health()["engines"].get("2") == pid:
            time.sleep(0.02)
        found.detected.append(time.monotonic() - dead)
    return found


def main() -> None:
    spec = served.tiny_spec(serving={"timeout_ms": 5_000})
    with started.gateway(spec, served.tiny()) as gateway:
        gateway.route(canary="2", weight=50.0)
        job = load.Job(gateway.url, load.bodies(served.texts("short")), rate=40, seconds=SECONDS, warm=1, users=USERS)
        with load.running(job) as process:
            found = kill(gateway, time.monotonic() + SECONDS)
            told = load.result(process)
        counted = gateway.metrics()
    arms = {arm: sum(n for line, n in counted.items() if line.startswith("seqline_requests_total") and f'arm="{arm}"' in line)
            for arm in ("champion", "canary")}  # fmt: skip
    fallbacks = sum(n for line, n in counted.items() if line.startswith("seqline_fallbacks_total"))
    rows = [
        results.bounded("failed requests", told.failed, "requests", 0, len(found.detected), statuses=told.statuses),
        results.bounded("longest until the gateway knows", max(found.detected, default=float("nan")), "s", GOAL,
                        len(found.detected), found.detected),
        results.at_least("kills", len(found.detected), "kills", None),
    ]  # fmt: skip
    shown = ", ".join(f"{arm} {count:.0f}" for arm, count in arms.items())
    results.write(
        "canary_kills", rows,
        f"{sum(told.statuses.values())} requests ({shown} first asked), {fallbacks:.0f} answered by the champion for a canary; "
        f"p99 {told.p99 * 1e3:.0f} ms, max {told.longest * 1e3:.0f} ms",
        f"the fuse cut it off {found.routed} times (the route was set anew); {found.away} times there was no engine to kill",
    )  # fmt: skip


if __name__ == "__main__":
    main()
