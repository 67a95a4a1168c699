"""One process at a time changes the data of a project; what dead processes left in the way blocks nobody."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from pipelines import artifact, dataset
from pipelines.artifact import Dataset
from pipelines.dataset import locking, versions
from pipelines.errors import Transient
from tests.dataset.project import forget_local, make_dataset, make_repo, pull

# DVC's own use of pygtrie
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path / "repo")


@pytest.fixture
def made(tmp_path: Path) -> list[Dataset]:
    return [make_dataset(tmp_path / "work", range(count)) for count in (20, 25)]


def test_two_at_once_one_waits_and_says_for_whom(repo: Path, made: list[Dataset], capfd: pytest.CaptureFixture[str]) -> None:
    with locking.alone(repo, "publishing two"):
        second = threading.Thread(target=lambda: dataset.publish(made[0], "one", repo))
        second.start()
        said = ""
        while f"data: waits for process {os.getpid()} (publishing two; started " not in said:
            said += capfd.readouterr().err
        assert not (repo / "data.dvc").exists()
    second.join()
    versions.check(made[0], "one", repo)


def hold(repo: Path) -> None:
    with locking.alone(repo, "publishing one", patience=0.05):
        pass


def test_a_lock_held_too_long_is_worth_another_try(repo: Path) -> None:
    with locking.alone(repo, "publishing two"), pytest.raises(Transient, match=r"publishing two.* still at work"):
        hold(repo)


def test_a_dvc_command_waits_for_us(repo: Path, made: list[Dataset]) -> None:
    from dvc.lock import LockError
    from dvc.repo import Repo

    dataset.publish(made[0], "one", repo)
    with locking.alone(repo, "publishing two"), Repo(str(repo)) as dvc, pytest.raises(LockError):
        dvc.lock.lock()
    with Repo(str(repo)) as dvc, dvc.lock, pytest.raises(Transient, match="a `dvc` command is at work"):
        hold(repo)


@pytest.mark.parametrize("left", ["a reused pid", "a pid that is gone", "half a file"])
def test_what_dead_processes_left_in_dvcs_locks_blocks_nobody(repo: Path, made: list[Dataset], left: str) -> None:
    dataset.publish(made[0], "one", repo)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    info = {"pid": os.getppid() if left == "a reused pid" else ended.pid, "cmd": "dvc pull"}
    path = repo / ".dvc/tmp/rwlock"
    entries = json.dumps({"write": {str(repo / "data"): info}, "read": {str(repo / "data"): [info]}})
    path.write_text(entries[:20] if left == "half a file" else entries)
    before = psutil.Process(os.getppid()).create_time() - 60  # the entry is older than the process that has its pid now
    os.utime(path, (before, before))
    (repo / ".dvc/tmp/seqline.holder").write_text(json.dumps({"pid": 1, "started": 1.0, "boot": "x", "work": "y"}))
    dataset.publish(made[1], "one", repo)
    assert json.loads(path.read_text()) == {} or json.loads(path.read_text()) == {"write": {}, "read": {}}
    forget_local(repo)
    pull(repo)
    assert artifact.verify(repo / "data/one") == made[1].sha256


def test_a_living_processs_entry_stays(repo: Path) -> None:
    (repo / ".dvc/tmp").mkdir()
    entries = {"write": {"x": {"pid": os.getpid(), "cmd": "dvc add"}}, "read": {}}
    (repo / ".dvc/tmp/rwlock").write_text(json.dumps(entries))
    with locking.alone(repo, "publishing one"):
        assert json.loads((repo / ".dvc/tmp/rwlock").read_text()) == entries
