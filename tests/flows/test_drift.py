"""`seqline drift NAME` on a real registry: a version with its data and outputs, sampled traffic that left it, the verdict."""

import json
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.commands.drift import drift
from pipelines import artifact
from pipelines.errors import UserError
from pipelines.registry import Registry, Version
from pipelines.registry.traces import Sampled, Traces
from tests.monitoring.made_up import stanzas
from tests.registry.conftest import KEY, make

SAID = "a small tool library for mail fonts games written by many people"
SPEC = "name: tiny\ndata:\n  source: {kind: files, paths: [pairs.csv]}\nserving:\n  review: {share: 1.0}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.yaml").write_text(SPEC)
    monkeypatch.setenv("SEQLINE_PROJECT", str(tmp_path))
    monkeypatch.setenv("SEQLINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield tmp_path
    shutil.rmtree(tmp_path / "home", ignore_errors=True)


def outputs(n: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(SAID.split(), k=9)) for _ in range(n)]


def registered(project: Path, answers: int = 400) -> tuple[Registry, Version]:
    """A version whose data lies in data/tiny and whose outputs are among its files; champion."""

    def dataset(folder: Path) -> None:
        texts = stanzas(500, seed=1)
        table = {"id": [str(at) for at in range(len(texts))], "source": texts, "target": texts}
        pq.write_table(pa.table(table), folder / "train.parquet")
        (folder / "dataset.json").write_text(json.dumps({"rows": 500, "kept": 500, "splits": {"train": 500}, "rejected": {}}))

    made = make(project / "made")

    def report(folder: Path) -> None:
        for path in made.report.path.iterdir():
            if path.name != artifact.MANIFEST:
                shutil.copy(path, folder)
        pq.write_table(pa.table({"output": outputs(answers, seed=2)}), folder / "outputs.parquet")

    candidate = replace(
        made,
        dataset=artifact.make(artifact.Dataset, project / "data" / "tiny", dataset),
        report=artifact.make(artifact.Report, project / "report", report),
    )
    registry = Registry(f"sqlite:///{project / 'home' / 'mlflow.db'}", project / "home" / "mlartifacts")
    version = registry.register("tiny", candidate, KEY)
    registry.set_alias("tiny", "champion", version.version)
    return registry, version


def test_it_names_what_moved_and_writes_a_page(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="tiny: no version is in production"):
        drift("tiny")
    registry, version = registered(project)
    drift("tiny", as_json=True)
    quiet = json.loads(capsys.readouterr().out)
    assert (quiet["verdict"], [side["texts"] for side in quiet["sides"]]) == ("unknown", [0, 0])

    traces = Traces(registry.uri, "tiny", registry.artifacts)
    now = time.time()
    asked, said = stanzas(220, seed=3, kinds=("games",)), outputs(220, seed=4)
    for at, (source, output) in enumerate(zip(asked, said, strict=True)):
        tags = {"seqline.version": version.version}
        traces.write(Sampled(f"r{at}", f"r{at}", source, output, now - 1_000 + at, 0.0, "random", 1.0, 9, 9, tags))
    drift("tiny", project / "page.html", as_json=True)
    found = json.loads(capsys.readouterr().out)
    sides = {side["side"]: side for side in found["sides"]}
    assert (found["name"], found["version"], found["verdict"]) == ("tiny", version.version, "drifted")
    assert (sides["input"]["verdict"], sides["input"]["headline"]) == ("drifted", "section: games")
    assert (sides["output"]["verdict"], sides["output"]["texts"]) == ("not drifted", 200)
    assert "section: games" in (project / "page.html").read_text()

    shutil.rmtree(project / "data")  # both references are made by now, and kept
    drift("tiny")
    shown = capsys.readouterr().out
    assert "tiny version 1: drifted" in shown
    assert "section: games" in shown
    for kept in (project / "home" / "work" / "tiny").glob("profile-*"):
        shutil.rmtree(kept)
    with pytest.raises(UserError, match="the data of version 1 is not here: `seqline data restore tiny tiny@1`"):
        drift("tiny")


def test_too_few_answers_for_a_reference_keep_nobody_from_looking_at_the_questions(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry, version = registered(project, answers=60)
    traces = Traces(registry.uri, "tiny", registry.artifacts)
    now = time.time()
    for at, (source, output) in enumerate(zip(stanzas(220, seed=3, kinds=("games",)), outputs(220, seed=4), strict=True)):
        tags = {"seqline.version": version.version}
        traces.write(Sampled(f"r{at}", f"r{at}", source, output, now - 1_000 + at, 0.0, "random", 1.0, 9, 9, tags))
    drift("tiny", project / "page.html", as_json=True)
    found = json.loads(capsys.readouterr().out)
    said = {side["side"]: (side["verdict"], side["headline"]) for side in found["sides"]}
    assert (found["verdict"], said) == ("drifted", {"input": ("drifted", "section: games"), "output": ("unknown", None)})
    assert "60 distinct texts are too few" in (project / "page.html").read_text()
