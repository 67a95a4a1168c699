"""CPU seconds of an unchanged retrain, and of all that a changed one costs beside its compute; ROUGE beside rouge_score.

Each retrain is a process of its own, and CPU is user + system time of it and of all its children. The changed one trains a tiny
model for a single step on 330 pairs, and ends in a registered first version: nothing to roll out against. Where its time goes
is read off whenever it says that the next step begins.
"""

import gc
import importlib.metadata
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from rouge_score.rouge_scorer import RougeScorer

from pipelines.scoring.metrics.rouge import ROUGES, Rouge
from tests.benchmarks import results
from tests.flows.project import ROOT, Project

RUNS = int(os.environ.get("RUNS", "3"))
TINY = "models/tiny.yaml"
STEP = re.compile(r"\d\d:\d\d:\d\d (.+)")
UNCHANGED, CHANGED, STRETCH, FASTER = 3.0, 28.0, 12.0, 5.0
PAIRS = 1_000


def cpu_of(work: Callable[[], object]) -> float:
    """CPU seconds of the child processes that `work` starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def spent(process: psutil.Process) -> float:
    """CPU seconds so far of a living process, its children, and theirs that ended."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def changed(folder: Path) -> tuple[float, dict[str, float]]:
    """CPU seconds of a first retrain, in all and by the step that it told last."""
    folder.mkdir()
    project = Project(folder)
    project.write_spec(steps=1)
    parts: dict[str, float] = {}

    def run() -> None:
        log = (folder / "complaints").open("w")
        with project.start("flows.cli", "retrain", TINY, stdout=subprocess.PIPE, stderr=log) as process:
            assert process.stdout
            tree, name, before = psutil.Process(process.pid), "start", 0.0
            for said in process.stdout:
                if found := STEP.match(said):
                    now = spent(tree)
                    parts[name] = parts.get(name, 0.0) + now - before
                    name, before = found[1].partition(":")[0], now
        assert process.returncode == 0, (folder / "complaints").read_text()

    total = cpu_of(run)
    return total, {**parts, "end": total - sum(parts.values())}


def unchanged(folder: Path) -> float:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SEQLINE_PROJECT": str(folder),
        "SEQLINE_HOME": str(folder / ".seqline"),
    }
    command = [sys.executable, "-m", "flows.cli", "retrain", TINY]
    return cpu_of(lambda: subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True))


def texts(seed: int, words: int) -> list[str]:
    """Texts of about `words` words, drawn as words are in a language: few often, most rarely (Zipf)."""
    draw = random.Random(seed)
    ranks = range(1, 5_000)
    weights = [1 / rank for rank in ranks]
    return [
        " ".join(f"w{rank}" for rank in draw.choices(ranks, weights, k=draw.randint(words // 2, words * 3 // 2)))
        for _ in range(PAIRS)
    ]


def rouge() -> list[results.Row]:
    """Ours beside rouge_score, every score compared: one system, and four (see scoring.measure.baselines)."""
    references, model, lead = texts(0, 8), texts(1, 10), texts(2, 12)
    report = [model, lead, [*model[1:], model[0]], model[:1] * PAIRS]
    rates: dict[int, tuple[list[float], list[float]]] = {1: ([], []), len(report): ([], [])}
    for _ in range(max(RUNS, 7)):
        for count, (ours, peers) in rates.items():
            pairs = [(reference, text) for system in report[:count] for reference, text in zip(references, system, strict=True)]
            mine, peer = Rouge(), RougeScorer(ROUGES)
            gc.collect()
            gc.disable()  # as timeit does: a collection walks all that torch brought
            begun = time.process_time()
            found = [mine.score(*pair) for pair in pairs]
            middle = time.process_time()
            expected = [peer.score(*pair) for pair in pairs]
            ended = time.process_time()
            gc.enable()
            ours.append(len(pairs) / (middle - begun))
            peers.append(len(pairs) / (ended - middle))
            assert found == [{name: score.fmeasure for name, score in row.items()} for row in expected], "the scores differ"
    version = f"rouge_score {importlib.metadata.version('rouge-score')}"
    return [
        results.compared(
            f"ROUGE-1, -2, -L: {'the model alone' if count == 1 else 'model, lead, other, constant'}",
            ours,
            peers,
            version,
            "pairs/CPU s",
            FASTER,
        )
        for count, (ours, peers) in rates.items()
    ]


def main() -> None:
    scored = rouge()
    with tempfile.TemporaryDirectory(prefix="seqline-overhead-") as scratch:
        folders = [Path(scratch) / str(run) for run in range(RUNS)]
        first = [changed(folder) for folder in folders]
        again = [unchanged(folder) for folder in folders for _ in range(2)]
    totals = [total for total, _ in first]
    middle = statistics.median(totals)
    rows = [
        results.bounded("an unchanged retrain", statistics.median(again), "CPU s", UNCHANGED, len(again), again),
        results.bounded("a changed retrain beside its compute", middle, "CPU s", CHANGED, RUNS, totals),
        results.bounded("a changed retrain beside its compute, stretch", middle, "CPU s", STRETCH, RUNS, totals),
        *scored,
    ]
    parts = {name: statistics.median(each.get(name, 0.0) for _, each in first) for name in first[0][1]}
    shown = ", ".join(f"{name} {seconds:.1f}" for name, seconds in sorted(parts.items(), key=lambda part: -part[1]))
    results.write("overhead", rows, f"a changed retrain, CPU s by step: {shown}")


if __name__ == "__main__":
    main()
