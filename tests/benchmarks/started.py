"""Real engine and gateway processes for the serving benchmarks, and what they say of themselves."""

import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from pipelines.rollout.store import Route, Store
from pipelines.spec import Spec


@dataclass
class Running:
    """A server process: `url` is its base, `log` what it has printed so far, in a file."""

    url: str
    process: psutil.Process
    log: Path

    def family(self) -> list[psutil.Process]:
        """The process and all that it started."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu(self) -> float:
        """CPU seconds of the family so far (of its members that live)."""
        spent = 0.0
        for each in self.family():
            with suppress(psutil.NoSuchProcess):
                times = each.cpu_times()
                spent += times.user + times.system
        return spent

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/healthz", timeout=10).json()
        return found

    def metrics(self) -> dict[str, float]:
        """Every line of /metrics, by its name and labels as printed."""
        told = (line.rpartition(" ") for line in httpx.get(f"{self.url}/metrics", timeout=10).text.splitlines())
        return {name: float(value) for name, _, value in told if not name.startswith("#")}


@dataclass
class Gateway(Running):
    """A gateway whose route says what `store` is told; every version is the same export."""

    spec: Spec
    store: Store
    folder: Path
    generation: int = field(default=0)

    def route(self, champion: str = "1", canary: str | None = None, weight: float = 0.0) -> None:
        """Set the route and wait until the gateway follows it with its engines up."""
        with self.store.transaction() as connection:
            until, salt = time.time() + 7_200, uuid.uuid4().hex
            wanted = Route(champion, canary, weight, salt=salt, lease_until=until, generation=self.generation)
            self.generation = self.store.set_route(self.spec.name, wanted, connection).generation
        deadline = time.monotonic() + 180
        while (found := self.health()).get("generation") != self.generation or not found["ok"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the gateway does not follow: {found}")
            time.sleep(0.1)

    def engines(self) -> Mapping[str, int]:
        """Process id of each version's engine that is up."""
        found: Mapping[str, int] = self.health()["engines"]
        return found

    def guards(self) -> list[psutil.Process]:
        """The worker processes that replace personal data."""
        engines = set(self.engines().values())
        workers = [each for each in self.process.children() if each.pid not in engines]
        return [each for each in workers if "spawn_main" in " ".join(each.cmdline())]


@contextmanager
def engine(spec: Spec, export: Path) -> Iterator[Running]:
    """An engine on its own, as the gateway starts it."""
    with tempfile.TemporaryDirectory(prefix="seqline-bench-") as scratch:
        folder = Path(scratch)
        (folder / "spec.json").write_text(spec.model_dump_json(), encoding="utf-8")
        command = ["-m", "pipelines.serving.engine", "--export", str(export.absolute()), "--spec", str(folder / "spec.json")]
        with ready([*command, "--parent", str(os.getpid())], folder) as (process, line, log):
            yield Running(f"http://127.0.0.1:{json.loads(line)['port']}", process, log)


@contextmanager
def gateway(spec: Spec, export: Path, folder: Path | None = None, **environment: str) -> Iterator[Gateway]:
    """A gateway with version 1 in production. Its journal and its output lie in `folder` (or go with the context)."""
    with tempfile.TemporaryDirectory(prefix="seqline-bench-") as scratch:
        place = folder or Path(scratch)
        (place / "spec.json").write_text(spec.model_dump_json(), encoding="utf-8")
        store = Store(f"sqlite:///{place / 'rollout.db'}")
        store.create()
        command = ["-m", "tests.serving.standalone", str(place / "spec.json"), str(place / "rollout.db")]
        with ready([*command, str(export.absolute())], place, **environment) as (process, line, log):
            running = Gateway(line.strip(), process, log, spec, store, place)
            running.route()
            yield running
        store.engine.dispose()


@contextmanager
def ready(command: Sequence[str], folder: Path, **environment: str) -> Iterator[tuple[psutil.Process, str, Path]]:
    """`process`, once it has said where it listens: that line comes too."""
    with process(command, folder, **environment) as (running, log):
        yield running, _first_line(running, log), log


@contextmanager
def process(command: Sequence[str], folder: Path, **environment: str) -> Iterator[tuple[psutil.Popen, Path]]:
    """`python command...` and the file of its output; ended with SIGTERM, and what it started with it."""
    log = folder / f"output-{uuid.uuid4().hex[:8]}.log"
    with log.open("wb") as to:
        running = psutil.Popen(
            [sys.executable, *command], stdout=to, stderr=to, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}
        )
    try:
        yield running, log
    finally:
        with suppress(psutil.NoSuchProcess):
            left = running.children(recursive=True)
            running.terminate()
            _, alive = psutil.wait_procs([running, *left], timeout=30)
            for each in alive:
                each.kill()


def _first_line(running: psutil.Popen, log: Path) -> str:
    """The first line of its standard output or error that is an address or JSON: it is ready."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
            if line.startswith(("http://", '{"port"')) and line.endswith("\n"):
                return line
        if running.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"{log.name}: it never said that it is ready: {log.read_text(errors='replace')[-2_000:]}")


def waited(url: str, seconds: float = 180.0) -> None:
    """Return when `url` answers 200."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if httpx.get(url, timeout=2).status_code == 200:
                return
        time.sleep(0.2)
    raise TimeoutError(url)


def quantile(before: Mapping[str, float], after: Mapping[str, float], histogram: str, share: float) -> float:
    """A quantile (seconds) of what a Prometheus histogram saw between two looks, over all labels, linear in its bucket."""
    counts: dict[float, float] = {}
    for line, value in after.items():
        if line.startswith(f"{histogram}_bucket{{"):
            bound = float(line.partition('le="')[2].partition('"')[0])
            counts[bound] = counts.get(bound, 0.0) + value - before.get(line, 0.0)
    bounds = sorted(counts)
    wanted = share * counts[bounds[-1]] if bounds else 0.0
    below, low = 0.0, 0.0
    for bound in bounds:
        if counts[bound] >= wanted and counts[bound] > below:
            return low if bound == float("inf") else low + (bound - low) * (wanted - below) / (counts[bound] - below)
        below, low = counts[bound], bound
    return float("nan")
