"""The system under test as its users have it: a small project on a disk of its own, a trained version, the whole stack."""

import csv
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from hashlib import md5
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from flows.stack.deployments import written
from flows.stack.members import down, running
from tests.flows.project import ROOT, SPEC, Project, write_pairs
from tests.gameday.disk import Disk

T = TypeVar("T")
NAME = "tiny"
LOOK = 0.1  # seconds between two looks
PATIENCE = 240.0  # seconds until a thing that should come is said not to come
PREFECT, MLFLOW = "http://127.0.0.1:4200", "http://127.0.0.1:5000"
STEPS = 400  # of training: then it answers every other held-out stanza to the letter
SEEN_PAIRS, NEW_PAIRS = 330, 400  # tests/flows/project.py writes the former
SCHEDULED = ("retrain", "rollout")
STAGES = [{"weight": 30, "burn": 8}, {"weight": 60, "burn": 3}]
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "data": {"extra": [{"kind": "labels", "model": NAME}]},
    "schedule": {"idle": "* * * * *"},
    "scoring": {"gate": {"reads_source": False, "margin": 5, "max_copied": 1, "max_invented": 1, "max_looping": 1}},
    "serving": {"timeout_ms": 20_000, "review": {"share": 1.0, "per_hour": 100_000}},
    "slo": {"latency": {"objective": 0.5, "target_ms": 10_000}, "margin": 0.4, "judge_margin": 0.4},
    "rollout": {"traffic": "live", "stages": STAGES, "stage_seconds": 5, "approval": "gates"},
}
"""The tests' small project, with its own senders, reviewed answers and a gate that a worse model does not pass. Patient: the
machine has two cores, and its slowness is none of the faults."""


class Small(Project):
    def write_spec(self, steps: int = STEPS, test: int = 60) -> None:
        yaml = YAML(typ="safe", pure=True)
        spec = yaml.load(SPEC.format(steps=steps, test=test, port=self.port))
        for section, changed in CHANGES.items():
            spec[section] = {**spec.get(section, {}), **changed}
        yaml.dump(spec, self.folder / "models" / f"{NAME}.yaml")


class Site:
    """The project, its stack, and what the system says of itself."""

    def __init__(self, folder: Path) -> None:
        self.disk = Disk(folder)
        place = self.disk.folder / "project"
        place.mkdir()
        self.project = Small(place)
        self.workspace = place / ".seqline"
        self.url = f"http://127.0.0.1:{self.project.port}"
        self.steps = STEPS
        self._infra()

    def _infra(self) -> None:
        """infra/ as it is, with the schedules of this model alone; what a fault waits for is called by that fault."""
        infra = self.project.folder / "infra"
        shutil.copytree(ROOT / "infra", infra)
        yaml = YAML(typ="safe", pure=True)
        content = yaml.load(written(self.project.folder))
        content["deployments"] = [each for each in content["deployments"] if each["tags"][-1] in SCHEDULED]
        yaml.dump(content, infra / "prefect.yaml")

    def train(self) -> None:
        """A version in production."""
        ran = self.project.seqline("retrain", f"models/{NAME}.yaml", timeout=900)
        if ran.code:
            raise RuntimeError(f"the first version was not made: {ran.err}")
        self.project.commit("version 1")

    def up(self, **environment: str) -> None:
        ran = self.project.seqline("up", NAME, timeout=600, **environment)
        if ran.code:
            raise RuntimeError(f"the stack does not start: {ran.err}")
        until(lambda: self.health().get("ok"), what="the gateway's health")

    def down(self) -> None:
        down(self.project.settings)

    def close(self) -> None:
        self.down()
        with suppress(subprocess.CalledProcessError):
            self.disk.close()

    @property
    def supervisor(self) -> psutil.Process | None:
        return running(self.project.settings)

    def health(self) -> dict[str, Any]:
        """What the gateway says; empty while nobody answers."""
        try:
            found: dict[str, Any] = httpx.get(f"{self.url}/healthz", timeout=10, trust_env=False).json()
        except (httpx.TransportError, ValueError):
            return {}
        return found

    def engine(self, version: str) -> int | None:
        """The process of that version's engine, if the gateway has one."""
        pid: int | None = self.health().get("engines", {}).get(version)
        return pid

    @property
    def champion(self) -> str:
        return str(self.health()["champion"])

    def member(self, *words: str) -> psutil.Process:
        """The member of the stack whose command line holds all `words`: the one that the supervisor started."""
        keeper = self.supervisor
        children = keeper.children() if keeper else []
        found = [each for each in children if all(word in " ".join(each.cmdline()) for word in words)]
        if not found:
            raise RuntimeError(f"the stack has no member {' '.join(words)}")
        return found[0]

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a command; what it says lies among the logs."""
        log = self.workspace / "logs" / f"{arguments[0]}-by-hand.log"
        with log.open("a") as stream:
            return subprocess.Popen(
                self.project.command("flows.cli", *arguments),
                cwd=self.project.folder,
                env={**self.project.environment, **environment},
                stdout=stream,
                stderr=stream,
                text=True,
            )

    def retrain(self, **environment: str) -> "subprocess.Popen[str]":
        """Start a retrain that makes a version unlike those before, and rolls it out."""
        self.steps += 1
        self.project.write_spec(self.steps)
        return self.start("retrain", f"models/{NAME}.yaml", **environment)

    def phase(self) -> str | None:
        """Of the open rollout, if one is open."""
        rollout = self.project.store.open_rollout(NAME)
        return rollout.state["state"]["phase"] if rollout else None

    def outcome(self) -> str:
        """How the last rollout ended; empty while it is open."""
        found = self.asked("SELECT outcome FROM rollouts ORDER BY id DESC LIMIT 1")
        return str(found[0][0] or "") if found else ""

    def metric(self, name: str) -> float:
        """A number of the gateway's /metrics, 0 while nobody answers."""
        with suppress(httpx.TransportError):
            told = httpx.get(f"{self.url}/metrics", timeout=10, trust_env=False).text
            found = re.search(rf"^seqline_{name}(?:{{[^}}]*}})? (\S+)$", told, re.MULTILINE)
            return float(found[1]) if found else 0.0
        return 0.0

    def marked(self) -> dict[Path, int]:
        """How far each log is written now."""
        return {path: path.stat().st_size for path in (self.workspace / "logs").glob("*.log")}

    def said(self, pattern: str, mark: Mapping[Path, int]) -> str | None:
        """The first line since `mark` in which a log of the system says this."""
        for path in sorted((self.workspace / "logs").glob("*.log")):
            with path.open("rb") as stream:
                stream.seek(min(mark.get(path, 0), path.stat().st_size))
                found = re.search(rf".*{pattern}.*", stream.read().decode(errors="replace"))
            if found:
                return f"logs/{path.name}: {_short(found[0])}"
        return None

    def asked(self, query: str, *values: object) -> list[Any]:
        """Rows of the rollout database."""
        with closing(sqlite3.connect(f"file:{self.workspace / 'rollout.db'}?mode=ro", uri=True, timeout=60)) as connection:
            return connection.execute(query, values).fetchall()

    def events(self) -> set[str]:
        """The requests that have an event in the journal."""
        return {row[0] for row in self.asked("SELECT request FROM events WHERE request != ''")}

    def holdings(self) -> dict[str, str]:
        """What must not be lost: name -> digest of versions, decisions, and every object of the data's versions."""
        from pipelines.registry import Registry

        settings = self.project.settings
        versions = Registry(settings.mlflow, settings.artifacts).client.search_model_versions(f"name = '{NAME}'")
        found = {f"version {each.version}": str(each.tags.get("seqline.manifest") or each.source) for each in versions}
        found |= {f"decision {number}": action for number, action in self.asked("SELECT id, action FROM decisions")}
        for place in (self.project.folder / ".dvc" / "cache", self.workspace / "dvc"):
            objects = [path for path in place.glob("files/md5/*/*") if path.is_file()]
            found |= {f"data object {path.parent.name}{path.name} in {place.name}": _digest(path) for path in objects}
        return found

    @contextmanager
    def senders(self, rate: float, out: Path, texts: Path | None = None) -> Iterator[Path]:
        """Requests while the block runs, of the column `source` of `texts` (by default of packages that no version has seen);
        yields the file of their fates."""
        out.touch()
        texts = texts or unseen(out.with_name("unseen.parquet"))
        command = [sys.executable, "-m", "tests.gameday.senders", self.url, str(texts), str(out), "--rate", str(rate)]
        with subprocess.Popen(command, cwd=ROOT) as process:
            try:
                yield out
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()


def until(true: Callable[[], T], seconds: float = PATIENCE, what: str = "") -> T | None:
    """What `true` gives as soon as it gives something, None if it does not in time.

    Raises:
        RuntimeError: `what` did not come, if it is named.
    """
    deadline = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > deadline:
            if what:
                raise RuntimeError(f"{what}: not there after {seconds:g} s")
            return None
        time.sleep(LOOK)
    return found


def unseen(path: Path) -> Path:
    """Stanzas like those of the project's data, and none of them."""
    if not path.is_file():
        write_pairs(path.with_suffix(".csv"), SEEN_PAIRS + NEW_PAIRS)
        with path.with_suffix(".csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))[SEEN_PAIRS:]
        pq.write_table(pa.table({"source": [row["stanza"] for row in rows]}), path)
    return path


def _digest(path: Path) -> str:
    return md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _short(line: str, most: int = 160) -> str:
    return line.strip() if len(line.strip()) <= most else line.strip()[: most - 3] + "..."
