"""A disk that fills up at any write: the source and the last version stay, one clear line, and it works when there is space."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import artifact, dataset
from pipelines.dataset import deletion, versions
from pipelines.dataset.objects import Objects
from pipelines.errors import SeqlineError
from tests.dataset.project import PROJECT, commit, git, identity, make_dataset, make_repo, snapshot

LINE = (
    "data/one: no space left on the disk of data/, the DVC cache or the remote: "
    "free some and run the same command again; the last version is untouched"
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no disk of our own here: {done.stderr.strip()}")


def files_left(disk: Path, count: int) -> None:
    """Let `count` more files be made on the disk, then none: each new file in turn finds it full."""
    used = os.statvfs(disk).f_files - os.statvfs(disk).f_ffree
    mount("-o", f"remount,nr_inodes={used + count}", str(disk))


def standing(repo: Path) -> dict[str, bytes]:
    """What must not change: data.dvc, data/, and the bytes behind them."""
    pointer = versions.read_pointer(repo)
    assert pointer
    found = {"data.dvc": pointer.text.encode(), **snapshot(repo / "data")}
    for objects in (Objects(repo / ".dvc/cache"), Objects(repo / ".seqline/dvc")):
        tree = objects.tree(pointer.md5)
        assert tree
        assert all(objects.sound(md5) for md5 in tree.values())
    return found


@as_root
def test_full_at_every_file_that_is_made(disk: Path, tmp_path: Path) -> None:
    repo = make_repo(disk / "repo")
    first, second = (make_dataset(tmp_path / "work", range(count)) for count in (20, 25))
    dataset.publish(first, "one", repo)
    before = standing(repo)
    failed, said = 0, set()
    while True:
        files_left(disk, failed)
        try:
            dataset.publish(second, "one", repo)
        except SeqlineError as full:
            said.add(str(full))
            assert standing(repo) == before
            assert artifact.verify(second.path) == second.sha256
            failed += 1
        else:
            break
    assert failed > 5
    assert said == {LINE}
    versions.check(second, "one", repo)


@as_root
def test_full_while_records_are_deleted(disk: Path, tmp_path: Path) -> None:
    repo = make_repo(disk / "repo")
    for count in (20, 25):
        dataset.publish(make_dataset(tmp_path / "work", range(count)), "one", repo)
        commit(repo, f"{count}")
    before = standing(repo)
    failed, said = 0, set()
    while True:
        files_left(disk, failed)
        try:
            done = deletion.forget("one", [identity(7)], repo, folders=[], why="asked", on="2026-01-02")
        except SeqlineError as full:
            said.add(str(full))
            assert standing(repo) == before
            failed += 1
        else:
            break
    assert failed > 5
    assert said == {LINE}
    assert len(done.rows) == 2
    versions.verify(repo)


@as_root
def test_too_little_room_is_told_before_anything_is_touched(disk: Path, tmp_path: Path) -> None:
    repo = make_repo(disk / "repo")
    first, second = (make_dataset(tmp_path / "work", range(count)) for count in (20, 25))
    dataset.publish(first, "one", repo)
    before = snapshot(disk)
    (disk / "filler").write_bytes(b"x" * (os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - 100_000))
    with pytest.raises(SeqlineError, match=r"^data: too little room on the disk of .* and the remote: 0\.1 MB"):
        dataset.publish(second, "one", repo)
    (disk / "filler").unlink()
    assert snapshot(disk) == before
    dataset.publish(second, "one", repo)
    versions.check(second, "one", repo)


def test_no_file_may_grow_past_a_limit(tmp_path: Path) -> None:
    """Without root: a process whose files may have so many bytes only fails in the middle of each file larger than that."""
    repo = make_repo(tmp_path / "repo")
    first, second = (make_dataset(tmp_path / "work", range(count)) for count in (20, 25))
    dataset.publish(first, "one", repo)
    git(repo, "add", "-A")
    before = standing(repo)
    sizes = sorted({path.stat().st_size for path in second.path.iterdir()})
    for limit in (size - 1 for size in sizes):
        code = (
            "import sys; from pathlib import Path; from pipelines import artifact, dataset\n"
            "try: dataset.publish(artifact.existing(artifact.Dataset, Path(sys.argv[1])), 'one', Path(sys.argv[2]))\n"
            "except Exception as error: sys.exit(str(error))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(second.path), str(repo)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        assert done.stderr == f"{LINE}\n"
        assert standing(repo) == before
    dataset.publish(second, "one", repo)
    versions.check(second, "one", repo)
