"""Open-loop latency through the gateway: lengths of the source x beams, at 50 and 70 % of the capacity measured just before.

SECONDS a point (12). Latencies count from the moment at which the request was meant to be sent. `queue` is the time between an
engine's taking a text in and its being decoded, as the gateway's seqline_queue_seconds tells it.
"""

import os
from collections.abc import Sequence

from tests.benchmarks import load, results, served, started
from tests.benchmarks.results import Row

SECONDS = float(os.environ.get("SECONDS", "12"))
QUEUE_GOAL, LATENCY_GOAL = 50.0, 500.0  # ms at 95 %: of the queue at half load, of the whole at 70 %


def measured() -> tuple[list[Row], list[str]]:
    """The rows of all points, and a table."""
    rows, told = list[Row](), [f"{'':24}{'rate':>7}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}{'queue p95':>11}  (texts/s, ms)"]
    export = served.export()
    for beam in (1, 4):
        decoding = {"beam": beam, "max_tokens": served.MAX_TARGET}
        with started.gateway(served.spec(serving={"decoding": decoding}), export) as gateway:
            for length in served.LENGTHS:
                more, lines = _points(gateway, served.texts(length), f"{length} sources, beam {beam}")
                rows += more
                told += lines
    return rows, told


def _points(gateway: started.Gateway, texts: Sequence[str], claim: str) -> tuple[list[Row], list[str]]:
    bodies = load.bodies(texts)
    capacity = load.run(load.Job(gateway.url, bodies, clients=64, seconds=max(SECONDS / 2, 3), warm=1)).goodput
    rows, told = [], []
    for share in (0.5, 0.7):
        before = gateway.metrics()
        found = load.run(load.Job(gateway.url, bodies, rate=share * capacity, seconds=SECONDS, warm=1))
        queue = started.quantile(before, gateway.metrics(), "seqline_queue_seconds", 0.95) * 1_000
        at = f"{claim}, {share:.0%} of {capacity:.0f}/s"
        p50, p95, p99, most = (value * 1_000 for value in (found.p50, found.p95, found.p99, found.longest))
        assert not found.failed, found.statuses
        told.append(f"{claim:20}{share:4.0%}{share * capacity:7.1f}{p50:8.1f}{p95:8.1f}{p99:8.1f}{most:8.1f}{queue:11.1f}")
        rows.append(results.bounded(f"p95, {at}", p95, "ms", LATENCY_GOAL if share == 0.7 else None, p50=p50, p99=p99))
        rows.append(results.bounded(f"queue p95, {at}", queue, "ms", QUEUE_GOAL if share == 0.5 else None))
    return rows, told


def main() -> None:
    rows, notes = measured()
    results.write("latency", rows, *notes)


if __name__ == "__main__":
    main()
