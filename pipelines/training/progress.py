"""What a person sees of a training, and its log: one JSON line a step, kept beside the weights (log.jsonl).

The log is written as the steps happen, so that after a kill it shows how many steps a resumed run repeats.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_SECONDS = 30.0
"""Between two lines where there is no terminal."""


class Journal:
    """Progress bar and log of one training; a context manager. Not `shown`, it writes nothing anywhere."""

    def __init__(self, path: Path, steps: int, start: int, *, shown: bool = True) -> None:
        self.console, path = Console(quiet=not shown), path if shown else Path(os.devnull)
        torn = path.is_file() and not path.read_bytes().endswith(b"\n")
        self._stream = path.open("a", encoding="utf-8", buffering=1)
        if torn:
            self._stream.write("\n")
        self._steps, self._start, self._began = steps, start, time.monotonic()
        self._tokens, self._said, self._validation = 0, time.monotonic(), ""
        columns = (TextColumn("training"), BarColumn(), TextColumn("{task.fields[facts]}"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self._task = self._bar.add_task("training", total=steps, completed=start, facts="")

    def __enter__(self) -> "Journal":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()
        self._stream.close()

    def say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, highlight=False, markup=False)

    def write(self, **facts: Any) -> None:
        """Append one line to the log."""
        self._stream.write(json.dumps(facts) + "\n")

    def step(self, step: int, loss: float, tokens: int, rate: float) -> None:
        """Note optimiser step `step`: its loss (nats a target token), the real tokens in its batch, and its learning rate."""
        self._tokens += tokens
        seconds = time.monotonic() - self._began
        self.write(step=step, loss=round(loss, 5), tokens=tokens, rate=rate, seconds=round(seconds, 3))
        facts = (
            f"step {step}/{self._steps}  loss {loss:.3f}{self._validation}  {self._tokens / max(seconds, 1e-9):,.0f} tokens/s"
        )
        self._bar.update(self._task, completed=step, facts=facts)
        if self._bar.disable and (step == self._steps or time.monotonic() - self._said >= PLAIN_SECONDS):
            left = seconds / max(step - self._start, 1) * (self._steps - step)
            self.say(f"training: {facts}  {left:.0f} s left")
            self._said = time.monotonic()

    def validation(self, step: int, loss: float, best: bool, metric: float | None = None) -> None:
        answers = "" if metric is None else f", answers {metric:.1f}"
        self._validation = f"  val {loss:.3f}{answers}{' (best)' if best else ''}"
        measured = {} if metric is None else {"metric": metric}
        self.write(event="validation", step=step, loss=loss, best=best, **measured)


def last_step(path: Path) -> int:
    """The last optimiser step in the log at `path`, 0 without one. A line that was cut short does not count."""
    return max((facts["step"] for facts in lines(path) if "loss" in facts and "event" not in facts), default=0)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of the log at `path`; one cut short by a full disk, or of other bytes than were written, is left out."""
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        with suppress(ValueError):  # no JSON, or no UTF-8
            facts = json.loads(line)
            if isinstance(facts, dict):
                yield facts
