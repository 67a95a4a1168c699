"""How fast the gateway's own fuse cuts a canary off that begins to fail, under load, with half of the senders on it.

The bar: 100 ms from the deciding bad answer (the twentieth in a row) to weight 0. Measured at the canary's door, a proxy before
its real engine: from the moment in which the deciding answer leaves to the arrival of the last request that is sent there.
Where no bad answer left (a canary that hangs; a machine so busy that all twenty ran out of time) the deciding moment is the
gateway's own: it gives up waiting. TRIPS (40) of each kind and load, about 1.7 s each: 7 minutes.
"""

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.rollout.store import Event
from tests.benchmarks import load, results, served
from tests.faults.proxy import Faults
from tests.serving.site import Site, site, until

TRIPS = int(os.environ.get("TRIPS", "40"))
GOAL = 100.0  # ms
KINDS = {"fail": "answers 500", "drop": "cuts connections", "delay": "never answers"}
SENT = {"fail": 1, "drop": 2, "delay": 1}  # times that the gateway sends a request that fails so
LOADS: Mapping[str, Mapping[str, Any]] = {"80 requests/s": {"rate": 80.0}, "16 eager clients": {"clients": 16}}
TIMEOUT_MS = 1_000  # of a request; the canary is given half of it
QUIET = 0.8  # seconds without a request at the canary's door, after which those that were there have been given up, too
EARLIER = 10  # answers that the canary gives before it begins to fail


@dataclass
class Door(Faults):
    """Writes down when requests come to the canary, and when bad answers leave (seconds since the epoch)."""

    came: list[float] = field(default_factory=list)
    left: list[float] = field(default_factory=list)

    def draw(self, share: float) -> bool:
        hit = super().draw(share)
        self.came.append(time.time())
        self.left += [time.time()] if hit else []
        return hit


@dataclass(frozen=True)
class Trip:
    """Milliseconds from the deciding answer to the weight of 0, and to the last request at the canary's door; requests that
    were there and had to be answered by the champion."""

    decided: float
    last: float
    failed: int


def trip(gateway: Site, kind: str) -> Trip:
    gateway.route("2", weight=50.0)
    door = gateway.faults["2"]
    assert isinstance(door, Door)
    seen = door.seen
    until(lambda: door.seen >= seen + EARLIER)
    since = gateway.store.read(gateway.spec.name, {}).offsets
    door.came.clear()
    door.left.clear()
    setattr(door, kind, 1.0)
    until(lambda: gateway.health()["fused"])
    until(lambda: time.time() - door.came[-1] > QUIET)
    canary = until(lambda: _told(gateway, since))
    fuse = next(place for place, event in enumerate(canary) if event.kind == "fuse")
    bad = [event for event in canary[:fuse] if not event.slis["availability"]]
    left = [at for at in door.left[: len(bad) * SENT[kind]] if at <= canary[fuse].at]  # a busy machine has timeouts, too
    decided = bad[-1].at if kind == "delay" or not left else left[-1]
    failed = sum(not event.slis.get("availability", True) for event in canary)
    return Trip((canary[fuse].at - decided) * 1e3, (door.came[-1] - decided) * 1e3, failed)


def _told(gateway: Site, since: Mapping[str, int]) -> list[Event]:
    """The canary's events since then, once the fuse's is among them."""
    found = [event for event in gateway.store.read(gateway.spec.name, since).events if event.arm == "canary"]
    return found if any(event.kind == "fuse" for event in found) else []


@contextlib.contextmanager
def gateway() -> Iterator[Site]:
    spec = served.tiny_spec(serving={"timeout_ms": TIMEOUT_MS}, slo={"judged": 0.0})
    door = {"2": Door(delay_seconds=30.0)}
    with (
        tempfile.TemporaryDirectory(prefix="seqline-bench-") as folder,
        site(spec, Path(folder), served.tiny(), faults=door) as running,
    ):
        running.route()
        yield running


def main() -> None:
    rows: list[results.Row] = []
    notes = []
    with gateway() as running:
        for name, how in LOADS.items():
            job = load.Job(running.url, load.bodies(served.texts("short")), seconds=36_000, users=5_000, **how)
            with load.running(job):
                for kind, said in KINDS.items():
                    trips = [trip(running, kind) for _ in range(TRIPS)]
                    rows += _rows(f"canary {said}, {name}", trips)
                    failed = statistics.median(each.failed for each in trips)
                    notes.append(f"canary {said}, {name}: the canary failed {failed:g} requests of a trip")
    results.write("fuse", rows, *notes)


def _rows(name: str, trips: list[Trip]) -> list[results.Row]:
    last = [max(0.0, each.last) for each in trips]
    zero = [each.decided for each in trips]
    return [
        results.bounded(f"{name}: to the last request at its door, max", max(last), "ms", GOAL, len(trips), last,
                        p50=statistics.median(last)),
        results.bounded(f"{name}: to weight 0, p50", statistics.median(zero), "ms", None, len(trips), zero),
        results.bounded(f"{name}: to weight 0, max", max(zero), "ms", GOAL, len(trips), zero),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
