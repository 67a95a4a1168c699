"""Four times the load that the gateway can answer, for SECONDS (60), by Poisson arrivals that wait for nobody.

The peak is what closed loops get out of it before and after, with calm between. "Unloaded" is a fifth of the peak, open loop
too: a request hardly ever meets another. The bars: only 200, 429 (each with Retry-After) and 503; the 99th percentile of the
admitted at most twice the unloaded one; at least 90 % of the peak answered.
"""

import os

from tests.benchmarks import load, results, served, started

SECONDS = float(os.environ.get("SECONDS", "60"))
CALM_SECONDS = max(SECONDS / 2, 3)
PEAK_SECONDS = max(SECONDS / 6, 3)
TIMES = 4
SAME = {"smaller_beam_at": 1.0, "stale_at": 1.0}  # greedy already, and no cache: there is nothing to give up


def main() -> None:
    bodies = load.bodies(served.texts())
    with started.gateway(served.spec(serving={"timeout_ms": 5_000, "overload": SAME}), served.export()) as gateway:

        def closed() -> load.Load:
            return load.run(load.Job(gateway.url, bodies, clients=64, seconds=PEAK_SECONDS, warm=2))

        def opened(rate: float, seconds: float, warm: float) -> load.Load:
            return load.run(load.Job(gateway.url, bodies, rate=rate, seconds=seconds, warm=warm, seed=int(seconds)))

        first = closed()
        calm = opened(first.goodput / 5, CALM_SECONDS, 1)
        over = opened(TIMES * first.goodput, SECONDS, 2)
        after = opened(first.goodput / 5, CALM_SECONDS / 2, 2)
        last = closed()
    peak = (first.goodput + last.goodput) / 2
    strange = sum(count for status, count in over.statuses.items() if status not in ("200", "429", "503"))
    ratio = over.p99 / calm.p99
    rows = [
        results.bounded("other answers than 200, 429 and 503", strange, "answers", 0),
        results.bounded("429 without Retry-After", over.without_retry_after, "answers", 0),
        results.bounded("p99 of the admitted / unloaded p99", ratio, "ratio", 2, ms=[over.p99 * 1e3, calm.p99 * 1e3]),
        results.compared(f"goodput at {TIMES} times the peak", [over.goodput], [peak], "its own peak", "answers/s", 0.9),
        results.bounded("failures while unloaded, before and after", calm.failed + after.failed, "answers", 0),
        results.bounded("p99 unloaded after / before", after.p99 / calm.p99, "ratio", None),
    ]
    shown = ", ".join(f"{count} x {status}" for status, count in sorted(over.statuses.items()))
    notes = [
        f"offered {TIMES * first.goodput:.0f}/s for {SECONDS:g} s: {shown}",
        f"peak before {first.goodput:.1f}/s, after {last.goodput:.1f}/s; the generator's own delay {over.lag * 1e3:.0f} ms",
        f"unloaded ({first.goodput / 5:.1f}/s): {_milliseconds(calm)}",
        f"admitted: {_milliseconds(over)}",
    ]
    results.write("overload", rows, *notes)


def _milliseconds(told: load.Load) -> str:
    named = {"p50": told.p50, "p95": told.p95, "p99": told.p99, "max": told.longest}
    return ", ".join(f"{name} {seconds * 1e3:.0f}" for name, seconds in named.items()) + " ms"


if __name__ == "__main__":
    main()
