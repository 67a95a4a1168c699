"""A canary that is killed, crashes and hangs (KINDS), with half of the senders on it: REQUESTS (100,000) in all, RATE (100)/s.

- killed: kill -9 every 5 seconds, whatever it is doing;
- crashes: it dies with requests in its hands, as often as it is back (it is stopped until some wait at it, then killed);
- hangs: it is stopped until the gateway's fuse cuts it off, then it goes on; every 5 seconds.

The bars: no request fails, and the gateway knows of a death within a second (its /healthz, asked every 20 ms, does not name the
dead process any more). The fuse cuts off a canary that keeps failing: the route is then set anew, so that half of the senders
stay on it.
"""

import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil

from tests.benchmarks import load, results, served, started

KINDS = os.environ.get("KINDS", "killed crashes hangs").split()
REQUESTS = int(os.environ.get("REQUESTS", "100000"))
RATE = float(os.environ.get("RATE", "100"))
EVERY, LOOK = 5.0, 0.25  # seconds between two faults; between two looks whether the fuse has cut the canary off
GOAL = 1.0  # seconds
PATIENCE = 60.0  # seconds after which a fault that nobody notices is over
LAST = 8.0  # seconds before the end of the load, in which nothing is hurt any more
USERS = 5_000
HELD = 3  # requests in flight with which a crashing canary dies; more than a third of them are its own


@dataclass
class Faced:
    """A gateway with a canary to hurt, and what was seen: seconds from each fault until it was known, times that there was no
    engine to hurt, and times that the fuse had cut the canary off."""

    gateway: started.Gateway
    http: httpx.Client
    known: list[float] = field(default_factory=list)
    away: int = 0
    routed: int = 0

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"{self.gateway.url}/healthz").json()
        return found

    def until(self, true: Callable[[dict[str, Any]], bool], every: float = 0.02) -> None:
        """Ask for the health until it is `true`, for at most PATIENCE; the time that took is kept."""
        began = time.monotonic()
        while not true(self.health()) and time.monotonic() - began < PATIENCE:
            time.sleep(every)
        self.known.append(time.monotonic() - began)

    def kill(self, canary: psutil.Process) -> None:
        canary.kill()
        self.until(lambda health: health["engines"].get("2") != canary.pid)

    def crash(self, canary: psutil.Process) -> None:
        canary.suspend()
        deadline = time.monotonic() + EVERY
        while self.health()["in_flight"] < HELD and time.monotonic() < deadline:
            time.sleep(0.005)
        self.kill(canary)

    def hang(self, canary: psutil.Process) -> None:
        canary.suspend()
        self.until(lambda health: bool(health["fused"]), every=0.1)
        canary.send_signal(signal.SIGCONT)

    def torment(self, hurt: Callable[[psutil.Process], None], every: float, until: float) -> None:
        """`hurt` the canary again and again, `every` so many seconds if it is there."""
        due = time.monotonic() + every
        while time.monotonic() < until:
            time.sleep(LOOK)
            health = self.health()
            if health["weight"] != 50.0:
                self.gateway.route(canary="2", weight=50.0)
                self.routed += 1
            if time.monotonic() < due:
                continue
            due = time.monotonic() + every
            if (pid := health["engines"].get("2")) is None:
                self.away += 1
                continue
            hurt(psutil.Process(pid))


ALL: Mapping[str, tuple[Callable[[Faced, psutil.Process], None], float]] = {
    "killed": (Faced.kill, EVERY),
    "crashes": (Faced.crash, 0.5),
    "hangs": (Faced.hang, EVERY),
}


def measured(kind: str, requests: int) -> tuple[list[results.Row], str, int]:
    """The rows of one kind, what else was seen, and the requests that were sent."""
    fault, every = ALL[kind]
    seconds = (requests + 4 * math.sqrt(requests)) / RATE  # they come at random
    spec = served.tiny_spec(serving={"timeout_ms": 5_000})
    with started.gateway(spec, served.tiny()) as gateway, httpx.Client(timeout=30) as http:
        gateway.route(canary="2", weight=50.0)
        faced = Faced(gateway, http)
        job = load.Job(gateway.url, load.bodies(served.texts("short")), rate=RATE, seconds=seconds, warm=1, users=USERS)
        with load.running(job) as process:
            faced.torment(lambda canary: fault(faced, canary), every, time.monotonic() + seconds - LAST)
            told = load.result(process)
        counted = gateway.metrics()
    sent = sum(told.statuses.values())
    longest = max(faced.known, default=float("nan"))
    about, runs = "cut off by the fuse" if kind == "hangs" else "known", len(faced.known)
    rows = [
        results.bounded(f"{kind}: failed requests of {sent:,}", told.failed, "requests", 0, runs, statuses=told.statuses),
        results.bounded(f"{kind}: longest until it is {about}", longest, "s", None if kind == "hangs" else GOAL, runs,
                        faced.known),
        results.at_least(f"{kind}: faults", runs, "faults", None),
    ]  # fmt: skip
    return rows, f"{kind}: {_counted(counted)}; p99 {told.p99 * 1e3:.0f} ms, max {told.longest * 1e3:.0f} ms; " + (
        f"the fuse cut it off {faced.routed} times (the route was set anew); {faced.away} times there was no engine to hurt"
    ), sent  # fmt: skip


def _counted(metrics: Mapping[str, float]) -> str:
    """Who was asked first, and why the champion answered instead."""
    arms = {arm: sum(n for line, n in metrics.items() if line.startswith("seqline_requests_total") and f'arm="{arm}"' in line)
            for arm in ("champion", "canary")}  # fmt: skip
    instead = {line.partition('reason="')[2].partition('"')[0]: n for line, n in metrics.items()
               if line.startswith("seqline_fallbacks_total")}  # fmt: skip
    asked = ", ".join(f"{arm} {count:.0f}" for arm, count in arms.items())
    return f"{asked} first asked; the champion answered for it: {', '.join(f'{n:.0f} {why}' for why, n in instead.items())}"


def main() -> None:
    rows: list[results.Row] = []
    notes, requests = [], 0
    for kind in KINDS:
        found, note, sent = measured(kind, math.ceil(REQUESTS / len(KINDS)))
        rows += found
        notes.append(note)
        requests += sent
    rows.append(results.at_least("requests in all", requests, "requests", REQUESTS))
    results.write("canary_kills", rows, *notes)


if __name__ == "__main__":
    main()
