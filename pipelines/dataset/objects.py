"""DVC's store by content: the name of an object is the md5 of its bytes. It is checked whenever an object is used.

DVC itself trusts a read-only object in its cache, whatever its bytes; so nothing is taken from the cache but through here.
The layout (files/md5/ab/cdef...) and the list of a folder's files (an object of its own, named MD5.dir) are DVC's, for `dvc
pull`, `dvc gc` and the rest to work beside us.
"""

import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.artifact import Corrupt

Tree = Mapping[str, str]
"""{path in data/: md5} of every file of a version."""
Content = Path | bytes
OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")


def md5_of(content: Content) -> str:
    if isinstance(content, bytes):
        return hashlib.md5(content, usedforsecurity=False).hexdigest()
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def size_of(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def listing(tree: Tree) -> bytes:
    """The object by which DVC remembers a folder: the JSON list of its files' md5, in the order of their paths."""
    return json.dumps([{"md5": md5, "relpath": path} for path, md5 in sorted(tree.items())], sort_keys=True).encode()


def tree_md5(tree: Tree) -> str:
    return md5_of(listing(tree)) + ".dir"


def read_tree(folder: Path) -> dict[str, str]:
    """The files under `folder` as they are now, hashed."""
    return {path.relative_to(folder).as_posix(): md5_of(path) for path in sorted(folder.rglob("*")) if path.is_file()}


class Objects:
    """A folder of objects: the DVC cache, or a remote on this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root / "files/md5"

    def path(self, md5: str) -> Path:
        return self.root / md5[:2] / md5[2:]

    def sound(self, md5: str) -> bool:
        """Whether the object is there with the bytes of its name."""
        path = self.path(md5)
        return path.is_file() and md5_of(path) == md5.removesuffix(".dir")

    def put(self, md5: str, content: Content) -> None:
        """Store `content` as object `md5`: whole or not at all.

        Raises:
            Corrupt: the bytes written are not those of the name (`content` changed meanwhile, or the disk lies).
        """
        target = self.path(md5)
        target.parent.mkdir(parents=True, exist_ok=True)
        building = target.parent / f".{secrets.token_urlsafe(16)}.tmp"  # as DVC's own, so that one sweeper finds both
        try:
            if isinstance(content, bytes):
                building.write_bytes(content)
            else:
                shutil.copyfile(content, building)
            if md5_of(building) != md5.removesuffix(".dir"):
                raise Corrupt(f"object {md5}: the bytes to store are not those of its name")
            building.chmod(0o444)
            building.replace(target)
        finally:
            building.unlink(missing_ok=True)

    def tree(self, md5: str) -> dict[str, str] | None:
        """The files of version `md5`, None if its list is not here or not sound."""
        if not self.sound(md5):
            return None
        return {entry["relpath"]: entry["md5"] for entry in json.loads(self.path(md5).read_bytes())}

    def drop(self, md5: str) -> int:
        """Remove an object; returns its size in bytes, 0 if it was not here."""
        path = self.path(md5)
        if not path.is_file():
            return 0
        size = path.stat().st_size
        path.unlink()
        return size

    def all(self) -> Iterator[str]:
        for path in sorted(self.root.glob("*/*")):
            if OBJECT.fullmatch(path.parent.name + path.name):
                yield path.parent.name + path.name

    def unfinished(self) -> list[Path]:
        """What a killed writer, ours or DVC's, left half written."""
        return [path for path in self.root.glob("*/.*.tmp") if path.is_file()]
