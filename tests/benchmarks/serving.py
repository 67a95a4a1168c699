"""Throughput of the engine and the gateway beside raw CTranslate2 offline, LitServe, FastAPI and MLflow, on one 15M model.

In one run, alternating; a ratio is the median of the paired rounds. ROUNDS (5), SECONDS a round (6), PARTS (raw,
peers, latency). Raw translates all texts at once, their tokens prepared before; ours and the peers get one text a request, by
HTTP, and tokenise and detokenise inside. A round of ours covers the same texts once, while all clients stay busy.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks import latency, load, peers, results, served, started
from tests.benchmarks.results import Row

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = float(os.environ.get("SECONDS", "6"))
PARTS = os.environ.get("PARTS", "raw,peers,latency").split(",")
BARS = {("engine", 64): 0.95, ("engine", 32): 0.85, ("gateway", 64): 0.85, ("gateway", 32): 0.75}
SAMPLE = 200
LITSERVE = [("64", "0.005", "0"), ("64", "0.05", "0"), ("32", "0.01", "0"), ("64", "0.01", "1")]
Speed = Callable[[], float]


class Ours:
    """A server of ours, asked by closed loops."""

    def __init__(self, running: started.Running, texts: Sequence[str], path: str) -> None:
        self.running, self.texts, self.path = running, texts, path
        self.cpu: list[float] = []

    def speed(self, clients: int, count: int) -> float:
        """Texts a second; `cpu` keeps the CPU milliseconds of all its processes a text."""
        before = self.running.cpu()
        told = load.run(self._job(self.texts[:count], clients=clients, count=count, warm=clients))
        self.cpu.append((self.running.cpu() - before) * 1_000 / (count + 2 * clients))
        assert not told.failed, told.statuses
        return told.goodput

    def answers(self, count: int) -> list[str]:
        told = load.run(self._job(self.texts[:count], clients=16, count=count, keep=True))
        return [peers.text_of("ours", told.kept[str(number)]) if str(number) in told.kept else "" for number in range(count)]

    def _job(self, texts: Sequence[str], **how: float) -> load.Job:
        return load.Job(self.running.url, load.bodies(texts), path=self.path, timeout=60, **how)  # type: ignore[arg-type]


def alternate(speeds: Mapping[str, Speed], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Each once a round, in an order that turns."""
    names, found = [*speeds], {name: list[float]() for name in speeds}
    for each in range(rounds):
        turned = names[each % len(names) :] + names[: each % len(names)]
        for name in turned:
            found[name].append(speeds[name]())
    return found


@contextmanager
def levels(beam: int, export: Path, texts: Sequence[str]) -> Iterator[dict[str, Ours]]:
    """The engine alone, and gateways: guard on patterns, and with names found (`fast` where a tagger could be made)."""
    serving = {"threads": 1, "queue": 256, "decoding": {"beam": beam, "max_tokens": served.MAX_TARGET}}
    named, exported = served.tagged(export)
    with (
        started.engine(served.spec(serving=serving), export) as engine,
        started.gateway(served.spec(serving=serving), export) as gateway,
        started.gateway(served.spec(serving=serving, privacy={"level": named}), exported) as names,
    ):
        yield {
            "engine": Ours(engine, texts, "/generate"),
            "gateway": Ours(gateway, texts, "/v1/generate"),
            f"gateway, guard {named}": Ours(names, texts, "/v1/generate"),
        }


def beside_raw(beam: int, export: Path, texts: Sequence[str]) -> tuple[list[Row], list[str]]:
    """Our engine and gateways beside CTranslate2 itself."""
    how = "greedy" if beam == 1 else f"beam {beam}"
    raw = peers.Raw(export, texts)
    count = min(len(texts), max(200, int(raw.scan(beam, 320) * SECONDS)))
    with levels(beam, export, texts) as ours:
        jobs: dict[str, Speed] = {"raw": lambda: raw.speed(beam, count)}
        for name, one in ours.items():
            for clients in (64,) if "guard" in name else (64, 32):
                jobs[f"{name}, {clients} clients"] = lambda one=one, clients=clients: one.speed(clients, count)  # type: ignore[misc]
        found = alternate(jobs)
        expected = raw.answers(beam, SAMPLE)
        spent = f"{statistics.median(raw.cpu):.2f} CPU ms a text"
        notes = [f"{how}: raw's best max_batch_size: {raw.batch[0]} {raw.batch[1]}; {count} texts a round; {spent}"]
        for name, one in ours.items():
            same = sum(mine == theirs for mine, theirs in zip(one.answers(SAMPLE), expected, strict=True))
            cpu = statistics.median(one.cpu)
            notes.append(f"{how}: {name}: {same} of {SAMPLE} answers are raw's, letter for letter; {cpu:.2f} CPU ms a text")
    peer = f"CTranslate2 {version('ctranslate2')} offline"
    rows = [
        results.compared(
            f"{name}, {how}", found[name], found["raw"], peer, "texts/s", BARS.get((name.split(",")[0], int(name.split()[-2])))
            if "guard" not in name else None,
        )
        for name in jobs if name != "raw"
    ]  # fmt: skip
    return rows, notes


def of_peer(name: str, running: started.Running, texts: Sequence[str], clients: int, seconds: float) -> float:
    """Texts a second of a peer."""
    path = "/invocations" if name == "mlflow" else "/predict"
    job = load.Job(running.url, peers.bodies(name, texts), clients=clients, seconds=seconds, warm=1, path=path, timeout=60)
    told = load.run(job)
    assert set(told.statuses) == {"200"}, told.statuses
    return told.goodput


def agreeing(name: str, running: started.Running, texts: Sequence[str], expected: Sequence[str]) -> int:
    """How many of a peer's answers are the same as `expected`."""
    path = "/invocations" if name == "mlflow" else "/predict"
    count = len(expected)
    told = load.run(load.Job(running.url, peers.bodies(name, texts[:count]), clients=4, count=count, path=path, keep=True))
    return sum(peers.text_of(name, answer) == expected[int(number)] for number, answer in told.kept.items())


def best_litserve(export: Path, texts: Sequence[str], folder: Path) -> tuple[str, ...]:
    """The fastest of a few settings of max_batch_size, batch_timeout and fast_queue."""
    speeds = {}
    for options in LITSERVE:
        with peers.serving("litserve", export, folder, *options, "1") as running:
            speeds[options] = of_peer("litserve", running, texts, 64, max(SECONDS / 2, 2))
    return max(speeds, key=lambda options: speeds[options])


def best_threads(speed: Callable[[int], float]) -> int:
    """1 or 2, whichever is faster."""
    return max((1, 2), key=speed)


def beside_litserve(export: Path, texts: Sequence[str], folder: Path) -> tuple[list[Row], list[str]]:
    """Greedy, one decoding thread each, 64 clients."""
    expected = peers.Raw(export, texts).answers(1, SAMPLE)
    options = best_litserve(export, texts, folder)
    with both(1, export, texts) as ours, peers.serving("litserve", export, folder, *options, "1") as running:
        found = alternate(turns(ours, 64) | {"peer": lambda: of_peer("litserve", running, texts, 64, SECONDS)})
        same = agreeing("litserve", running, texts, expected)
    told = f"litserve {version('litserve')}"
    settings = "max_batch_size {}, batch_timeout {}, fast_queue {}".format(*options)
    note = f"{told}: {settings}; {same} of {SAMPLE} answers are CTranslate2's, letter for letter"
    return [results.compared(f"{name}, 64 clients", found[name], found["peer"], told, "texts/s", 1.3) for name in ours], [note]


def beside_transformers(name: str, export: Path, texts: Sequence[str], folder: Path) -> tuple[list[Row], list[str]]:
    """Greedy, 8 clients, the peer and ours each on whichever is faster of one and two threads."""

    def theirs(threads: int) -> float:
        with peers.serving(name, export, folder, threads=threads) as running:
            return of_peer(name, running, texts, 8, SECONDS)

    def mine(threads: int) -> float:
        with both(threads, export, texts) as ours:
            return ours["gateway"].speed(8, int(100 * SECONDS))

    expected = peers.Raw(export, texts).answers(1, 20)
    threads, own = best_threads(theirs), best_threads(mine)
    with both(own, export, texts) as ours, peers.serving(name, export, folder, threads=threads) as running:
        found = alternate(turns(ours, 8) | {"peer": lambda: of_peer(name, running, texts, 8, SECONDS)})
        same = agreeing(name, running, texts, expected)
    told = f"{name} {version(name)}, transformers {version('transformers')} float32"
    note = f"{told}: {threads} torch threads, ours {own}; {same} of 20 answers are CTranslate2's int8, letter for letter"
    return [results.compared(f"{one}, 8 clients", found[one], found["peer"], told, "texts/s", 12.0) for one in ours], [note]


@contextmanager
def both(threads: int, export: Path, texts: Sequence[str]) -> Iterator[dict[str, Ours]]:
    """Our engine alone, and our gateway; greedy."""
    spec = served.spec(serving={"threads": threads, "queue": 256, "decoding": {"max_tokens": served.MAX_TARGET}})
    with started.engine(spec, export) as engine, started.gateway(spec, export) as gateway:
        yield {"engine": Ours(engine, texts, "/generate"), "gateway": Ours(gateway, texts, "/v1/generate")}


def turns(ours: Mapping[str, Ours], clients: int) -> dict[str, Speed]:
    return {name: lambda one=one: one.speed(clients, int(100 * SECONDS)) for name, one in ours.items()}  # type: ignore[misc]


def beside_peers(export: Path, texts: Sequence[str]) -> tuple[list[Row], list[str]]:
    """Our engine and gateway beside what people serve such a model with. A peer is up only while it is measured."""
    rows, notes = [], []
    with tempfile.TemporaryDirectory(prefix="seqline-bench-") as scratch:
        folder = Path(scratch)
        for more, told in (
            beside_litserve(export, texts, folder),
            beside_transformers("fastapi", export, texts, folder),
            beside_transformers("mlflow", export, texts, folder),
        ):
            rows += more
            notes += told
    return rows, notes


def main() -> None:
    export, texts = served.export(), served.texts()
    began, rows, notes = time.monotonic(), list[Row](), [f"tokens an answer: {served.distribution(export)}"]
    packages = ("ctranslate2", "litserve", "fastapi", "uvicorn", "torch", "transformers", "mlflow", "starlette", "uvloop")
    notes.append(", ".join(f"{name} {version(name)}" for name in packages))
    parts: dict[str, list[Callable[[], tuple[list[Row], list[str]]]]] = {
        "raw": [lambda: beside_raw(1, export, texts), lambda: beside_raw(4, export, texts)],
        "peers": [lambda: beside_peers(export, texts)], "latency": [latency.measured],
    }  # fmt: skip
    for part in PARTS:
        for measure in parts[part]:
            more, said = measure()
            rows += more
            notes += said
            results.write("serving", rows, *notes)
    print(f"{time.monotonic() - began:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main()
