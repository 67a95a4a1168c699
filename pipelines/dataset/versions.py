"""Versions of data/: stored, checked and shared by DVC."""

import contextlib
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.artifact import MANIFEST, Corrupt, Dataset, file_sha256
from pipelines.errors import SeqlineError, Transient

SPARE = 1 << 20  # bytes: with less left than the data and this, a failure to store counts as a full disk
PATIENCE = 600.0  # seconds that a run waits for another one's publishing


@dataclass(frozen=True)
class Pointer:
    """data.dvc: the md5 of the whole of data/ (every model's folder), and the file's text."""

    md5: str
    text: str


def publish(dataset: Dataset, name: str, repo: Path) -> Pointer:
    """Make `repo`/data/NAME the dataset, `dvc add` data/ and push it to the remote of .dvc/config; returns data.dvc.

    Other models' folders in data/ stay; those that data.dvc lists but the checkout lacks are fetched first. One run at a time
    (a lock). What is published already costs a hash of data/ and no DVC.

    Raises:
        Transient: another run holds the lock, or the remote does not answer. SeqlineError: no disk space, a damaged cache.
    """
    from filelock import FileLock, Timeout

    (repo / ".dvc/tmp").mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(repo / ".dvc/tmp/seqline.lock", timeout=PATIENCE):
            pointer = _pointer(repo)
            if (
                pointer
                and _holds(repo, name, dataset)
                and _tree_md5(repo / "data") == pointer.md5
                and _pushed(repo, pointer.md5)
            ):
                return pointer
            with _plainly(name, repo):
                return _publish(dataset, name, repo, pointer)
    except Timeout:
        raise Transient("data: another run has been publishing for ten minutes") from None


def _publish(dataset: Dataset, name: str, repo: Path, pointer: Pointer | None) -> Pointer:
    from dvc.repo import Repo

    with Repo(str(repo)) as dvc:
        dvc.scm_context.quiet = True  # its hints about git are for those who run it by hand
        if pointer:
            _bring_others(dvc, repo, name, pointer)
        _swap(dataset.path, repo / "data" / name, repo / ".dvc/tmp")
        # DVC trusts a cache object that is there: a damaged one would be kept, and pushed
        for path in _files(repo / "data"):
            _sound(repo, _md5(path), mend=True)
        try:
            dvc.add([str(repo / "data")])
            # on a full disk `add` only logs, and `push` only warns of what the cache lacks: so both are checked
            verify(repo)
            dvc.push(targets=[str(repo / "data.dvc")])
            made = _pointer(repo)
            if made is None or not _pushed(repo, made.md5, sent=True):
                raise Corrupt("data.dvc: the remote did not take every file")
        except BaseException:
            if pointer:
                (repo / "data.dvc").write_text(pointer.text)
            else:
                (repo / "data.dvc").unlink(missing_ok=True)
            raise
    (repo / ".dvc/tmp/seqline.pushed").write_text(made.md5)
    return made


def verify(repo: Path) -> None:
    """Check every object of data.dvc in the local DVC cache against its md5.

    Raises:
        Corrupt: naming the first file whose cached bytes are gone or changed (`dvc fetch` brings them back).
    """
    pointer = _pointer(repo)
    if pointer is None:
        raise Corrupt("data.dvc: missing")
    if not _sound(repo, pointer.md5):
        raise Corrupt(f"data/: the list of its files in the DVC cache ({pointer.md5}) is missing or changed")
    for path, md5 in _listing(repo, pointer.md5).items():
        if not _sound(repo, md5):
            raise Corrupt(f"data/{path}: its object in the DVC cache ({md5}) is missing or changed")


def _pointer(repo: Path) -> Pointer | None:
    path = repo / "data.dvc"
    if not path.is_file():
        return None
    text = path.read_text()
    found = re.search(r"^- md5: (\S+)$", text, re.MULTILINE)
    if not found:
        raise SeqlineError("data.dvc: holds no md5: restore it from git, or remove it to start anew")
    return Pointer(found[1], text)


def _holds(repo: Path, name: str, dataset: Dataset) -> bool:
    manifest = repo / "data" / name / MANIFEST
    return manifest.is_file() and file_sha256(manifest) == dataset.sha256


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _tree_md5(folder: Path) -> str:
    """The md5 that DVC gives a folder: of the JSON list of its files' md5, in the order of their paths."""
    paths = sorted((path.relative_to(folder).parts, path) for path in _files(folder))
    listing = json.dumps([{"md5": _md5(path), "relpath": "/".join(parts)} for parts, path in paths], sort_keys=True)
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _object(root: Path, md5: str) -> Path:
    return root / "files/md5" / md5[:2] / md5[2:]


def _remote(repo: Path) -> Path | None:
    """The folder of the default remote, when it is one on this machine."""
    config = ConfigParser()
    config.read(repo / ".dvc/config")
    url = config.get(f"'remote \"{config.get('core', 'remote', fallback='')}\"'", "url", fallback="")
    return repo / ".dvc" / url if url and "://" not in url else None


def _pushed(repo: Path, md5: str, *, sent: bool = False) -> bool:
    """Whether the remote has every object of this version; of a distant one, whether the last push of it went through."""
    remote = _remote(repo)
    if remote is None:
        stamp = repo / ".dvc/tmp/seqline.pushed"
        return sent or (stamp.is_file() and stamp.read_text() == md5)
    listing = _object(remote, md5)
    return listing.is_file() and all(_object(remote, entry["md5"]).is_file() for entry in json.loads(listing.read_bytes()))


def _sound(repo: Path, md5: str, *, mend: bool = False) -> bool:
    """Whether the cache object has the bytes of its name; with `mend`, one that has not is removed."""
    path = _object(repo / ".dvc/cache", md5)
    if not path.is_file():
        return False
    if _md5(path) == md5.removesuffix(".dir"):
        return True
    if mend:
        path.unlink()
    return False


def _listing(repo: Path, md5: str) -> dict[str, str]:
    entries = json.loads(_object(repo / ".dvc/cache", md5).read_bytes())
    return {entry["relpath"]: entry["md5"] for entry in entries}


def _bring_others(dvc: Any, repo: Path, name: str, pointer: Pointer) -> None:
    """Bring back the folders of other models that data.dvc lists and this checkout lacks (a fresh clone has none)."""
    from rich.console import Console

    _sound(repo, pointer.md5, mend=True)
    with contextlib.suppress(Exception):  # whatever the remote's library raises; what matters is what has come
        dvc.fetch(targets=[str(repo / "data.dvc")])
    if not _sound(repo, pointer.md5):
        line = (
            "data: the remote does not hold the version that data.dvc names (a fresh clone's local remote is empty): "
            "the new one starts without other models' folders"
        )
        Console(stderr=True, soft_wrap=True).print(line, markup=False)
        return
    there = {path.name for path in (repo / "data").iterdir()} if (repo / "data").is_dir() else set()
    for path, md5 in _listing(repo, pointer.md5).items():
        folder = path.partition("/")[0]
        if folder in there or folder == name:
            continue
        if not _sound(repo, md5):
            raise Corrupt(f"data/{path}: its object in the DVC cache ({md5}) is missing or changed: run `dvc fetch`")
        target = repo / "data" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_object(repo / ".dvc/cache", md5), target)


def _swap(source: Path, target: Path, scratch: Path) -> None:
    """Put a copy of `source` in the place of `target`: whoever looks sees the old folder or the new one, never a mixture."""
    new, old = scratch / f"seqline-{target.name}.new", scratch / f"seqline-{target.name}.old"
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(source, new)
    target.parent.mkdir(exist_ok=True)
    if target.exists():
        target.replace(old)
    new.replace(target)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _plainly(name: str, repo: Path) -> Iterator[None]:
    """DVC's and the system's errors, as ours: one line each, instead of DVC's log with the machine's paths."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    loggers = [logging.getLogger(each) for each in ("dvc", "dvc_data", "dvc_objects")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    except LockError:
        raise Transient("data: another DVC process holds the repository") from None
    except (DvcException, OSError, Corrupt) as error:
        needed = sum(path.stat().st_size for path in _files(repo / "data"))
        places = [folder for folder in (repo / ".dvc/cache", _remote(repo), repo) if folder and folder.is_dir()]
        if any(shutil.disk_usage(folder).free < needed + SPARE for folder in places):
            raise SeqlineError(f"data/{name}: no space left on the disk of data/, the DVC cache or the remote") from None
        if isinstance(error, Corrupt):
            raise
        raise Transient(f"data/{name}: DVC could not store it: {str(error).splitlines()[0]}") from None
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
