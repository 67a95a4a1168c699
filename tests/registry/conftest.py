"""Candidates made of real sealed artifacts, small; a registry on SQLite and one behind a real `mlflow server`."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

from flows.settings import Settings
from pipelines import artifact
from pipelines.registry import Candidate, Lineage, Registry

A = TypeVar("A", bound=artifact.Artifact)
Make = Callable[..., Candidate]
KEY, SIGNER = Settings().signing_key, Settings().signer
"""What signs versions, and the public half of it: made in the tests' own workspace."""


def measured(value: float) -> dict[str, Any]:
    return {"value": value, "interval": [value - 1, value + 1]}


SCORES = {
    "metric": "rougeL",
    "n": 300,
    "model": {"rougeL": measured(11.25), "chrf": measured(20.5)},
    "baselines": {"lead": {"rougeL": measured(30.0), "chrf": measured(31.0), "difference": measured(-18.75)}},
    "judge": {"flagged": measured(4.0)},
}
KNOWN = {"values": 10, "missed": 1, "recall": 0.9, "interval": [0.6, 0.98]}
PLANTED = {"values": 10, "missed": 2, "recall": 0.8, "interval": [0.5, 0.94]}
SCRUB = {
    "policy": "0" * 64,
    "entities": {"PERSON": {"spans": 12, "values": 7}, "URL": {"spans": 3, "values": 3}},
    "known": {"en": {"PERSON": KNOWN}},
    "audit": {"en": {"PERSON": PLANTED}},
    "verdicts": {
        "en": {
            "PERSON": {"verdict": "measured", "known": KNOWN, "planted": PLANTED},
            "URL": {"verdict": "not measured", "known": None, "planted": None},
        }
    },
}
DATASET = {"rows": 100, "kept": 90, "rejected": {"duplicate": 10}, "splits": {"train": 70, "validation": 10, "test": 10}}
SPEC = {"name": "tiny", "data": {"source": {"kind": "files", "paths": ["x.csv"]}}, "training": {"steps": 3, "seed": 17}}


def sealed(kind: type[A], folder: Path, files: Mapping[str, object]) -> A:
    def write(building: Path) -> None:
        for name, content in files.items():
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            (building / name).write_text(content if isinstance(content, str) else json.dumps(content))

    return artifact.make(kind, folder, write)


def make(base: Path, key: str = "k1", *, passed: bool = True, weights: Mapping[str, str] | None = None) -> Candidate:
    export = {"hf/config.json": {}, "ct2/model.bin": f"weights of {key}", "export.json": {"quantisation": "int8"}}
    rule = {
        **measured(3.0),
        "rule": "reads_source",
        "bar": 0,
        "verdict": "better" if passed else "inconclusive",
        "passed": passed,
    }
    gate = {"passed": passed, "rules": [rule]}
    return Candidate(
        key=key,
        task="summarization",
        export=sealed(artifact.Export, base / f"export-{key}", {**export, **(weights or {})}),
        report=sealed(
            artifact.Report, base / f"report-{key}-{passed}", {"scores.json": SCORES, "gate.json": gate, "report.md": "#"}
        ),
        dataset=sealed(artifact.Dataset, base / "dataset", {"dataset.json": DATASET}),
        clean=sealed(artifact.Clean, base / "clean", {"scrub.json": SCRUB}),
        page=sealed(artifact.Artifact, base / "page", {"data.html": "<p>"}),
        weights=sealed(artifact.Weights, base / "weights", {"training.json": {"steps": 3}}),
        privacy={"entities": ["PERSON", "URL"]},
        decoding={"beam": 2, "max_tokens": 8},
        lineage=Lineage(SPEC, "a" * 64, "b" * 32, "outs:\n- md5: bbbb\n  path: data\n", "c" * 40, False, "d" * 64),
    )


@pytest.fixture
def candidate(tmp_path: Path) -> Make:
    return lambda key="k1", **extra: make(tmp_path / "work", key, **extra)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's schema, to copy: making one takes a second."""
    database = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Registry(f"sqlite:///{database}")
    return database


@pytest.fixture
def registry(tmp_path: Path, empty_database: Path) -> Registry:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlartifacts")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server on a database of its own."""
    home = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--workers",
        "1",
        "--host",
        "127.0.0.1",
        "--port",
        url.rpartition(":")[2],
    ]
    command += ["--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}", "--artifacts-destination", str(home / "artifacts")]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not _healthy(url):
            assert process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def _healthy(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=2).ok
    except requests.RequestException:
        return False
