"""Two processes over gloo train as one does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.artifact import Tokens, Weights, existing
from pipelines.spec import Training
from pipelines.training.fit import fit
from pipelines.training.progress import lines
from tests.training import line

REPO = Path(__file__).parents[2]
STILL = line.TRAINING.model_copy(
    update={
        "architecture": line.TRAINING.architecture.model_copy(update={"dropout": 0.0}),  # each process draws its own
        "steps": 12,
        "validate_steps": 6,
        "checkpoint_steps": 5,
    }
)


def torchrun(model: Path, tokens: Tokens, out: Path) -> "subprocess.CompletedProcess[str]":
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = ["-m", "pipelines.training.parallel", str(model), str(tokens.path), str(out)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*run, *arguments], cwd=REPO, check=False, capture_output=True, text=True, timeout=300, env=env)


def yaml(path: Path, training: Training) -> Path:
    """JSON is YAML."""
    content = {
        "name": "tiny",
        "task": "summarization",
        "data": {"source": {"kind": "files", "paths": ["unused.jsonl"]}},
        "privacy": {"level": "patterns"},
        "training": training.model_dump(mode="json"),
    }
    path.write_text(json.dumps(content))
    return path


def log(out: Path, what: str) -> list[Any]:
    rows = [row for row in lines(next(out.glob("weights-*.jsonl"))) if "loss" in row]
    return [row["loss"] for row in rows if (row.get("event") == "validation") == (what == "validations")]


@pytest.fixture(scope="module")
def two(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("two")
    done = torchrun(yaml(out / "model.yaml", STILL), line.encoded(work), out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("training: step 12/12") == 1
    return out


def test_two_processes_reach_the_losses_of_one(work: Path, tmp_path: Path, two: Path) -> None:
    made = fit(line.encoded(work), STILL, None, tmp_path)
    assert len(log(two, "steps")) == 12
    assert log(two, "steps") == pytest.approx(log(tmp_path, "steps"), abs=0.02)
    assert log(two, "validations") == pytest.approx(log(tmp_path, "validations"), abs=0.02)
    other = existing(Weights, two / made.path.name)
    assert other is not None
    facts, theirs = (json.loads((each.path / "training.json").read_text()) for each in (made, other))
    assert facts["tokens"] == theirs["tokens"]
    assert not list(two.glob(".weights-*"))


def test_what_is_there_is_not_trained_again(work: Path, two: Path) -> None:
    weights = next(path for path in two.glob("weights-*") if path.is_dir())
    before = (weights / "manifest.json").stat().st_mtime_ns
    assert fit(line.encoded(work), STILL, None, two).path == weights
    assert (weights / "manifest.json").stat().st_mtime_ns == before


def test_private_training_is_refused_in_several_processes(work: Path, tmp_path: Path) -> None:
    private = Training.model_validate(STILL.model_dump() | {"private": {"noise": 1.0}})
    done = torchrun(yaml(tmp_path / "model.yaml", private), line.encoded(work), tmp_path)
    assert done.returncode != 0
    assert "training.private: its noise is drawn in one process: start it without torchrun" in done.stderr


def test_no_encoded_pairs_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.training.parallel", str(yaml(tmp_path / "m.yaml", STILL)), "/nowhere", "out"]
    done = subprocess.run(command, cwd=REPO, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr == "/nowhere: no encoded pairs (a folder tokens-KEY of `seqline retrain`)\n"
