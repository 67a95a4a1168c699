"""What no gateway knows, really known: a status page over a workspace, MLflow behind it, and four things that are wrong."""

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.settings import Settings
from flows.stack.infra import text_of
from pipelines.monitoring import Text, made, watched
from pipelines.registry import Registry
from pipelines.registry.queues import Queues
from pipelines.registry.traces import Sampled, Traces
from pipelines.spec import Spec
from tests.benchmarks.started import process, waited
from tests.infra.servers import INFRA, free_port
from tests.monitoring.made_up import TOOLS, stanza, stanzas
from tests.registry.conftest import make

DAY = 86_400.0
OLD_DAYS, WAITING = 17, 60  # days since a retrain read the source; answers that nobody labels
LOOK = """
import sys, time
from flows.settings import Settings
settings = Settings().apply()
from flows.commands import cost
from pipelines.spec import Spec
print(cost.look(Spec.model_validate_json(sys.argv[1]), settings, time.time(), sys.argv[2])["month"]["forecast"])
"""


@dataclass(frozen=True)
class Known:
    """The status page at `address`, and the workspace of `spec` that it shows."""

    address: str
    settings: Settings
    spec: Spec

    def dear(self, prices: Spec, prometheus: str) -> float:
        """Look at the month's cost, as `seqline cost` does, at the prices of that spec; what is forecast."""
        environment = {**self.settings.environment(), "PYTHONPATH": str(Path.cwd())}
        command = [sys.executable, "-c", LOOK, prices.model_dump_json(), prometheus]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr[-2_000:]
        return float(ran.stdout)


def place(folder: Path, spec: Spec) -> Known:
    """The workspace: an old version, sixty answers that wait, a traffic that has drifted."""
    project = folder / "project"
    (project / "models").mkdir(parents=True)
    (project / "models" / f"{spec.name}.yaml").write_text(text_of(spec.model_dump(mode="json", exclude_defaults=True)))
    shutil.copytree(INFRA / "runbooks", project / "infra" / "runbooks")
    settings = Settings.model_validate({"SEQLINE_PROJECT": project, "SEQLINE_HOME": project / ".seqline"})
    settings.folder()
    version = Registry(settings.mlflow, settings.artifacts).register(spec.name, make(folder / "made"), settings.signing_key)
    _unanswered(settings, spec.name)
    with closing(sqlite3.connect(settings.workspace / "mlflow.db")) as database, database:
        old = round(1_000 * (time.time() - OLD_DAYS * DAY))
        database.execute("UPDATE model_versions SET creation_time = ?", (old,))
    _drifted(settings, spec.name, version.version)
    return Known(f"127.0.0.1:{free_port()}", settings, spec)


@contextmanager
def served(known: Known, folder: Path) -> Iterator[None]:
    """MLflow and the status page, each in its process, as `seqline up` runs them."""
    mlflow, port = f"http://127.0.0.1:{free_port()}", known.address.rpartition(":")[2]
    environment = {**known.settings.environment(), "SEQLINE_MLFLOW_UI": mlflow, "PYTHONPATH": str(Path.cwd())}
    server = ["-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", mlflow.rpartition(":")[2]]
    server += ["--backend-store-uri", known.settings.mlflow, "--default-artifact-root", str(known.settings.artifacts)]
    with (
        process(server, folder, **environment),
        process(["-m", "flows.cli", "overview", "--port", port], folder, **environment),
    ):
        waited(f"{mlflow}/health")
        waited(f"http://{known.address}/healthz")
        yield


def history(known: Known, region: str, seconds: float) -> str:
    """OpenMetrics: for so long answers have waited, as a Prometheus that was there then would remember."""
    labels = f'model="{known.spec.name}",region="{region}",job="seqline-facts",instance="{known.address}"'
    now = time.time()
    points = (now - seconds + 30 * step for step in range(int(seconds // 30)))
    lines = [f"seqline_labels_waiting{{{labels}}} {WAITING} {at:.3f}" for at in points]
    return "\n".join(["# TYPE seqline_labels_waiting gauge", *lines, "# EOF", ""])


def _unanswered(settings: Settings, name: str) -> None:
    traces = Traces(settings.mlflow, name, settings.artifacts)
    asked = {}
    for number in range(WAITING):
        at = time.time() - number
        sampled = Sampled(f"q{number}.1.0", f"r{number}", "a small package", "a package", at, 0.05, "random", 1.0, 4, 3)
        traces.write(sampled)
        traces.judged(sampled.trace, number % 2 == 0, 0.5)
        asked[sampled.trace] = {"random"}
    Queues(settings.mlflow, name, settings.artifacts).ask(asked)


def _drifted(settings: Settings, name: str, version: str) -> None:
    """What `seqline watch` writes of senders who ask about fonts alone."""
    now, draw = time.time(), random.Random(7)
    texts = [*stanzas(300, seed=3), *(stanza(draw, kinds=("fonts",)) for _ in range(300))]
    traffic = [Text(text, now - len(texts) + at) for at, text in enumerate(texts)]
    found = watched(name, version, [("input", made(stanzas(1_600, seed=1), TOOLS), traffic, TOOLS)], now - DAY, now)
    path = settings.folder("drift") / f"{name}.json"
    path.write_text(json.dumps({**found.plain(), "at": now}), encoding="utf-8")
