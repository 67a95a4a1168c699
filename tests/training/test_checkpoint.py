"""A checkpoint that is not as it was written is refused by name, and the one before is used: nothing in between."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from pipelines import artifact
from pipelines.errors import SeqlineError
from pipelines.training import checkpoint
from pipelines.training.checkpoint import Checkpoint, State
from pipelines.training.progress import last_step, lines
from tests.training import line
from tests.training.test_fit import kill_at, log_of

FILES = ("weights.safetensors", "optimizer.safetensors", "best.safetensors", "state.json", artifact.MANIFEST)


def at(step: int) -> Checkpoint:
    tensors = {"first": torch.full((3, 4), float(step)), "second": torch.arange(step)}
    return Checkpoint(
        State(step=step, tokens=7 * step, validations=[[step, 0.5]]), tensors, {"0.exp_avg": torch.ones(5)}, tensors
    )


def saved(folder: Path) -> Path:
    """Checkpoints of steps 10 and 20 in `folder`; the path of the last."""
    checkpoint.save(folder, at(10))
    checkpoint.save(folder, at(20))
    return folder / "step-00000020"


def loaded(folder: Path) -> tuple[int | None, list[str]]:
    """The step of the checkpoint that is used, and what was said."""
    said: list[str] = []
    found = checkpoint.load(folder, said.append)
    return found.state.step if found else None, said


def test_what_was_saved_is_loaded_and_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        checkpoint.save(tmp_path, at(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000020", "step-00000030"]
    found = checkpoint.load(tmp_path, pytest.fail)
    assert found is not None
    assert asdict(found.state) == asdict(at(30).state)
    assert all(torch.equal(found.weights[name], tensor) for name, tensor in at(30).weights.items())


def test_what_a_kill_left_half_written_is_neither_used_nor_in_the_way(tmp_path: Path) -> None:
    shutil.copytree(saved(tmp_path), tmp_path / ".new")
    (tmp_path / ".new" / "state.json").write_text("{")
    assert loaded(tmp_path) == (20, [])
    checkpoint.save(tmp_path, at(30))
    assert loaded(tmp_path) == (30, [])


@given(name=st.sampled_from(FILES), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(name: str, where: float, bit: int) -> None:
    with TemporaryDirectory() as folder:
        last = saved(Path(folder))
        content = bytearray((last / name).read_bytes())
        content[int(where * len(content))] ^= 1 << bit
        (last / name).write_bytes(content)
        step, said = loaded(Path(folder))
        assert step == 10
        assert len(said) == 1
        assert said[0].startswith("checkpoint step-00000020 is damaged and passed over: step-00000020/")
        assert name in said[0] or name == artifact.MANIFEST, "a flipped manifest may accuse any file"
        assert not last.exists()


@given(name=st.sampled_from(FILES), share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_found(name: str, share: float) -> None:
    with TemporaryDirectory() as folder:
        last = saved(Path(folder))
        content = (last / name).read_bytes()
        (last / name).write_bytes(content[: int(share * len(content))])
        step, said = loaded(Path(folder))
        assert (step, len(said)) == (10, 1)
        assert f"step-00000020/{name}" in said[0]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_also_where_no_manifest_misses_it(tmp_path: Path, name: str) -> None:
    last = saved(tmp_path)
    (last / name).unlink()
    if name != artifact.MANIFEST:
        artifact.seal(last)
    step, (said,) = loaded(tmp_path)
    assert step == 10
    assert name in said


@pytest.mark.parametrize("content", [b"", b"not JSON", b"\xff", b"[1]", b"null", b'{"step": 20, "of_another_code": 1}'])
def test_a_sealed_state_that_this_code_cannot_read_is_named(tmp_path: Path, content: bytes) -> None:
    last = saved(tmp_path)
    (last / "state.json").write_bytes(content)
    artifact.seal(last)
    assert loaded(tmp_path) == (
        10,
        [
            "checkpoint step-00000020 is damaged and passed over: step-00000020/state.json: not the place of a training",
        ],
    )


def test_when_none_is_whole_both_are_named_and_none_is_used(tmp_path: Path) -> None:
    saved(tmp_path)
    for path in tmp_path.glob("step-*/weights.safetensors"):
        path.write_bytes(b"x")
    step, said = loaded(tmp_path)
    assert step is None
    assert [line.split()[1] for line in said] == ["step-00000020", "step-00000010"]


def flip(folder: Path) -> str:
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "weights.safetensors").write_bytes(content)
    return "weights.safetensors"


def cut(folder: Path) -> str:
    (folder / "best.safetensors").write_bytes((folder / "best.safetensors").read_bytes()[:-100])
    return "best.safetensors"


def lose(folder: Path) -> str:
    (folder / "optimizer.safetensors").unlink()
    return "optimizer.safetensors"


def add(folder: Path) -> str:
    (folder / "extra.bin").write_bytes(b"x")
    return "extra.bin"


def garble(folder: Path) -> str:
    (folder / "state.json").write_text("not JSON")
    return "state.json"


def unseal(folder: Path) -> str:
    (folder / artifact.MANIFEST).write_text(json.dumps({"files": 3}))
    return artifact.MANIFEST


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("killed")
    kill_at(out, line.TRAINING, 33)
    return out


@pytest.mark.parametrize("damage", [flip, cut, lose, add, garble, unseal])
def test_a_training_over_damage_ends_in_the_same_weights(
    damage: Callable[[Path], str], killed: Path, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    older, last = sorted(tmp_path.glob(".weights-*.partial/step-*"))
    reached = last_step(log_of(tmp_path))
    name = damage(last)
    assert line.trained(tmp_path).sha256 == line.trained(work).sha256
    said = capsys.readouterr().out
    assert f"checkpoint {last.name} is damaged and passed over: {last.name}/{name}" in said
    step = int(older.name.removeprefix("step-"))
    assert f"resumed at step {step} ({reached - step} steps repeated)" in said


def test_with_all_checkpoints_damaged_it_starts_over_and_says_so(
    killed: Path, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob(".weights-*.partial/step-*"):
        flip(path)
    assert line.trained(tmp_path).sha256 == line.trained(work).sha256
    said = capsys.readouterr().out
    assert said.count("is damaged and passed over") == 2
    assert "resumed at step 0" in said


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, "told in any words"),
        OSError(errno.EDQUOT, "told in any words"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        SafetensorError("Error while serializing: I/O error: Disk quota exceeded (os error 122)"),
    ],
)
def test_a_full_disk_is_one_line_also_where_no_folder_could_be_made(tmp_path: Path, fault: Exception) -> None:
    with pytest.raises(SeqlineError, match=r"^training: the disk is full \(free: \d+ MiB\): make room"):  # noqa: SIM117
        with checkpoint.disk_faults(tmp_path / "never" / "made"):
            raise fault


def test_other_faults_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), checkpoint.disk_faults(tmp_path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_checkpoints_that_are_there_count_off_the_room_that_is_needed(tmp_path: Path) -> None:
    parameters = shutil.disk_usage(tmp_path).free // 50  # 52 bytes each are needed
    with pytest.raises(SeqlineError, match="training: needs"):
        checkpoint.check_disk(tmp_path, parameters)
    for name in ("step-00000010", "step-00000020"):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "weights.safetensors").open("wb") as stream:
            stream.truncate(16 * parameters)  # sparse: takes no room
    checkpoint.check_disk(tmp_path, parameters)


def test_a_log_with_bytes_of_something_else_is_read_around_them(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert list(lines(log)) == []
    log.write_bytes(b'{"step": 3, "loss": 1.5}\n\xff\xfe{"step"\n[1]\n\n{"step": 4, "loss": 1.25}\n{"step": 5, "lo')
    assert list(lines(log)) == [{"step": 3, "loss": 1.5}, {"step": 4, "loss": 1.25}]
    assert last_step(log) == 4
