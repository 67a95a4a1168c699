"""A small project for the tests of its data: a git repository with this project's DVC configuration, and datasets for it."""

import json
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import artifact
from pipelines.artifact import Dataset

PROJECT = Path(__file__).parents[2]
SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "source", "target")])


def make_repo(folder: Path) -> Path:
    (folder / ".dvc").mkdir(parents=True)
    for name in (".dvc/config", ".dvc/.gitignore", ".gitignore", ".dvcignore"):
        shutil.copy(PROJECT / name, folder / name)
    git(folder, "init", "-q", "-b", "main")
    return folder


def git(repo: Path, *arguments: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    return subprocess.run(["git", *who, *arguments], cwd=repo, check=True, capture_output=True, text=True).stdout


def commit(repo: Path, message: str) -> str:
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", message)
    return git(repo, "rev-parse", "HEAD").strip()


def identity(number: int) -> str:
    return f"{number:016x}"


def make_dataset(folder: Path, numbers: range, words: str = "text") -> Dataset:
    """Rows `numbers`: the first two are the test split, the next two validation."""

    def write(path: Path) -> None:
        rows = [{"id": identity(n), "source": f"{words} {n} " * 20, "target": f"{words} {n}"} for n in numbers]
        splits = {"test": rows[:2], "validation": rows[2:4], "train": rows[4:]}
        for name, chosen in splits.items():
            pq.write_table(pa.Table.from_pylist(chosen, SCHEMA), path / f"{name}.parquet", compression="zstd")
        counts = {name: len(chosen) for name, chosen in splits.items()}
        facts = {"rows": len(rows) + 3, "kept": len(rows), "rejected": {"duplicate": 3}, "splits": counts}
        (path / "dataset.json").write_text(json.dumps(facts))

    key = artifact.digest(words, numbers.start, numbers.stop)[:16]
    return artifact.make(Dataset, folder / f"dataset-{key}", write)


def pull(repo: Path) -> None:
    """By DVC itself: what we store is DVC's."""
    from dvc.repo import Repo

    with Repo(str(repo)) as dvc:
        dvc.pull(targets=[str(repo / "data.dvc")])


def status(repo: Path) -> object:
    from dvc.repo import Repo

    with Repo(str(repo)) as dvc:
        return dvc.status(), dvc.status(cloud=True)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def forget_local(repo: Path) -> None:
    """What a fresh clone lacks."""
    shutil.rmtree(repo / "data")
    shutil.rmtree(repo / ".dvc/cache")


def damage(path: Path, at: int | None = None) -> None:
    """Flip one bit, and leave size, mode and times as they were."""
    import os

    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at % len(content)] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode & 0o777)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def biggest(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
