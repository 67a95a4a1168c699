"""Several ways to answer the same texts, timed in turn, so that what else the machine does meets all of them alike.

What is timed is CPU time of this process with one decoding thread, tokenizing included: unlike time on the clock it does not
count the waits for a core that another process has. On a machine at work it still moves by some per cent (shared caches).
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.decode import Decoder, Reading
from pipelines.spec import Decoding

WARM_UP = 8  # texts decoded before the clock runs: the first ones pay for buffers


@dataclass(frozen=True)
class Runner:
    """A way to answer: an Export's folder, and how it decodes."""

    export: Path
    decoding: Decoding


@dataclass(frozen=True)
class Ran:
    """What a runner answered, and its CPU milliseconds a text: the median of the rounds, the fastest and the slowest."""

    answers: tuple[str, ...]
    cpu_ms: float
    fastest: float
    slowest: float


def race(
    runners: Sequence[Runner],
    sources: Sequence[str],
    reading: Reading,
    batch_tokens: int,
    rounds: int,
    told: Callable[[], None] = lambda: None,
) -> list[Ran]:
    """Let each runner answer `sources`, `rounds` times in turn. `told` is called after each turn.

    Runners with the same export should stand together: it is loaded once a round for those that do.

    Raises:
        Corrupt: an Export does not hold the bytes that it was sealed with.
    """
    answers: dict[Runner, tuple[str, ...]] = {}
    times: dict[Runner, list[float]] = {runner: [] for runner in runners}
    for _ in range(rounds):
        decoder, loaded = None, None
        for runner, spent in times.items():
            if decoder is None or loaded != runner.export:
                decoder, loaded = Decoder(runner.export, device="cpu"), runner.export
            decoder.answer(sources[:WARM_UP], runner.decoding, reading, batch_tokens)
            began = time.process_time()
            found = decoder.answer(sources, runner.decoding, reading, batch_tokens)
            spent.append((time.process_time() - began) * 1_000 / max(len(sources), 1))
            answers.setdefault(runner, tuple(answer.text for answer in found))
            told()
    return [
        Ran(answers[runner], statistics.median(times[runner]), min(times[runner]), max(times[runner])) for runner in runners
    ]


@contextmanager
def bar(steps: int) -> Iterator[Callable[[], None]]:
    """A progress bar on a terminal's stderr, moved on by calling what is given; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("decoding in turn", total=steps)
        yield lambda: progress.advance(task)
