"""A project's data: data/ as it lies there, data.dvc that names its version, the cache and the remote that hold the bytes.

data.dvc is the point of commit. Before it is replaced (one rename), every byte of the new version is in the cache, in the
remote and beside data/, checked; after it, only renames are left. A run killed anywhere leaves the old version or the new one,
and the next run puts data/ in line with data.dvc.
"""

import contextlib
import ctypes
import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.artifact import Corrupt
from pipelines.dataset import remotes
from pipelines.dataset.objects import Content, Tree, listing, md5_of, size_of, tree_md5
from pipelines.errors import SeqlineError, Transient

SPARE = 1 << 20  # bytes that must stay free
DELETIONS = "_deletions.json"  # no model's name starts so
NEW, OLD = ".new", ".old"


@dataclass(frozen=True)
class Pointer:
    """data.dvc: the md5 of the whole of data/ (every model's folder), and the file's text."""

    md5: str
    text: str


def read_pointer(repo: Path) -> Pointer | None:
    path = repo / "data.dvc"
    return parse(path.read_text()) if path.is_file() else None


def parse(text: str) -> Pointer:
    found = re.search(r"^- md5: ([0-9a-f]{32}\.dir)$", text, re.MULTILINE)
    if not found:
        raise SeqlineError("data.dvc: holds no md5: restore it from git, or remove it to start anew")
    return Pointer(found[1], text)


class Store:
    """What only its holder may change: make one inside `locking.alone`."""

    def __init__(self, repo: Path) -> None:
        self.repo = repo
        self.data = repo / "data"
        self.scratch = repo / ".dvc/tmp"
        self.cache = remotes.cache_of(repo)
        self.remote = remotes.remote_of(repo)

    def tree(self, md5: str) -> dict[str, str] | None:
        """The files of version `md5`; its list is fetched if it is not here. None: it is nowhere."""
        if not self.cache.sound(md5):
            self.cache.drop(md5)
            self.remote.bring([md5], self.cache)
        return self.cache.tree(md5)

    def bring(self, tree: Tree) -> None:
        """Have every object of `tree` in the cache, whole. Raises Corrupt, naming the first file that is nowhere."""
        missing = {md5 for md5 in tree.values() if not self.cache.sound(md5)}
        for path, md5 in tree.items():
            if md5 in missing and (self.data / path).is_file() and md5_of(self.data / path) == md5:
                self.cache.put(md5, self.data / path)
                missing.discard(md5)
        if missing:
            for md5 in missing:
                self.cache.drop(md5)
            self.remote.bring(sorted(missing), self.cache)
        for path, md5 in tree.items():
            if md5 in missing and not self.cache.sound(md5):
                raise Corrupt(f"data/{path}: its object ({md5}) is missing or changed, in the DVC cache and in the remote")

    def read(self, tree: Tree, path: str) -> bytes | None:
        """A file of a version, None if the version has none of that name."""
        if path not in tree:
            return None
        self.bring({path: tree[path]})
        return self.cache.path(tree[path]).read_bytes()

    def install(self, tree: Tree, contents: Mapping[str, Content], before: Pointer | None) -> Pointer:
        """Make `tree` the version: cache, remote, data.dvc and data/. `contents` are the files that may be new, by path."""
        stock: dict[str, Content] = {tree[path]: content for path, content in contents.items()}
        stock[tree_md5(tree)] = listing(tree)
        objects = {*tree.values(), tree_md5(tree)}
        missing = {md5 for md5 in objects if not self.cache.sound(md5)}
        stale = [unit for unit in _units(tree) if not self._in_line(unit, tree)]
        self._check_space(stock, missing, stale, tree)
        for md5 in missing & stock.keys():
            self.cache.put(md5, stock[md5])
        self.bring(tree)
        sizes = {md5: self.cache.path(md5).stat().st_size for md5 in objects}
        self.share(sizes)
        try:
            self.data.mkdir(exist_ok=True)
            staged = [self._stage(unit, tree) for unit in stale]
            pointer = self._switch(tree, sizes, before)
            for unit, fresh in zip(stale, staged, strict=True):
                _replace(fresh, self.data / unit)
        finally:
            self.clear_scratch()
        return pointer

    def share(self, sizes: Mapping[str, int]) -> None:
        lacking = self.remote.lacking(sizes)
        if lacking:
            self.remote.send(sorted(lacking), self.cache)
            if self.remote.lacking({md5: sizes[md5] for md5 in lacking}):
                raise Transient("data.dvc: the remote did not take every file")

    def _check_space(self, stock: Mapping[str, Content], missing: set[str], stale: Iterable[str], tree: Tree) -> None:
        """Raises SeqlineError before anything is touched, when a disk has too little room for what will be written on it."""

        def size(md5: str) -> int:
            if md5 in stock:
                return size_of(stock[md5])
            path = self.cache.path(md5)
            return path.stat().st_size if path.is_file() else 0

        needs = [(self.cache.root, "the DVC cache", sum(map(size, missing)))]
        needs.append((self.scratch, "data/", sum(size(md5) for path, md5 in tree.items() if path.split("/")[0] in stale)))
        if self.remote.folder:
            absent = [md5 for md5 in {*tree.values(), *missing} if size(md5) and not _lies(self.remote, md5)]
            needs.append((self.remote.folder, "the remote", sum(map(size, absent))))
        disks: dict[int, tuple[Path, list[str], int]] = {}
        for folder, what, bytes_ in needs:
            there = next(path for path in (folder, *folder.parents) if path.exists())
            _, names, total = disks.get(there.stat().st_dev, (there, [], 0))
            disks[there.stat().st_dev] = (there, [*names, what] if bytes_ else names, total + bytes_)
        for there, names, total in disks.values():
            free = shutil.disk_usage(there).free
            if total and free < total + SPARE:
                raise SeqlineError(
                    f"data: too little room on the disk of {' and '.join(names)}: {free / 1e6:,.1f} MB free, "
                    f"{(total + SPARE) / 1e6:,.1f} needed; nothing was changed"
                )

    def in_line(self, tree: Tree) -> Iterator[str]:
        """The files of data/ that are not as `tree` says: missing, changed, or unknown in a model's folder."""
        for unit in _units(tree):
            here = self._lying(unit)
            expected = {path: md5 for path, md5 in tree.items() if path.split("/")[0] == unit}
            for path in sorted(here.keys() | expected.keys()):
                if path not in expected or path not in here or md5_of(here[path]) != expected[path]:
                    yield path

    def _in_line(self, unit: str, tree: Tree) -> bool:
        own = {path: md5 for path, md5 in tree.items() if path.split("/")[0] == unit}
        return next(self.in_line(own), None) is None

    def _lying(self, unit: str) -> dict[str, Path]:
        root = self.data / unit
        files = [root] if root.is_file() else [path for path in root.rglob("*") if path.is_file()]
        return {path.relative_to(self.data).as_posix(): path for path in files}

    def _stage(self, unit: str, tree: Tree) -> Path:
        """A checked copy of a unit (a model's folder, or a file of data/) beside data/."""
        fresh = self.scratch / f"seqline-{unit}{NEW}"
        for path, md5 in tree.items():
            if path.split("/")[0] == unit:
                target = fresh / path.partition("/")[2] if "/" in path else fresh
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.cache.path(md5), target)
                if md5_of(target) != md5:
                    raise Corrupt(f"data/{path}: its copy does not have the bytes that were stored")
        return fresh

    def _switch(self, tree: Tree, sizes: Mapping[str, int], before: Pointer | None) -> Pointer:
        deletions = json.loads(self.read(tree, DELETIONS) or "{}")
        forgotten = sum(map(len, deletions.get("forgotten", {}).values()))
        text = _text(tree_md5(tree), sum(sizes[md5] for md5 in tree.values()), len(tree), forgotten)
        if before is None or before.text != text:
            fresh = self.scratch / f"seqline-data.dvc{NEW}"
            with fresh.open("w") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(self.repo / "data.dvc")
        return Pointer(tree_md5(tree), text)

    def clear_scratch(self) -> tuple[int, int]:
        """Remove what a switch left in .dvc/tmp; returns how many, and their bytes."""
        left = [path for path in self.scratch.glob("seqline-*") if path.suffix in (NEW, OLD)]
        size = sum(file.stat().st_size for path in left for file in (path, *path.rglob("*")) if file.is_file())
        for path in left:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return len(left), size


def _lies(remote: remotes.Remote, md5: str) -> bool:
    return isinstance(remote, remotes.Here) and remote.objects.path(md5).is_file()


def _units(tree: Tree) -> list[str]:
    return sorted({path.split("/")[0] for path in tree})


def _text(md5: str, size: int, files: int, forgotten: int) -> str:
    """data.dvc as DVC writes it; `meta` is DVC's place for what is one's own."""
    told = f"meta:\n  forgotten: {forgotten}\n" if forgotten else ""
    return f"outs:\n- md5: {md5}\n  size: {size}\n  nfiles: {files}\n  hash: md5\n  path: data\n{told}"


def _replace(fresh: Path, target: Path) -> None:
    """Put `fresh` in the place of `target`: whoever looks sees the old one or the new one."""
    if not target.is_dir():
        fresh.replace(target)
        return
    if not _exchange(fresh, target):
        target.replace(fresh.with_suffix(OLD))
        fresh.replace(target)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step (Linux's renameat2 with RENAME_EXCHANGE); False where the system cannot."""
    swap = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2
    return swap is not None and swap(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


@contextlib.contextmanager
def plainly(name: str) -> Iterator[None]:
    """The system's errors as one line of ours, without this machine's paths."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise SeqlineError(
                f"data/{name}: no space left on the disk of data/, the DVC cache or the remote: free some and run the same "
                "command again; the last version is untouched"
            ) from None
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise Transient(f"data/{name}: could not be stored: {reason}") from None
