"""Memory, open files and threads of gateway, engine and guard over REQUESTS (100,000) of random lengths.

A tiny model: what could grow is in the processes, not in the weights. One look after each tenth, when nobody asks; the first
two looks are warm-up. The slope is Theil and Sen's, the median over all pairs of looks, with its 95 % interval.
"""

import json
import os
import random
import time

import psutil
from scipy.stats import theilslopes

from tests.benchmarks import load, results, served, started

REQUESTS = int(os.environ.get("REQUESTS", "100000"))
LOOKS = 10
WARM = 2
CLIENTS = 32
LONGEST = 500  # characters
GOAL = 1.0  # MB for 10,000 requests


def requests(seed: int, count: int) -> list[str]:
    """Pieces of real texts, of 1 to LONGEST characters; one in ten holds several."""
    draw, prose = random.Random(seed), " ".join(served.texts())
    made = []
    for _ in range(count):
        pieces = []
        for _ in range(draw.choice((1,) * 9 + (4,))):
            at = draw.randrange(len(prose) - LONGEST)
            pieces.append(prose[at : at + draw.randint(1, LONGEST)].strip() or "x")
        made.append(json.dumps({"inputs": pieces}))
    return made


def look(process: psutil.Process) -> tuple[float, int, int]:
    """Resident MB, open files, threads."""
    return process.memory_info().rss / 1e6, process.num_fds(), process.num_threads()


def main() -> None:
    looks: dict[str, list[tuple[float, int, int]]] = {"gateway": [], "engine": [], "guard": []}
    began = time.monotonic()
    size = REQUESTS // LOOKS
    with started.gateway(served.tiny_spec(serving={"cache": {}}), served.tiny()) as gateway:
        watched = {"gateway": gateway.process, "engine": psutil.Process(gateway.engines()["1"]), "guard": gateway.guards()[0]}
        for number in range(LOOKS):
            told = load.run(load.Job(gateway.url, requests(number, size), clients=CLIENTS, count=size))
            assert not told.failed, told.statuses
            time.sleep(1)  # what the generator's connections held is given back
            for name, process in watched.items():
                looks[name].append(look(process))
    rows, notes = [], []
    for name, seen in looks.items():
        memory, files, threads = ([each[what] for each in seen] for what in range(3))
        slope, _, low, high = theilslopes(memory[WARM:])
        scale = 10_000 / size
        rows.append(
            results.bounded(f"memory of the {name}", slope * scale, "MB a 10,000", GOAL, 1, (low * scale, high * scale))
        )
        for what, counts in (("open files", files), ("threads", threads)):
            more = counts[-1] - max(counts[: WARM + 1])
            rows.append(results.bounded(f"{what} of the {name}, more than after warm-up", more, what, 0))
        notes.append(f"{name}: MB {' '.join(f'{each:.1f}' for each in memory)}; files {files}; threads {threads}")
    rate = REQUESTS / (time.monotonic() - began)
    results.write("soak", rows, *notes, f"{REQUESTS:,} requests, {rate:.0f}/s, tiny model, guard on patterns, cache on")


if __name__ == "__main__":
    main()
