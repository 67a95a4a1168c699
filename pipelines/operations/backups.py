"""Backups of what seqline remembers and cannot make again: the databases, the versions' files, the data's, the keys.

FOLDER/2026-11-22T19-30-00Z/{rollout.db, mlflow.db, mlartifacts/, dvc/, labels/, run/, manifest.json}

Databases are copied by SQLite's own online backup, so that a running gateway or controller is not noticed. A file that the
backup before has with the same bytes becomes a hard link to it. The manifest, with every file's sha256, is written last, and
the folder gets its name then: one that has it is whole. What else a workspace holds (work/, live/, prefect/) is made anew.
"""

import hashlib
import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import UserError
from pipelines.registry import erasing

DATABASES = ("rollout.db", "mlflow.db")
TREES = ("mlartifacts", "dvc", "labels")
KEYS = re.compile(r"\.(key|pub)$")
MANIFEST = "manifest.json"
STAMP = "%Y-%m-%dT%H-%M-%SZ"
NAMED = re.compile(r"^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ$")
COMPANIONS = ("", "-wal", "-shm")


@dataclass(frozen=True)
class Backup:
    """A whole backup; `at` is in seconds since the epoch, `size` in bytes (what it shares with others counts in each)."""

    path: Path
    at: float
    files: int
    size: int


def found(folder: Path) -> list[Backup]:
    """The whole backups in `folder`, the newest first."""
    there = [path for path in folder.glob("*") if NAMED.match(path.name) and (path / MANIFEST).is_file()]
    return sorted((_backup(path) for path in there), key=lambda backup: backup.at, reverse=True)


def make(workspace: Path, folder: Path, now: float, keep: int) -> Backup:
    """A backup of `workspace` in `folder`; of those there the `keep` newest stay. No sample is deleted meanwhile.

    Raises:
        UserError: one was made in this very second, or there is nothing to keep. Transient: others have been deleting for long.
    """
    with erasing.alone(workspace):
        return _made(workspace, folder, now, keep)


def _made(workspace: Path, folder: Path, now: float, keep: int) -> Backup:
    name = time.strftime(STAMP, time.gmtime(now))
    path, building = folder / name, folder / f".{name}.new"
    if path.exists():
        raise UserError(f"{path}: there already: wait a second")
    if not any((workspace / database).is_file() for database in DATABASES):
        raise UserError(f"{workspace}: holds neither {' nor '.join(DATABASES)}: there is nothing to back up yet")
    before = next(iter(found(folder)), None)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*.new"):
        shutil.rmtree(left)  # of one that was killed
    building.mkdir(mode=0o700)
    for database in DATABASES:
        if (workspace / database).is_file():
            _copy_database(workspace / database, building / database)
    for source in _files(workspace):
        within = source.relative_to(workspace)
        _keep(source, building / within, before.path / within if before else None)
    sums = {str(each.relative_to(building)): _sha256(each) for each in _below(building)}
    (building / MANIFEST).write_text(json.dumps({"at": now, "files": sums}, indent=1))
    building.rename(path)
    for old in found(folder)[keep:]:
        shutil.rmtree(old.path)
    return _backup(path)


def restore(backup: Path, workspace: Path, now: float) -> list[str]:
    """Bring `workspace` back to what `backup` holds; return what was put back. What was there is kept beside as NAME.broken-...

    Files that came after the backup stay; nothing may be running. What was forgotten since is deleted again by the next sweep
    of samples: the workspace remembers that (registry/forgotten.py), a backup does not.

    Raises:
        UserError: it is no backup, or a byte of it changed: nothing was touched. Transient: others have been deleting for long.
    """
    with erasing.alone(workspace):
        return _restored(backup, workspace, now)


def _restored(backup: Path, workspace: Path, now: float) -> list[str]:
    sums = _manifest(backup)["files"]
    for name, wanted in sums.items():
        if not (backup / name).is_file() or _sha256(backup / name) != wanted:
            raise UserError(f"{backup / name}: is missing or has changed since the backup: take another one")
    stamp, put = time.strftime(STAMP, time.gmtime(now)), []
    for name, wanted in sums.items():
        target = workspace / name
        if name not in DATABASES and target.is_file() and _sha256(target) == wanted:
            continue
        if name in DATABASES:
            _aside(target, stamp)
        elif target.is_file():
            target.replace(target.with_name(f"{target.name}.broken-{stamp}"))
        _place(backup / name, target)
        put.append(name)
    return put


def complaints(database: Path) -> str:
    """What SQLite says against a database, "" for nothing; no process is disturbed."""
    if not database.is_file():
        return "is missing"
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=20)) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if said == "ok" else str(said)


def _backup(path: Path) -> Backup:
    told = _manifest(path)
    size = sum((path / name).stat().st_size for name in told["files"] if (path / name).is_file())
    return Backup(path, float(told["at"]), len(told["files"]), size)


def _manifest(path: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError):
        raise UserError(f"{path}: is no backup: it has no {MANIFEST} that can be read") from None
    return told


def _copy_database(source: Path, target: Path) -> None:
    """Raises UserError: the database is broken."""
    try:
        with (
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=60)) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without companions
    except sqlite3.DatabaseError as error:
        raise UserError(f"{source.name}: {error}: nothing was backed up: `seqline restore` brings the last backup") from None
    target.chmod(0o600)


def _files(workspace: Path) -> Iterator[Path]:
    for tree in TREES:
        yield from _below(workspace / tree)
    yield from (path for path in sorted((workspace / "run").glob("*")) if KEYS.search(path.name))


def _below(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _keep(source: Path, target: Path, before: Path | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if before and before.is_file() and before.stat().st_size == source.stat().st_size and _sha256(before) == _sha256(source):
        os.link(before, target)
    else:
        shutil.copy2(source, target)


def _aside(database: Path, stamp: str) -> None:
    """A database and its companions, out of the way: a log of another file's would be played into the new one."""
    for companion in COMPANIONS:
        path = database.with_name(database.name + companion)
        if path.exists():
            path.replace(path.with_name(f"{database.name}.broken-{stamp}{companion}"))


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.restored")
    shutil.copy2(source, fresh)
    fresh.replace(target)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
