"""The commands of a runbook, run one by one, each in a shell; the first that fails ends the run."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.operations.runbooks import Step

LONGEST = 900.0  # seconds that a step may take
TIMED_OUT = 124  # as timeout(1) says


@dataclass(frozen=True)
class Done:
    """A step that was run: its exit status `code`, what it said, when it began (since the epoch) and how long it took."""

    step: Step
    code: int
    said: str
    at: float
    seconds: float


def run(
    steps: Iterable[Step],
    folder: Path,
    environment: Mapping[str, str],
    told: Callable[[Done], None] = lambda _: None,
    longest: float = LONGEST,
) -> list[Done]:
    """Run `steps` in `folder` up to the first that fails; `told` hears of each as it ends. Returns what was run."""
    done: list[Done] = []
    for step in steps:
        began, clock = time.time(), time.monotonic()
        code, said = _shell(step.command, folder, environment, longest)
        done.append(Done(step, code, said.strip(), began, time.monotonic() - clock))
        told(done[-1])
        if code:
            break
    return done


def _shell(command: str, folder: Path, environment: Mapping[str, str], longest: float) -> tuple[int, str]:
    """Exit status and output (both streams); nothing that it started in its session outlives a time-out or an interrupt."""
    with subprocess.Popen(
        ["/bin/sh", "-euc", command],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=longest)
        except subprocess.TimeoutExpired:
            _end(process.pid)
            said, _ = process.communicate()
            return TIMED_OUT, f"{said}\nstopped after {longest:g} s"
        except BaseException:
            _end(process.pid)
            raise
        return process.returncode, said


def _end(session: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)
