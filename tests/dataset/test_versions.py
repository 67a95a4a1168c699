"""Versions come back byte for byte, killed anywhere nothing is half, and one run at a time changes them."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import artifact, dataset
from pipelines.artifact import Corrupt, Dataset
from pipelines.dataset import versions
from pipelines.dataset.objects import Objects
from pipelines.errors import SeqlineError, Transient, UserError
from tests.dataset.project import (
    PROJECT,
    biggest,
    damage,
    forget_local,
    git,
    make_dataset,
    make_repo,
    pull,
    snapshot,
    status,
)

# DVC's own use of pygtrie
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path / "repo")


@pytest.fixture
def made(tmp_path: Path) -> list[Dataset]:
    return [make_dataset(tmp_path / "work", range(count)) for count in (20, 25)]


def test_pull_gives_back_the_bytes_of_any_version(repo: Path, made: list[Dataset]) -> None:
    first = dataset.publish(made[0], "one", repo)
    old = snapshot(repo / "data")
    second = dataset.publish(made[1], "one", repo)
    new = snapshot(repo / "data")
    assert first.md5 != second.md5
    assert second.text == (repo / "data.dvc").read_text()
    assert snapshot(repo / "data/one") == snapshot(made[1].path)
    for pointer, expected in ((second, new), (first, old)):
        forget_local(repo)
        (repo / "data.dvc").write_text(pointer.text)
        pull(repo)
        assert snapshot(repo / "data") == expected
        assert artifact.verify(repo / "data/one")


def test_dvc_finds_nothing_to_do(repo: Path, made: list[Dataset]) -> None:
    dataset.publish(made[0], "one", repo)
    assert status(repo) == ({}, {})


def test_facts_are_kept_and_the_same_facts_change_nothing(repo: Path, made: list[Dataset]) -> None:
    facts = {"policy": "abc", "sources": {"pairs.csv": "f00"}}
    pointer = dataset.publish(made[0], "one", repo, facts)
    told = json.loads((repo / "data/one.json").read_text())
    assert (told["facts"], told["counts"]["rejected"], told["dataset"]) == (facts, {"duplicate": 3}, made[0].sha256)
    assert dataset.publish(made[0], "one", repo, dict(reversed(facts.items()))) == pointer
    assert dataset.publish(made[0], "one", repo, {}) != pointer


def test_other_models_stay_in_a_checkout_and_in_a_fresh_clone(repo: Path, made: list[Dataset]) -> None:
    dataset.publish(made[0], "one", repo)
    dataset.publish(made[1], "two", repo)
    assert sorted(path.name for path in (repo / "data").iterdir()) == ["one", "one.json", "two", "two.json"]
    one = snapshot(repo / "data/one")
    forget_local(repo)
    dataset.publish(made[0], "two", repo)
    assert snapshot(repo / "data/one") == one
    assert snapshot(repo / "data/two") == snapshot(made[0].path)


def test_a_clone_whose_remote_is_empty_starts_anew_and_says_so(
    repo: Path, made: list[Dataset], capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.publish(made[0], "one", repo)
    forget_local(repo)
    shutil.rmtree(repo / ".seqline")
    dataset.publish(made[1], "two", repo)
    assert [path.name for path in (repo / "data").iterdir() if path.is_dir()] == ["two"]
    assert "starts without other models' folders" in capsys.readouterr().err
    dataset.verify(repo)


def test_published_already_costs_no_dvc(repo: Path, made: list[Dataset]) -> None:
    pointer = dataset.publish(made[0], "one", repo)
    code = (
        "import sys; from pathlib import Path; from pipelines import dataset; from pipelines.artifact import Dataset;"
        f"p = dataset.publish(Dataset(Path({str(made[0].path)!r}), {made[0].sha256!r}), 'one', Path({str(repo)!r}));"
        f"assert p.md5 == {pointer.md5!r}; assert 'dvc' not in sys.modules"
    )
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", code) == 0


def test_a_remote_that_lost_everything_is_filled_again(repo: Path, made: list[Dataset]) -> None:
    pointer = dataset.publish(made[0], "one", repo)
    shutil.rmtree(repo / ".seqline")
    assert dataset.publish(made[0], "one", repo) == pointer
    forget_local(repo)
    pull(repo)
    assert artifact.verify(repo / "data/one") == made[0].sha256


@pytest.mark.parametrize("place", [".dvc/cache", ".seqline/dvc", "data"])
def test_what_was_damaged_is_found_and_made_anew(repo: Path, made: list[Dataset], place: str) -> None:
    dataset.publish(made[0], "one", repo)
    versions.check(made[0], "one", repo)
    damage(biggest(repo / place))
    with pytest.raises(Corrupt, match=r"^data/one/train\.parquet: "):
        versions.check(made[0], "one", repo)
    dataset.publish(made[0], "one", repo)
    versions.check(made[0], "one", repo)
    forget_local(repo)
    pull(repo)
    assert artifact.verify(repo / "data/one") == made[0].sha256


def test_a_damaged_dataset_is_not_published(repo: Path, made: list[Dataset]) -> None:
    damage(made[0].path / "train.parquet")
    with pytest.raises(Corrupt, match=r"train\.parquet: the bytes changed"):
        dataset.publish(made[0], "one", repo)
    assert not (repo / "data.dvc").exists()


def test_another_models_damaged_data_never_becomes_a_version(repo: Path, made: list[Dataset]) -> None:
    dataset.publish(made[0], "one", repo)
    damage(repo / "data/one/train.parquet")
    dataset.publish(made[1], "two", repo)
    assert snapshot(repo / "data/one") == snapshot(made[0].path)


def test_a_changed_remote_object_is_not_checked_out(repo: Path, made: list[Dataset]) -> None:
    first = dataset.publish(made[0], "one", repo)
    second = dataset.publish(made[1], "one", repo)
    forget_local(repo)
    damage(max((repo / ".seqline/dvc").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0))
    with pytest.raises(Corrupt, match=r"data/one/.*: its object .* is missing or changed, in the DVC cache and in the remote"):
        bring_back_all(repo, (second.md5, first.md5))


def bring_back_all(repo: Path, md5s: tuple[str, ...]) -> None:
    for md5 in md5s:
        versions.restore("one", md5, repo)


def test_restore_brings_one_model_back_and_leaves_the_others(repo: Path, made: list[Dataset]) -> None:
    first = dataset.publish(made[0], "one", repo)
    dataset.publish(made[1], "one", repo)
    dataset.publish(made[1], "two", repo)
    pointer = versions.restore("one", first.md5, repo)
    assert (repo / "data.dvc").read_text() == pointer.text
    assert snapshot(repo / "data/one") == snapshot(made[0].path)
    assert snapshot(repo / "data/two") == snapshot(made[1].path)
    dataset.verify(repo)
    with pytest.raises(UserError, match=r"version 0{12} is nowhere whole, neither in the DVC cache nor in the remote"):
        versions.restore("one", "0" * 32 + ".dir", repo)
    with pytest.raises(UserError, match="holds no data/two"):
        versions.restore("two", first.md5, repo)


def test_a_remote_that_takes_nothing_leaves_the_last_version(repo: Path, made: list[Dataset]) -> None:
    pointer = dataset.publish(made[0], "one", repo)
    shutil.move(repo / ".seqline/dvc", repo / "kept")
    (repo / ".seqline/dvc").write_text("a file where the remote's folder should be")
    with pytest.raises(Transient, match="data/one: could not be stored: ") as raised:
        dataset.publish(made[1], "one", repo)
    assert str(repo) not in str(raised.value)
    assert (repo / "data.dvc").read_text() == pointer.text
    assert snapshot(repo / "data/one") == snapshot(made[0].path)
    (repo / ".seqline/dvc").unlink()
    shutil.move(repo / "kept", repo / ".seqline/dvc")
    assert dataset.publish(made[1], "one", repo) != pointer
    dataset.verify(repo)


def test_a_broken_pointer_is_named(repo: Path, made: list[Dataset]) -> None:
    (repo / "data.dvc").write_text("<<<<<<< HEAD\n")
    with pytest.raises(SeqlineError, match=r"data\.dvc: holds no md5"):
        dataset.publish(made[0], "one", repo)


def test_no_remote_is_the_users_mistake(repo: Path, made: list[Dataset]) -> None:
    (repo / ".dvc/config").write_text("[core]\n    analytics = false\n")
    with pytest.raises(UserError, match=r"\.dvc/config: no default remote"):
        dataset.publish(made[0], "one", repo)
    assert git(repo, "status", "--porcelain", "data.dvc") == ""


# ---- killed


def whole(repo: Path, allowed: dict[str, Dataset]) -> None:
    """data.dvc names one of the versions, every byte of which is in cache and remote; data/one is one of the two."""
    pointer = versions.read_pointer(repo)
    assert pointer
    assert pointer.md5 in allowed
    for objects in (Objects(repo / ".dvc/cache"), Objects(repo / ".seqline/dvc")):
        tree = objects.tree(pointer.md5)
        assert tree
        assert all(objects.sound(md5) for md5 in tree.values())
    assert artifact.verify(repo / "data/one") in {made.sha256 for made in allowed.values()}


def test_killed_anywhere_leaves_the_old_version_or_the_new(repo: Path, made: list[Dataset]) -> None:
    allowed = {dataset.publish(each, "one", repo).md5: each for each in (made[1], made[0])}
    draw = random.Random(1)
    for turn in range(12):
        done = subprocess.Popen(
            [sys.executable, "-m", "tests.dataset.publishing", str(repo), *(str(each.path) for each in made)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert done.stdout
        for _ in range(draw.randrange(1, 4)):
            done.stdout.readline()  # a version went through
        deadline = time.perf_counter() + draw.random() * 0.02
        while time.perf_counter() < deadline:
            pass
        done.send_signal(signal.SIGKILL)
        done.communicate()
        whole(repo, allowed)
        if turn % 4 == 3:
            shutil.rmtree(repo / ".dvc/cache")  # the next run writes all objects anew
    dataset.publish(made[1], "one", repo)
    versions.check(made[1], "one", repo)
    assert not list((repo / ".dvc/tmp").glob("seqline-*"))
