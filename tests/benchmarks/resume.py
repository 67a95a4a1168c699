"""kill -9 a training at RUNS (100) random moments: every resumed run must end in the unbroken run's weights.

The moments are drawn evenly over the time that an unbroken run takes, from its first line to its sealed weights, so that kills
fall in steps, in the writing of checkpoints and of the weights. Each training is a process of its own, forked from this one,
which imports torch but never uses it (importing takes longer than the training). Steps are counted in the training's own log:
what is there twice was repeated, and may be at most one checkpoint interval.
"""

import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import transformers.models.bart.modeling_bart  # noqa: F401  # for all the processes at once

import pipelines.training.loop  # noqa: F401
from pipelines import artifact
from pipelines.training.fit import fit
from pipelines.training.progress import lines
from tests.benchmarks import results
from tests.training import line

RUNS = int(os.environ.get("RUNS", "100"))
SEED = int(os.environ.get("SEED", "5"))
TRAINING = line.TRAINING.model_copy(update={"steps": 80, "checkpoint_steps": 5, "validate_steps": 40})


@dataclass(frozen=True)
class Resumed:
    """A killed training and its resumption."""

    where: str
    reached: int
    repeated: int
    sha256: str


def quietly(work: Callable[..., object], *arguments: object) -> None:
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    work(*arguments)


def started(work: Callable[..., object], *arguments: object) -> ForkProcess:
    process = get_context("fork").Process(target=quietly, args=(work, *arguments))
    process.start()
    return process


def finished(work: Callable[..., object], *arguments: object) -> float:
    """Do `work` to the end in a process of its own; the seconds that took."""
    begun = time.monotonic()
    process = started(work, *arguments)
    process.join()
    assert process.exitcode == 0, f"{work.__name__} failed"
    return time.monotonic() - begun


def train(out: Path) -> None:
    fit(line.encoded(out), TRAINING, None, out)


def weights_in(out: Path) -> Path:
    return next(path for path in out.glob("weights-*") if path.is_dir())


def place(out: Path) -> str:
    """What the killed training was at, by what it left."""
    partial = next(out.glob(".weights-*.partial"), None)
    if partial is None:
        return "before its folder"
    if any(out.glob(".weights-*.[0-9]*")) or any(out.glob("weights-*/")):
        return "writing the weights"
    if (partial / ".new").exists():
        return "writing a checkpoint"
    return "between checkpoints" if any(partial.glob("step-*")) else "before the first checkpoint"


def killed(out: Path, made: Path, moment: float) -> str | None:
    """Start a training on the tokens in `made`, kill -9 it after `moment` seconds; where it was, None if it was done."""
    shutil.copytree(made, out)
    process = started(train, out)
    process.join(moment)
    done = process.exitcode is not None
    process.kill()
    process.join()
    return None if done else place(out)


def steps_of(log: Path) -> list[int]:
    return [facts["step"] for facts in lines(log) if "loss" in facts and "event" not in facts]


def resumed(out: Path, where: str) -> Resumed:
    log = next(out.glob(".weights-*.partial/log.jsonl"), None)
    reached = max(steps_of(log), default=0) if log else 0
    finished(train, out)
    weights = weights_in(out)
    artifact.verify(weights)
    assert not any(out.glob(".weights-*")), "what the kill left is still there"
    steps = steps_of(out / f"{weights.name}.jsonl")
    assert set(steps) == set(range(1, TRAINING.steps + 1)), "a step is missing in the log"
    return Resumed(where, reached, len(steps) - TRAINING.steps, artifact.file_sha256(weights / "model.safetensors"))


def report(found: Sequence[Resumed], unbroken: str, seconds: float) -> None:
    same = sum(each.sha256 == unbroken for each in found)
    repeats = [each.repeated for each in found]
    every = TRAINING.checkpoint_steps
    within = sum(repeated <= every for repeated in repeats)
    rows = [
        results.at_least("kill -9, resumed to identical weights", same, "resumes", len(found), len(found)),
        results.at_least("at most one checkpoint interval repeated", within, "resumes", len(found), len(found)),
        results.bounded(f"most steps repeated (a checkpoint every {every})", max(repeats), "steps", every, len(found), repeats),
    ]
    places = ", ".join(f"{count} {where}" for where, count in Counter(each.where for each in found).most_common())
    reached = sorted(each.reached for each in found)
    results.write(
        "resume",
        rows,
        f"killed: {places}; at steps {reached[0]} to {reached[-1]} of {TRAINING.steps}, median {reached[len(reached) // 2]}",
        f"{sum(repeats)} steps repeated in all, {sum(repeats) / len(found):.1f} a resume; unbroken run: {seconds:.2f} s; "
        f"seed {SEED}; sha256 {unbroken[:16]}",
    )


def main() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    draw = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="seqline-resume-") as scratch:
        made, whole = Path(scratch) / "made", Path(scratch) / "whole"
        finished(line.encoded, made)
        shutil.copytree(made, whole)
        seconds = finished(train, whole)
        unbroken = artifact.file_sha256(weights_in(whole) / "model.safetensors")
        found: list[Resumed] = []
        for number in range(RUNS):
            where = None
            while where is None:  # a moment after the end is no kill: draw anew
                out = Path(scratch) / "run"
                shutil.rmtree(out, ignore_errors=True)
                where = killed(out, made, draw.uniform(0, seconds))
            found.append(resumed(out, where))
            if number % 10 == 9:
                sys.stderr.write(f"{number + 1} of {RUNS} killed and resumed\n")
    report(found, unbroken, seconds)


if __name__ == "__main__":
    main()
