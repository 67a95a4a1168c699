"""Two processes over gloo train as one does, resume as one does, and neither outlives the other."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from pipelines.artifact import Tokens, Weights, existing, file_sha256
from pipelines.spec import Training
from pipelines.training import parallel
from pipelines.training.fit import fit
from pipelines.training.progress import last_step, lines
from tests.training import line
from tests.training.test_fit import log_of

REPO = Path(__file__).parents[2]
STILL = line.TRAINING.model_copy(
    update={
        "architecture": line.TRAINING.architecture.model_copy(update={"dropout": 0.0}),  # each process draws its own
        "steps": 12,
        "validate_steps": 6,
        "checkpoint_steps": 5,
    }
)


DROPPING = line.TRAINING.model_copy(update={"steps": 18, "validate_steps": 6, "checkpoint_steps": 5})
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def started(*arguments: str) -> "subprocess.Popen[str]":
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", *arguments]
    env = os.environ | ONE_THREAD
    return subprocess.Popen(run, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def torchrun(*arguments: str) -> tuple[int, str]:
    """Exit status, and all that was said."""
    process = started(*arguments)
    said, _ = process.communicate(timeout=600)
    return process.returncode, said


def training(model: Path, tokens: Tokens, out: Path) -> list[str]:
    return ["pipelines.training.torchrun", str(model), str(tokens.path), str(out)]


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
def unbroken(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes make of STILL, in 0/, and of DROPPING, in 1/."""
    out = tmp_path_factory.mktemp("two")
    arguments = [str(line.encoded(work).path), str(out), STILL.model_dump_json(), DROPPING.model_dump_json()]
    status, said = torchrun("tests.training.two_process", *arguments)
    assert status == 0, said
    assert said.count("training: step 12/12") == 1
    return out


@pytest.fixture
def two(unbroken: Path) -> Path:
    return unbroken / "0"


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
    status, said = torchrun(*training(yaml(tmp_path / "model.yaml", private), line.encoded(work), tmp_path))
    assert status != 0
    assert "training.private: its noise is drawn in one process: start it without torchrun" in said


def test_no_encoded_pairs_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.training.torchrun", str(yaml(tmp_path / "m.yaml", STILL)), "/nowhere", "out"]
    done = subprocess.run(command, cwd=REPO, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr == "/nowhere: no encoded pairs (a folder tokens-KEY of `seqline retrain`)\n"


def killed(command: list[str], out: Path, step: int, *, all_of_it: bool) -> None:
    """kill -9 at `step` the second process, or torchrun and all that it started, and wait until all have ended."""
    process = started(*command)
    deadline = time.monotonic() + 300
    while last_step(log_of(out)) < step:
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    if all_of_it:
        process.kill()
    for worker in workers:
        if all_of_it or worker.environ().get("RANK") == "1":
            worker.kill()
    process.communicate(timeout=120)
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive, "the first process waits for the second"


def test_killed_and_resumed_two_processes_end_in_the_same_weights(work: Path, tmp_path: Path, unbroken: Path) -> None:
    command = training(yaml(tmp_path / "model.yaml", DROPPING), line.encoded(work), tmp_path)
    killed(command, tmp_path, 6, all_of_it=True)
    first = last_step(log_of(tmp_path))
    killed(command, tmp_path, first + 3, all_of_it=False)
    second = last_step(log_of(tmp_path))
    status, said = torchrun(*command)
    assert status == 0, said
    assert f"resumed at step {second // 5 * 5} ({second % 5} steps repeated)" in said
    made, whole = (next(path.glob("weights-*/model.safetensors")) for path in (tmp_path, unbroken / "1"))
    assert made.parent.name == whole.parent.name
    assert file_sha256(made) == file_sha256(whole)
    log = list(lines(next(tmp_path.glob("weights-*.jsonl"))))
    repeats = [row["repeated"] for row in log if row.get("event") == "resume"]
    assert len(repeats) == 2
    assert all(repeated <= DROPPING.checkpoint_steps for repeated in repeats)
    assert not list(tmp_path.glob(".weights-*"))


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def ranks(seconds: int, how: str) -> "Iterator[subprocess.Popen[str]]":
    """Two processes that meet without torchrun to watch over them; the second then sends itself the signal `how`."""
    shared = ONE_THREAD | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    for rank in ("0", "1"):
        env = os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank}
        run = [sys.executable, "-m", "tests.training.rank_process", str(seconds), how]
        yield subprocess.Popen(run, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


@pytest.mark.parametrize(("how", "patience"), [("SIGKILL", 600), ("SIGSTOP", 20)])
def test_a_process_that_dies_or_hangs_ends_the_other_with_one_line(how: str, patience: int) -> None:
    first, second = ranks(patience, how)
    try:
        _, error = first.communicate(timeout=240)
    finally:
        first.kill()
        second.send_signal(signal.SIGCONT)
        second.kill()
        second.communicate()
    assert first.returncode == 1
    assert "training: another process has ended or hangs, so this one (rank 0) ends too: run again to resume" in error
    assert "Traceback" not in error


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use the GPU")
def test_a_gpu_that_torch_cannot_use_is_told(tmp_path: Path) -> None:
    assert parallel.unused_gpu(tmp_path) is None
    (tmp_path / "nvidiactl").touch()
    told = parallel.unused_gpu(tmp_path)
    assert told is not None
    assert told.startswith("training: on the CPU, though there is a GPU: torch ")
