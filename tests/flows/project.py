"""A project of its own in a temporary folder: a git repository with a tiny model, driven as a user drives it."""

import csv
import json
import os
import random
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.settings import Settings
from pipelines.registry import Registry
from pipelines.rollout.store import Store
from pipelines.scrub.audit import sweep

ROOT = Path(__file__).parent.parent.parent
KINDS = {"library": "Library", "game": "Game", "font": "Font", "tool": "Tool", "driver": "Driver", "server": "Server"}
USES = ("images", "sound", "networks", "printers", "maps", "letters", "clocks", "music", "tables", "mail", "video", "text")
PEOPLE = ("Maria Keller", "Thomas Brandt", "Helen Carter", "Peter Novak", "Laura Martin", "James Wilson")

SPEC = """
name: tiny
task: summarization
data:
  source: {{kind: files, paths: [pairs.csv], source: stanza, target: synopsis}}
  splits: {{validation: 20, test: {test}, near_duplicate: 1.0}}
privacy: {{entities: [PERSON, EMAIL_ADDRESS]}}
tokens: {{vocabulary: 400, max_source: 64, max_target: 16}}
training:
  steps: {steps}
  batch_tokens: 1024
  checkpoint_steps: 5
  validate_steps: 20
  learning_rate: 0.003
  architecture: {{width: 32, heads: 2, encoder_layers: 1, decoder_layers: 1}}
scoring:
  resamples: 200
  gate: {{reads_source: false, margin: 100, max_copied: 1, max_invented: 1, max_looping: 1}}
serving:
  port: {port}
  decoding: {{max_tokens: 12}}
slo:
  availability: {{objective: 0.95}}
  latency: {{objective: 0.9, target_ms: 4000}}
  judged: 1.0
rollout:
  stages: [{{weight: 10, burn: 8}}, {{weight: 50, burn: 3}}]
  shadow_requests: 30
  stage_requests: 20
  stage_seconds: 0
  traffic: replay
  replay: {{rate: 40, users: 2000}}
  probation: {{hours: 0}}
"""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


class Project:
    """The folder, and the commands run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache", "config.local"))
        shutil.copy(ROOT / ".dvcignore", folder)
        shutil.copy(ROOT / ".gitignore", folder)
        (folder / "models").mkdir()
        self.write_spec()
        write_pairs(folder / "models" / "pairs.csv", 330)
        self.git("init", "-q", "-b", "main")
        self.commit("a project")

    @property
    def settings(self) -> Settings:
        return Settings.model_validate({"SEQLINE_PROJECT": self.folder, "SEQLINE_HOME": self.folder / ".seqline"})

    @property
    def store(self) -> Store:
        return Store(self.settings.database)

    @property
    def registry(self) -> Registry:
        return Registry(self.settings.mlflow, self.settings.artifacts)

    @property
    def environment(self) -> dict[str, str]:
        ours = ("SEQLINE_", "MLFLOW_TRACKING", "PREFECT_HOME")
        outer = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        return {**outer, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

    def write_spec(self, steps: int = 40, test: int = 60) -> None:
        (self.folder / "models" / "tiny.yaml").write_text(SPEC.format(steps=steps, test=test, port=self.port))

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        return subprocess.run(["git", *who, *arguments], cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", *arguments]

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start `python -m ARGUMENTS` in the project."""
        return subprocess.Popen(self.command(*arguments), cwd=self.folder, env=self.environment, text=True, **options)

    def seqline(self, *arguments: str, timeout: float = 400, **environment: str) -> Ran:
        done = subprocess.run(
            self.command("flows.cli", *arguments),
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def json(self, *arguments: str) -> Any:
        ran = self.seqline(*arguments, "--json")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)

    def personal_values_left(self) -> list[tuple[Path, int]]:
        """Where a name or an address of the raw pairs still stands, the quarantine aside."""
        quarantine, source = self.folder / ".seqline" / "quarantine", self.folder / "models"
        values = [value for person in PEOPLE for value in (person, address_of(person))]
        assert sweep(values, [source]), "the sweep finds what is there"
        kept = [path for path in (self.folder / ".seqline").iterdir() if path != quarantine]
        return sweep(values, [*kept, self.folder / "data", self.folder / ".dvc"])


def address_of(person: str) -> str:
    return f"{person.lower().replace(' ', '.')}@example.org"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_pairs(path: Path, count: int, header: tuple[str, str] = ("stanza", "synopsis")) -> None:
    """Stanzas of invented packages, each with a maintainer."""
    draw = random.Random(4)
    seen: set[tuple[str, str]] = set()
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(header)
        while len(seen) < count:
            kind, first, second = draw.choice(sorted(KINDS)), draw.choice(USES), draw.choice(USES)
            name = f"{kind}-{first}-{second}-{draw.randrange(1000)}"
            person = draw.choice(PEOPLE)
            maintainer = f"{person} <{address_of(person)}>"
            stanza = f"Package: {name}\nMaintainer: {maintainer}\nDescription: a {kind} that handles {first} and {second}"
            target = f"{KINDS[kind]} for {first} and {second}"
            if (stanza, target) not in seen:
                seen.add((stanza, target))
                rows.writerow((stanza, target))
