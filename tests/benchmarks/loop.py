"""`make bench-loop`: the loop closed. Traffic shifts to a section that the model never saw; nobody but Promote's presser acts.

In a project of its own, with the whole stack of `seqline up` (its ports must be free): a small model learns four sections of
invented packages and serves them. Then senders ask about fonts, whose pairs came into the source meanwhile. The scheduled watch
finds the drift and has Prefect retrain; the new version wins on the fonts, passes the gates, and takes its share of the live
traffic; this script presses Promote as MLflow's page does; the scheduled controller lets it in. FOLDER keeps the project.
"""

import csv
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import requests
from ruamel.yaml import YAML

from flows.stack import deployments
from pipelines.rollout import ledger
from pipelines.spec import load
from tests.benchmarks import results
from tests.flows.project import PEOPLE, ROOT, USES, Project, address_of

T = TypeVar("T")
RATE = float(os.environ.get("RATE", "5"))  # requests a second
PATIENCE = 3_600.0  # seconds for any one thing to happen: a loaded machine is slow
OLD = {"games": "Game", "libs": "Library", "net": "Server", "utils": "Tool"}
STYLES = ("bold", "slanted", "narrow", "wide", "ornate", "plain", "round", "antique")
STROKES = ("thin", "heavy", "broken", "double", "curly", "square")
SCRIPTS = ("runic", "gothic", "roman", "cursive", "medieval", "modern", "stencil", "monospaced", "handwritten", "rounded")
MLFLOW = "http://127.0.0.1:5000"

SPEC = """
name: tiny
task: summarization
data:
  source: {{kind: files, paths: [pairs*.csv], source: stanza, target: synopsis}}
  splits: {{validation: 60, test: 240, near_duplicate: 1.0}}
privacy: {{entities: [PERSON, EMAIL_ADDRESS]}}
tokens: {{vocabulary: 600, max_source: 64, max_target: 16}}
training:
  steps: {steps}
  batch_tokens: 2048
  checkpoint_steps: 200
  validate_steps: 200
  learning_rate: 0.003
  denoising: 0
  architecture: {{width: 64, heads: 4, encoder_layers: 1, decoder_layers: 1}}
scoring:
  resamples: 1000
  slices: {{domain: "Section: ", length: false, entities: false}}
  gate: {{reads_source: true, margin: 3, max_copied: 1, max_looping: 1}}
serving:
  port: {port}
  timeout_ms: 20000
  decoding: {{max_tokens: 16}}
  review: {{share: 1.0, per_hour: 20000}}
slo:
  availability: {{objective: 0.95}}
  latency: {{objective: 0.9, target_ms: 15000}}
rollout:
  stages: [{{weight: 10, burn: 8}}, {{weight: 50, burn: 3}}]
  shadow_requests: 30
  stage_requests: 20
  stage_seconds: 0
  traffic: live
  probation: {{hours: 0}}
watch: {{triggers: [drift]}}
schedule: {{watch: "* * * * *"}}
"""


def main() -> None:
    folder = Path(os.environ.get("FOLDER") or tempfile.mkdtemp(prefix="loop-"))
    log = Log(folder.with_name(f"{folder.name}.log"))
    project = _project(folder)
    old, new = stanzas(OLD, 1_200, seed=1), fonts(700, seed=2)
    write_pairs(project.folder / "models" / "pairs-1.csv", old)
    project.commit("four sections")
    log(f"a project in {folder.name}/: {len(old):,} pairs of {', '.join(OLD)}")
    first = _ran(project, "retrain", "models/tiny.yaml", "--json")
    log(f"version 1 trained: {_score(json.loads(first)['scores']['model'])}")
    try:
        _ran(project, "up", "tiny")
        log("the stack is up: Prefect, its worker, MLflow, the gateway, Prometheus, Alertmanager")
        log.when("the gateway answers", lambda: _answers(project))
        rows = _loop(project, log, new)
    finally:
        project.seqline("down")
        log("the stack is down")
    results.write("loop", rows, *log.lines)
    if "FOLDER" not in os.environ:
        shutil.rmtree(folder)


def _loop(project: Project, log: "Log", new: list[tuple[str, str]]) -> list[results.Row]:
    """From quiet traffic to the next version in production."""
    with _sent(project, [source for source, _ in stanzas(OLD, 2_000, seed=3)], "before"):
        quiet = log.when("unchanged traffic", lambda: _judged(project, "not drifted"))
        log(f"the watch, on {_texts(quiet)} texts: {quiet['sides'][0]['verdict']}; retrains: {len(_started(project))}")
    before = _texts(json.loads(_ran(project, "drift", "tiny", "--json")))
    return _shifted(project, log, new, before)


def _shifted(project: Project, log: "Log", new: list[tuple[str, str]], before: int) -> list[results.Row]:
    """From the shift to the next version in production."""
    write_pairs(project.folder / "models" / "pairs-2.csv", new)
    shifted = log(f"{len(new)} pairs of fonts are in the source; from now on senders ask about fonts")
    with _sent(project, [source for source, _ in fonts(4_000, seed=4)], "after"):
        alarm = log.when("drift found", lambda: _judged(project, "drifted"))
        side = next(each for each in alarm["sides"] if each["verdict"] == "drifted")
        found = side["found_after"] - before
        log(f"{side['side']}: {side['headline']}; {side['why']}; found after {found} texts of the shifted traffic")
        started = log.when("a retrain started by the watch", lambda: next(iter(_started(project)), None))
        log(f"because {started['why']}")
        log.when("version 2 registered, its gates open", lambda: _rollout(project))
        waits = log.when("shadow and stages passed, a person is asked", lambda: _waits(project))
        log(f"the page says: {waits}")
        pressed = log(f"Promote model pressed: tiny-prod version {press_promote('2')}")
        log.when("version 2 in production", lambda: project.store.route("tiny").champion == "2" or None)  # type: ignore[union-attr]
        promoted = time.time()
        log.when("the registry says so", lambda: _champion(project) == "2" or None)
        last = log.when("the next watch tells that it helped", lambda: _helped(project))
        log(f"the watch: {json.dumps(last)}")
    facts = json.loads((project.folder / "data" / "tiny" / "dataset.json").read_text())["test_set"]
    log(f"its test set: {facts['carried']} pairs of the old one, {facts['fresh']} fresh ones, {facts['learnt']} learnt from")
    lineage = json.loads(_ran(project, "lineage", "tiny@2", "--json"))
    log(f"the version's reason, in its lineage: {lineage['why']}")
    return [*_rows(lineage), *_times(found, shifted, started["at"], pressed, promoted)]


def _rows(lineage: dict[str, Any]) -> list[results.Row]:
    """The new version beside the old one, over all pairs and section by section; it must win on fonts."""
    scores = lineage["scores"]
    rows = []
    for each in scores["slices"]:
        gain, level = each["difference"], each["model"]
        claim = f"{scores['metric']} on section {each['slice']} ({each['n']} pairs): version 2 minus version 1"
        bar = 0.0 if each["slice"] == "fonts" else -3.0
        old = level["value"] - gain["value"]
        claim += f", {level['value']:.1f} [{level['interval'][0]:.1f}, {level['interval'][1]:.1f}] instead of {old:.1f}"
        row = results.at_least(claim, gain["value"], "points", None, each["n"], spread=gain["interval"])
        rows.append({**row, "goal": bar, "holds": gain["interval"][0] > bar})
    return rows


def _times(found: int, shifted: float, started: float, pressed: float, promoted: float) -> list[results.Row]:
    return [
        results.bounded("texts of the shifted traffic until the drift is found", found, "texts", 500),
        results.bounded("from the shift to the retrain's start", started - shifted, "s", None),
        results.bounded("from the retrain's start to the question for a person", pressed - started, "s", None),
        results.bounded("from the press to production", promoted - pressed, "s", None),
    ]


class Log:
    """What happened when, on the terminal and in a file."""

    def __init__(self, path: Path) -> None:
        self._path, self.lines = path, list[str]()

    def __call__(self, said: str) -> float:
        now = time.time()
        line = f"{time.strftime('%H:%M:%S', time.gmtime(now))} {said}"
        self.lines.append(line)
        print(line, flush=True)  # noqa: T201
        with self._path.open("a") as stream:
            stream.write(line + "\n")
        return now

    def when(self, what: str, look: Callable[[], T | None]) -> T:
        """Wait for what `look` finds, and say that it is so.

        Raises:
            TimeoutError: it never was.
        """
        began = time.monotonic()
        while (found := look()) is None:
            if time.monotonic() - began > PATIENCE:
                raise TimeoutError(f"{what}: not within {PATIENCE:g} s")
            time.sleep(1)
        self(f"{what} ({time.monotonic() - began:.0f} s)")
        return found


def stanzas(sections: dict[str, str], count: int, seed: int) -> list[tuple[str, str]]:
    """Packages of some sections, and what they are in a line."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        section, first, second, third = draw.choice(sorted(sections)), *(draw.choice(USES) for _ in range(3))
        said = f"a program that handles {first} and {second} with {third}"
        found.append((_stanza(draw, section, said), f"{sections[section]} for {first} and {second} with {third}"))
    return found


def fonts(count: int, seed: int) -> list[tuple[str, str]]:
    """Typefaces, whose words no other section has. All but the first are small: "Slanted Arabic" would pass for a name."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        style, script, stroke, use = draw.choice(STYLES), draw.choice(SCRIPTS), draw.choice(STROKES), draw.choice(USES)
        said = f"letters drawn in a {style} style with {stroke} strokes for {script} texts about {use}"
        found.append((_stanza(draw, "fonts", said), f"Font for {script} texts about {use}, {style} and {stroke}"))
    return found


def _stanza(draw: random.Random, section: str, said: str) -> str:
    # A name of common words: invented ones are fewer pieces where the tokenizer has learnt them than in traffic, a drift, too.
    person, name = draw.choice(PEOPLE), "-".join(draw.choice(USES) for _ in range(4))
    return f"Package: {name}\nSection: {section}\nMaintainer: {person} <{address_of(person)}>\nDescription: {said}"


def write_pairs(path: Path, pairs: list[tuple[str, str]]) -> None:
    with path.with_suffix(".new").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("stanza", "synopsis"))
        rows.writerows(pairs)
    path.with_suffix(".new").rename(path)


def press_promote(version: str) -> str:
    """What the page of `version` posts to MLflow when a person presses Promote model; the number of the new version."""
    api = f"{MLFLOW}/ajax-api/2.0/mlflow/model-versions"
    page = requests.get(f"{api}/get", {"name": "tiny", "version": version}, timeout=60).json()["model_version"]
    asked = {"name": "tiny-prod", "source": f"models:/tiny/{version}", "run_id": page["run_id"], "tags": page.get("tags", [])}
    answer = requests.post(f"{api}/create", json=asked, timeout=60)
    answer.raise_for_status()
    return str(answer.json()["model_version"]["version"])


def _project(folder: Path) -> Project:
    folder.mkdir(parents=True, exist_ok=True)
    project = Project(folder)
    (folder / "models" / "pairs.csv").unlink()
    write_spec(project)
    shutil.copytree(ROOT / "infra", folder / "infra")
    spec = load(folder / "models" / "tiny.yaml")
    wanted = [each for each in deployments.of_model(spec, "models/tiny.yaml") if each["entrypoint"].split(".")[1] in KINDS]
    with (folder / "infra" / "prefect.yaml").open("w") as stream:
        YAML().dump({"name": "seqline", "prefect-version": deployments.PREFECT, "deployments": wanted}, stream)
    return project


KINDS = ("retrain", "rollout", "watch")


def write_spec(project: Project) -> None:
    text = SPEC.format(port=project.port, steps=os.environ.get("STEPS", "600"))
    (project.folder / "models" / "tiny.yaml").write_text(text)


@contextmanager
def _sent(project: Project, sources: list[str], name: str) -> Iterator[None]:
    """Requests by distinct senders while the block lasts. Their names are no replay's of a rollout's: the seed is another."""
    path = project.folder / f"{name}.parquet"
    pq.write_table(pa.table({"source": sources}), path)
    told = ("--parquet", str(path), "--url", f"http://127.0.0.1:{project.port}", "--rate", str(RATE), "--seed", "7")
    process = project.start("pipelines.rollout.replay", *told, "--parent", str(os.getpid()), stdout=subprocess.PIPE)
    try:
        yield
    finally:
        process.terminate()
        said, _ = process.communicate()
        print(f"senders ({name}): {said.strip()}", flush=True)  # noqa: T201


def _ran(project: Project, *arguments: str) -> str:
    done = project.seqline(*arguments, timeout=PATIENCE)
    if done.code:
        raise RuntimeError(f"seqline {arguments[0]}: {done.err}")
    return done.out


def _answers(project: Project) -> str | None:
    """The version that answers; none while the gateway, up already, still opens it."""
    told = requests.post(f"http://127.0.0.1:{project.port}/v1/generate", json={"inputs": ["Section: libs"]}, timeout=60)
    return told.text if told.ok else None


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None


def _judged(project: Project, verdict: str) -> dict[str, Any] | None:
    """The last look at a drift, once its input side says `verdict`."""
    found = _read(project.settings.workspace / "drift" / "tiny.json")
    return found if found and found["sides"][0]["verdict"] == verdict else None


def _texts(found: dict[str, Any]) -> int:
    return int(found["sides"][0]["texts"])


def _started(project: Project) -> list[dict[str, Any]]:
    """The retrains that the watch started."""
    return _read(project.settings.workspace / "watch" / "attempts" / "tiny.json") or []


def _rollout(project: Project) -> dict[str, Any] | None:
    rollout = project.store.open_rollout("tiny")
    return dict(rollout.state["state"]) if rollout and rollout.version == "2" else None


def _waits(project: Project) -> str | None:
    state = _rollout(project)
    if state is None:
        with project.store.transaction() as connection:
            closed = ledger.rollout_of("tiny", "2", connection)
        raise RuntimeError(f"the rollout of version 2 is closed, before anybody was asked: {closed and closed.outcome}")
    if state["phase"] != "approval":
        return None
    said = project.json("status", "tiny")["rollout"]["approval"]
    return str(said) if said else None


def _champion(project: Project) -> str | None:
    found = project.registry.champion("tiny")
    return found.version if found else None


def _helped(project: Project) -> dict[str, Any] | None:
    found = _read(project.settings.workspace / "watch" / "tiny.json")
    last = found and found["last"]
    return dict(last) if last and last["version"] == "2" and last["helped"] else None


def _score(model: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {each['value']:.1f} [{each['interval'][0]:.1f}, {each['interval'][1]:.1f}]"
        for name, each in model.items()
        if isinstance(each, dict) and each.get("interval")
    )


if __name__ == "__main__":
    main()
