import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.artifact import Weights, verify
from pipelines.errors import SeqlineError, UserError
from pipelines.spec import Architecture, Training
from pipelines.training.fit import fit
from pipelines.training.progress import last_step, lines
from tests.training import line

REPO = Path(__file__).parents[2]


def start(out: Path, training: Training) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.training.fit_process", str(out), training.model_dump_json()]
    return subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def log_of(out: Path) -> Path:
    return next(iter(out.glob(".weights-*.partial/log.jsonl")), out / "none")


def kill_at(out: Path, training: Training, step: int) -> None:
    """Run until the log shows `step`, then kill -9."""
    process = start(out, training)
    deadline = time.monotonic() + 120
    while last_step(log_of(out)) < step:
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_training_learns_and_leaves_a_whole_folder(work: Path) -> None:
    weights = line.trained(work)
    verify(weights.path, weights.sha256)
    facts = json.loads((weights.path / "training.json").read_text())
    losses = [loss for _, loss in facts["validations"]]
    assert facts["step"] == 60
    assert losses[-1] < losses[0] < 7
    assert facts["best_loss"] == min(losses)
    names = {path.name for path in weights.path.iterdir()}
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "training.json"} <= names
    assert not list(work.glob(".weights-*"))
    steps = [facts["step"] for facts in lines(work / f"{weights.path.name}.jsonl") if "loss" in facts and "event" not in facts]
    assert steps == list(range(1, 61))


def test_the_same_input_gives_the_same_bytes_and_a_second_call_does_nothing(work: Path, tmp_path: Path) -> None:
    there = line.trained(work)
    assert line.trained(tmp_path).sha256 == there.sha256
    log = work / f"{there.path.name}.jsonl"
    before = log.read_bytes()
    assert line.trained(work) == there
    assert log.read_bytes() == before


def test_killed_twice_and_resumed_it_ends_in_the_same_bytes(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], killed: Path
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    assert not list(tmp_path.glob("weights-*"))
    kill_at(tmp_path, line.TRAINING, last_step(log_of(tmp_path)) + 9)
    reached = last_step(log_of(tmp_path))
    resumed = line.trained(tmp_path)
    assert resumed.sha256 == line.trained(work).sha256
    said = capsys.readouterr().out
    assert f"resumed at step {reached // 10 * 10} ({reached % 10} steps repeated)" in said
    log = list(lines(tmp_path / f"{resumed.path.name}.jsonl"))
    repeats = [facts["repeated"] for facts in log if facts.get("event") == "resume"]
    assert len(repeats) == 2
    assert all(repeated <= line.TRAINING.checkpoint_steps for repeated in repeats)
    assert len([facts for facts in log if "event" not in facts]) == 60 + sum(repeats)


def test_what_kills_left_is_swept_at_the_next_start(work: Path, tmp_path: Path, killed: Path) -> None:
    weights = line.trained(work)
    for folder in (weights.path, line.encoded(work).path, line.dataset(work).path):
        shutil.copytree(folder, tmp_path / folder.name)
    left = tmp_path / f".{weights.path.name}.partial"  # killed after its weights got their name
    shutil.copytree(next(killed.glob(".weights-*.partial")), left)
    assert line.trained(tmp_path) == Weights(tmp_path / weights.path.name, weights.sha256)
    assert not left.exists()

    shutil.copytree(killed / left.name, left)
    torn, other = tmp_path / ".weights-0123456789abcdef.4711", tmp_path / ".weights-0123456789abcdef.partial"
    for folder in (torn, other):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
    line.trained(tmp_path, line.TRAINING.model_copy(update={"steps": 1}))
    assert not left.exists()
    assert not torn.exists()
    assert other.exists(), "a training of another spec may go on"


@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str, killed: Path
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    older, last = sorted(tmp_path.glob(".weights-*.partial/step-*"))
    victim = last / "optimizer.safetensors"
    if damage == "missing":
        victim.unlink()
    else:
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 1
        victim.write_bytes(content if damage == "flip" else content[:-100])
    assert line.trained(tmp_path).sha256 == line.trained(work).sha256
    said = capsys.readouterr().out
    assert f"checkpoint {last.name} is damaged and passed over: {last.name}/optimizer.safetensors" in said
    assert f"resumed at step {int(older.name[5:])}" in said


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("killed")
    kill_at(out, line.TRAINING, 33)
    return out


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    """At a rate of 3 the loss only gets worse: training stops long before its steps are done."""
    training = line.TRAINING.model_copy(
        update={"learning_rate": 3.0, "steps": 200, "validate_steps": 5, "patience": 2, "clip": 100.0}
    )
    facts = json.loads((line.trained(tmp_path, training).path / "training.json").read_text())
    assert facts["step"] < 200
    assert facts["best_step"] < facts["step"]


def test_a_loss_that_is_not_finite_stops_with_one_line_and_keeps_the_batch(tmp_path: Path) -> None:
    training = line.TRAINING.model_copy(update={"learning_rate": 1e38, "clip": 1e30})
    with pytest.raises(SeqlineError, match=r"the loss is (nan|inf) at step \d+: the batch is kept in") as caught:
        line.trained(tmp_path, training)
    assert "\n" not in str(caught.value)
    kept = json.loads(next(tmp_path.glob("weights-*.not-finite.json")).read_text())
    assert kept["step"] >= 2
    assert len(kept["source_ids"]) == len(kept["target_ids"]) > 0
    assert not [path for path in tmp_path.glob("weights-*") if path.is_dir()]


def test_too_little_disk_is_refused_before_the_start(tmp_path: Path) -> None:
    huge = Architecture(width=131_072, heads=2, encoder_layers=24, decoder_layers=24)
    with pytest.raises(SeqlineError, match=r"training: needs \d+ MiB of disk .* \d+ MiB are free") as caught:
        line.trained(tmp_path, line.TRAINING.model_copy(update={"architecture": huge}))
    assert caught.value.exit_code == 1


FULL = """
set -e
mount -t tmpfs -o size=40m none "$1"
cp -r "$2"/. "$1"
"$3" -m tests.training.fit_process "$1" "$4" &
until grep -qs '"step": 5,' "$1"/.weights-*.partial/log.jsonl; do kill -0 $!; done
dd if=/dev/zero of="$1"/filler bs=1M 2>/dev/null || true
code=0; wait $! || code=$?
ls -A "$1"
exit $code
"""


def test_a_disk_that_fills_up_in_mid_run_is_one_line_and_leaves_nothing_half_made(tmp_path: Path) -> None:
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs user namespaces to mount a small disk")
    (tmp_path / "disk").mkdir()
    line.encoded(tmp_path / "made")
    long = line.TRAINING.model_copy(update={"steps": 100_000, "checkpoint_steps": 50})
    arguments = [str(tmp_path / "disk"), str(tmp_path / "made"), sys.executable, long.model_dump_json()]
    done = subprocess.run(
        [*namespace, "bash", "-c", FULL, "bash", *arguments], cwd=REPO, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done
    assert "training: the disk is full (free: 0 MiB): make room, then run again to resume\nexit 1" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [name for name in done.stdout.split() if name.startswith("weights-")]


def test_training_goes_on_from_a_base(work: Path, tmp_path: Path) -> None:
    first = line.trained(work)
    more = line.TRAINING.model_copy(update={"steps": 10, "learning_rate": 1e-5})
    second = fit(line.encoded(work), more, first.path, tmp_path)
    begun = json.loads((second.path / "training.json").read_text())["best_loss"]
    assert begun == pytest.approx(json.loads((first.path / "training.json").read_text())["best_loss"], abs=0.05)


def test_a_base_that_does_not_fit_is_refused(work: Path, tmp_path: Path) -> None:
    weights: Weights = line.trained(work)
    base = shutil.copytree(weights.path, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(UserError, match=r"training\.base: base: not a sequence-to-sequence model"):
        fit(line.encoded(work), line.TRAINING, base, tmp_path)
    (base / "config.json").write_text(json.dumps(config))
    (base / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"training\.base: base: not a sequence-to-sequence model in safetensors"):
        fit(line.encoded(work), line.TRAINING, base, tmp_path)
