"""Is torch.compile worth its time in our loop? Real tokens a CPU second of models/base.yaml's shape, with and without.

Two loops with the same weights take the same steps on the same batches in turn, one as it is, one with its model compiled once
for all shapes (dynamic=True; batches differ in both lengths). Counted is the CPU time of the process and of the compilers that
it starts, from a cold cache. What the compiled loop gains a step, once it is compiled, tells after how many steps it is level.

STEPS (500) and THREADS (1).
"""

import os
import resource
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from pipelines import spec
from pipelines.spec import Training
from pipelines.training import base
from pipelines.training.loop import Loop
from tests.benchmarks import results
from tests.benchmarks.training import facts_of, tokens

STEPS, THREADS = (int(os.environ.get(name, value)) for name, value in (("STEPS", 500), ("THREADS", 1)))
WARM = 30
"""Steps after which nothing is compiled any more."""


def cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def loop(folder: Path, training: Training, *, compiled: bool) -> Loop:
    facts = facts_of(folder)
    torch.manual_seed(training.seed)
    model: Any = base.from_scratch(training.architecture, facts["vocabulary"], facts["max_source"])
    made = Loop(model, folder, training, rebuild=True, longest_target=facts["max_target"])
    if compiled:
        made.model.forward = torch.compile(made.model.forward, dynamic=True)
    return made


def main() -> None:
    torch.set_num_threads(THREADS)
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # its pool of workers would be counted when it ends, hence never
    folder, what = tokens()
    training = spec.load_base(Path("models/base.yaml")).training.model_copy(update={"steps": STEPS})
    with tempfile.TemporaryDirectory() as cold:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cold
        arms = [loop(folder, training, compiled=compiled) for compiled in (False, True)]
        read: list[int] = []
        seconds: list[list[float]] = [[], []]
        apart = 0.0
        for _ in range(STEPS):
            losses = []
            for arm, spent in zip(arms, seconds, strict=True):
                began = cpu()
                loss, count, _ = arm.step()
                spent.append(cpu() - began)
                losses.append(loss)
            read.append(count)
            apart = max(apart, abs(losses[0] - losses[1]))
    report(read, seconds, what, apart)


def report(read: list[int], seconds: list[list[float]], what: str, apart: float) -> None:
    plain, compiled = seconds
    whole, later = ([sum(read[first:]) / sum(spent[first:]) for spent in (compiled, plain)] for first in (0, WARM))
    gain = statistics.median(one - other for one, other in zip(plain[WARM:], compiled[WARM:], strict=True))
    debt = sum(compiled[:WARM]) - sum(plain[:WARM])
    level = f"level after {WARM + debt / gain:,.0f} steps" if gain > 0 else "never level"
    results.write(
        "compiled",
        [
            results.compared(f"{STEPS} steps, compiling and all", whole[:1], whole[1:], "as it is", "real tokens/CPU s", 1.0),
            results.compared(f"after step {WARM}", later[:1], later[1:], "as it is", "real tokens/CPU s", None),
        ],
        f"{what}; torch.compile of torch {torch.__version__}, dynamic=True, {THREADS} thread(s)",
        f"compiling took {debt:.0f} CPU s; a step then gains {1_000 * gain:.0f} ms of "
        f"{1_000 * statistics.median(plain[WARM:]):.0f} (medians): {level}; losses of a step differ by {apart:.2g} at most",
    )


if __name__ == "__main__":
    main()
