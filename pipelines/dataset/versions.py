"""Versions of data/: published, checked, brought back. Stored as DVC stores them, in its cache and its remote."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines import artifact
from pipelines.artifact import Corrupt, Dataset
from pipelines.dataset import remotes
from pipelines.dataset.locking import alone
from pipelines.dataset.objects import Content, md5_of
from pipelines.dataset.splits import Pair, read_pairs
from pipelines.dataset.store import DELETIONS, Pointer, Store, plainly, read_pointer
from pipelines.errors import SeqlineError, UserError

__all__ = ["Pointer", "belongs", "check", "deletions", "forgotten", "learnt", "publish", "restore", "rewritten", "verify"]

FACTS = "dataset.json"


def publish(dataset: Dataset, name: str, repo: Path, facts: Mapping[str, Any] | None = None) -> Pointer:
    """Make `repo`/data/NAME the dataset, store data/ in the DVC cache and the remote of .dvc/config; returns data.dvc.

    Other models' folders in data/ stay as data.dvc has them; what this checkout lacks of them is fetched. What is damaged in
    data/, the cache or a remote on this machine is made anew. What is published already costs a hash of all three.

    Args:
        facts: what else should be known of this version (source checksums, policy hash, audit figures): goes into
            data/NAME.json beside the dataset's own counts. Without times, or every run makes a new version.

    Raises:
        Transient: another run holds the data for ten minutes, or the remote does not answer.
        SeqlineError: no disk space, another model's data is damaged everywhere.
    """
    with plainly(name), alone(repo, f"publishing {name}"):
        artifact.verify(dataset.path, dataset.sha256)
        store = Store(repo)
        pointer, before = _current(store)
        contents: dict[str, Content] = {
            f"{name}/{path.relative_to(dataset.path).as_posix()}": path
            for path in sorted(dataset.path.rglob("*"))
            if path.is_file()
        }
        counts = json.loads((dataset.path / FACTS).read_text())
        told = {"dataset": dataset.sha256, "counts": counts, "facts": dict(facts or {})}
        contents[f"{name}.json"] = (json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
        kept = {path: md5 for path, md5 in before.items() if not belongs(path, name)}
        return store.install(kept | {path: md5_of(content) for path, content in contents.items()}, contents, pointer)


def check(dataset: Dataset, name: str, repo: Path) -> None:
    """Re-hash all that a training will read or rest on: the sealed dataset, data/, the cache, a remote on this machine.

    Raises:
        Corrupt: naming the first file whose bytes are not those that were published.
    """
    artifact.verify(dataset.path, dataset.sha256)
    verify(repo)
    pointer = read_pointer(repo)
    tree = remotes.cache_of(repo).tree(pointer.md5) if pointer else None
    for path in sorted(dataset.path.rglob("*")):
        if path.is_file() and (tree or {}).get(f"{name}/{path.relative_to(dataset.path).as_posix()}") != md5_of(path):
            raise Corrupt(f"data/{name}/{path.name}: is not the file that {dataset.path.name} holds: run the retrain again")


def verify(repo: Path) -> None:
    """Hash every file of data.dvc's version: in data/, in the DVC cache and, if it lies on this machine, in the remote.

    Raises:
        Corrupt: naming the first whose bytes are gone or changed.
    """
    pointer = read_pointer(repo)
    if pointer is None:
        raise Corrupt("data.dvc: missing")
    store = Store(repo)
    tree = store.cache.tree(pointer.md5)
    if tree is None:
        raise Corrupt(f"data/: the list of its files in the DVC cache ({pointer.md5}) is missing or changed")
    for path, md5 in tree.items():
        if not store.cache.sound(md5):
            raise Corrupt(f"data/{path}: its object in the DVC cache ({md5}) is missing or changed")
    for path in store.in_line(tree):
        raise Corrupt(f"data/{path}: is not what data.dvc names: missing, changed or unknown")
    if isinstance(store.remote, remotes.Here):
        for path, md5 in {"": pointer.md5, **tree}.items():
            if not store.remote.objects.sound(md5):
                raise Corrupt(f"data/{path}: its object in the remote ({md5}) is missing or changed")


def restore(name: str, md5: str, repo: Path) -> Pointer:
    """Bring data/NAME back as version `md5` of data/ had it, every byte checked; other models' data and deletions stay.

    A version that was rewritten because records were deleted comes back as rewritten.

    Raises:
        UserError: that version is nowhere, or holds no data/NAME. Corrupt: a file of it is damaged everywhere.
    """
    with plainly(name), alone(repo, f"restoring {name}"):
        store = Store(repo)
        pointer, before = _current(store)
        md5 = rewritten(deletions(store, before), md5)
        old = store.tree(md5)
        own = {path: own_md5 for path, own_md5 in (old or {}).items() if belongs(path, name)}
        if not own:
            why = f"holds no data/{name}" if old else "is nowhere whole, neither in the DVC cache nor in the remote"
            raise UserError(f"{name}: version {md5[:12]} {why}: `seqline data log {name}` lists what there is")
        kept = {path: kept_md5 for path, kept_md5 in before.items() if not belongs(path, name)}
        return store.install(kept | own, {}, pointer)


def belongs(path: str, name: str) -> bool:
    """Whether a file of data/ is of model `name`: data/NAME/ or data/NAME.json."""
    return path.startswith(f"{name}/") or path == f"{name}.json"


def forgotten(repo: Path, name: str) -> frozenset[str]:
    """The record ids that were deleted from `name` (`deletion.forget`) and must not come in again.

    Raises:
        SeqlineError: data.dvc says that there are some, but their list is out of reach.
    """
    pointer = read_pointer(repo)
    if pointer is None or "\n  forgotten: " not in pointer.text:
        return frozenset()
    with plainly(name):
        store = Store(repo)
        tree = store.tree(pointer.md5)
        if tree is None:
            raise SeqlineError("data.dvc: records were deleted, but the list of them is not in reach: `dvc fetch` brings it")
        return frozenset(deletions(store, tree)["forgotten"].get(name, {}))


def learnt(repo: Path, name: str, md5: str) -> tuple[Pair, ...]:
    """The pairs of data/NAME, all but the test set, as version `md5` of data/ has it: what a model of it has learned from.

    Raises:
        SeqlineError: that version is out of reach.
    """
    with plainly(name), alone(repo, f"reading what {name} learned from"):
        store = Store(repo)
        pointer = read_pointer(repo)
        told = deletions(store, (store.tree(pointer.md5) if pointer else None) or {})
        tree = store.tree(rewritten(told, md5))
        if tree is None:
            raise SeqlineError(
                f"{name}: version {md5[:12]} of its data is nowhere, so what was learned from it is not known: bring it "
                "back (`dvc fetch`), or let nothing new join the test set (data.splits.fresh: 0)"
            )
        files = {path: own for path, own in tree.items() if path in {f"{name}/train.parquet", f"{name}/validation.parquet"}}
        store.bring(files)
        return tuple(pair for own in files.values() for pair in read_pairs(store.cache.path(own)))


def deletions(store: Store, tree: Mapping[str, str]) -> dict[str, Any]:
    """{"forgotten": {model: {id: {"why", "on"}}}, "rewritten": {md5 of a version: md5 of what it became}}."""
    found: dict[str, Any] = json.loads(store.read(tree, DELETIONS) or "{}")
    return {"forgotten": found.get("forgotten", {}), "rewritten": found.get("rewritten", {})}


def rewritten(told: Mapping[str, Any], md5: str) -> str:
    """What version `md5` is called now."""
    while md5 in told["rewritten"]:
        md5 = told["rewritten"][md5]
    return md5


def _current(store: Store) -> tuple[Pointer | None, dict[str, str]]:
    """data.dvc and the files that it names, all in reach; none, said aloud, where the remote never had them."""
    from rich.console import Console

    pointer = read_pointer(store.repo)
    tree = store.tree(pointer.md5) if pointer else {}
    if pointer and tree is None:
        if "\n  forgotten: " in pointer.text:
            raise SeqlineError("data.dvc: records were deleted, but the list of them is not in reach: `dvc fetch` brings it")
        line = (
            "data: the remote does not hold the version that data.dvc names (a fresh clone's local remote is empty): "
            "the new one starts without other models' folders"
        )
        Console(stderr=True, soft_wrap=True).print(line, markup=False)
    return pointer, tree or {}
