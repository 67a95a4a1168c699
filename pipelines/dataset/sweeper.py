"""What killed runs left, and what no version needs any more: found, and removed where that is certain."""

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.dataset import remotes
from pipelines.dataset.history import Use, ever_named, in_use
from pipelines.dataset.locking import alone, clear_dead, gone
from pipelines.dataset.store import Store, plainly

BUILDING = re.compile(r"\..+\.(\d+)")  # .NAME.PID, as artifact.make builds


@dataclass(frozen=True)
class Swept:
    """How many of each kind went, and how many bytes of the disk came back. `kept`: why the orphans stayed, if they did."""

    counts: dict[str, int]
    freed: int
    kept: str = ""


def sweep(repo: Path, workspaces: Iterable[Path] = (), uses: Iterable[Use] = ()) -> Swept:
    """Remove what dead processes left half made, and the cache's objects that no version names.

    A building folder goes only if its process has certainly ended. An object goes only if no DVC file on any branch of git, nor
    a model version in `uses`, names it or its folder. Nothing is taken from a remote but half-written files of one on
    this machine: other clones share it.

    Args:
        workspaces: folders in which artifacts are built (`.seqline/work/NAME`, `.seqline/quarantine/NAME`).

    Raises:
        Transient: another run holds the data.
    """
    counts: Counter[str] = Counter()
    freed = 0
    with plainly("sweep"), alone(repo, "sweeping"):
        for folder in (building for each in workspaces for building in unfinished(each)):
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            shutil.rmtree(folder, ignore_errors=True)
            counts["unfinished artifacts"] += 1
        store = Store(repo)
        left, size = store.clear_scratch()
        counts["unfinished switches"] += left
        freed += size
        halves = store.cache.unfinished()
        if isinstance(store.remote, remotes.Here):
            halves += store.remote.objects.unfinished()
        for path in halves:
            freed += path.stat().st_size
            path.unlink()
        counts["half-written objects"] += len(halves)
        counts["locks of dead processes"] += clear_dead(repo)
        needed, kept = _needed(store, list(uses))
        for md5 in store.cache.all() if not kept else ():
            if md5 not in needed:
                freed += store.cache.drop(md5)
                counts["orphaned objects"] += 1
    return Swept({kind: count for kind, count in counts.items() if count}, freed, kept)


def unfinished(workspace: Path) -> Iterator[Path]:
    """The building folders directly under `workspace` whose process has ended."""
    for path in sorted(workspace.iterdir()) if workspace.is_dir() else ():
        found = BUILDING.fullmatch(path.name)
        # its process was there when the folder was made: one that has the pid now and started later is another
        if found and path.is_dir() and gone(int(found[1]), path.stat().st_mtime):
            yield path


def _needed(store: Store, uses: list[Use]) -> tuple[set[str], str]:
    """The objects that some version names; or why that cannot be told."""
    named = ever_named(store.repo)
    if named is None:
        return set(), "no git repository tells which versions are in use"
    lost = 0
    for md5 in in_use(store, uses):
        tree = store.tree(md5)
        lost += tree is None
        named |= {md5, *(tree or {}).values()}
    return named, f"the file lists of {lost} versions in use are not in reach" if lost else ""
