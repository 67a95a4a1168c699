"""Deletion of records by id: from the data as it is, every older version still in use, and what is kept of their making.

Models that were trained on a record are named, not deleted (nor are the reports in their sealed versions, in MLflow; the table
of pairs beside them is the registry's to clear): whether they must be retrained is a person's decision.
"""

import json
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import artifact
from pipelines.dataset.history import Use, in_use
from pipelines.dataset.locking import alone
from pipelines.dataset.objects import Content, listing, md5_of, tree_md5
from pipelines.dataset.store import DELETIONS, NEW, Pointer, Store, plainly, read_pointer
from pipelines.dataset.versions import FACTS, deletions
from pipelines.errors import UserError

IDENTITY = 16  # hex digits of a record's id


@dataclass(frozen=True)
class Forgotten:
    """What a deletion did. `rows`: {md5 of a version of data/: rows that went}; `rewritten`: {its md5: its md5 now};
    `artifacts`: sealed folders removed whole; `trained`: the model versions that learned from a record; `lost`: versions whose
    files are nowhere in reach."""

    pointer: Pointer
    rows: Mapping[str, int]
    rewritten: Mapping[str, str]
    artifacts: tuple[str, ...]
    trained: tuple[str, ...]
    lost: tuple[str, ...]


def forget(
    name: str, ids: Collection[str], repo: Path, *, folders: Sequence[Path], uses: Iterable[Use] = (), why: str, on: str
) -> Forgotten:
    """Delete records from everything that `name` keeps of them; killed anywhere, it can be run again.

    1. data/NAME of the current version and of every older one still in use (named by data.dvc on any branch of git, or by a
       model version) is written anew without them; data/_deletions.json says what became what, and which ids must not come
       in again (`versions.forgotten`).
    2. The old objects are purged from the cache and the remote.
    3. Sealed artifacts that hold one (raw, clean, dataset, report, ...) are removed whole; they are made anew when needed.

    Args:
        folders: where the artifacts of `name` lie (its quarantine, its work folder).
        why, on: the reason and the date (ISO 8601), kept with the ids.

    Raises:
        UserError: an id is not one. Transient: another run holds the data, or the remote does not answer.
    """
    for each in ids:
        if len(each) != IDENTITY or set(each) - set("0123456789abcdef"):
            raise UserError(
                f"{each[:40]!r}: a record id has {IDENTITY} hexadecimal digits (column `id` of data/{name}/*.parquet)"
            )
    uses = list(uses)
    with plainly(name), alone(repo, f"deleting records of {name}"):
        store = Store(repo)
        before = read_pointer(repo)
        tree = (store.tree(before.md5) if before else None) or {}
        told = deletions(store, tree)
        used = {md5: store.tree(md5) for md5 in in_use(store, uses)}
        rows: dict[str, int] = {}
        for number, (md5, old) in enumerate((md5, old) for md5, old in used.items() if old):
            written, rows[md5], contents = _without(store, name, ids, old, store.scratch / f"seqline-forget-{number}{NEW}")
            if rows[md5]:
                _keep(store, written, contents)
                told["rewritten"][md5] = tree_md5(written)
                tree = written if before and md5 == before.md5 else tree
        own = told["forgotten"].setdefault(name, {})
        for each in ids:
            own.setdefault(each, {"why": why, "on": on})
        text = (json.dumps(told, indent=1, sort_keys=True) + "\n").encode()
        pointer = store.install({**tree, DELETIONS: md5_of(text)}, {DELETIONS: text}, before)
        _purge(store, told["rewritten"], uses)
        removed = [path for folder in folders for path in _holding(folder, ids)]
        for path in removed:
            shutil.rmtree(path)
        held = {md5 for md5, count in rows.items() if count}
        return Forgotten(
            pointer,
            {md5: count for md5, count in rows.items() if count},
            {md5: told["rewritten"][md5] for md5 in sorted(held)},
            tuple(path.name for path in removed),
            # a version's md5 may be the name from before an earlier deletion
            tuple(f"{use.model}@{use.version}" for use in uses if held & _names(told, use.md5)),
            tuple(md5 for md5, old in used.items() if old is None),
        )


def _names(told: Mapping[str, Any], md5: str) -> set[str]:
    """`md5` and all that its version was called later."""
    found = {md5}
    while md5 in told["rewritten"]:
        md5 = told["rewritten"][md5]
        found.add(md5)
    return found


def _without(
    store: Store, name: str, ids: Collection[str], tree: Mapping[str, str], scratch: Path
) -> tuple[dict[str, str], int, dict[str, Content]]:
    """(the version's files without the records, rows that went, the new files by path)."""
    own = {path: md5 for path, md5 in tree.items() if path.startswith(f"{name}/")}
    tables = [path for path in own if path.endswith(".parquet")]
    store.bring({path: own[path] for path in tables})
    if not any(_holds(store.cache.path(own[path]), ids) for path in tables):
        return dict(tree), 0, {}
    store.bring(own)
    scratch.mkdir(parents=True, exist_ok=True)
    gone: dict[str, int] = {}
    for path, md5 in own.items():
        target = scratch / path.partition("/")[2]
        target.parent.mkdir(parents=True, exist_ok=True)
        if path in tables:
            gone[target.stem] = _filter(store.cache.path(md5), target, ids)
        elif path.endswith(".json") and target.name != artifact.MANIFEST:
            shutil.copyfile(store.cache.path(md5), target)
            # pages and pictures may show samples of the records: they are left out, the next run draws them anew
    _recount(scratch / FACTS, gone)
    sealed = artifact.seal(scratch)
    contents: dict[str, Content] = {f"{name}/{p.relative_to(scratch).as_posix()}": p for p in scratch.rglob("*") if p.is_file()}
    if f"{name}.json" in tree:
        told = json.loads(store.read(tree, f"{name}.json") or "{}")
        told |= {"dataset": sealed, "counts": json.loads((scratch / FACTS).read_text())}
        contents[f"{name}.json"] = (json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    kept = {path: md5 for path, md5 in tree.items() if path not in own}
    return kept | {path: md5_of(content) for path, content in contents.items()}, sum(gone.values()), contents


def _holds(path: Path, ids: Collection[str]) -> bool:
    """Whether a Parquet file has a column `id` with one of `ids`."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        if "id" not in file.schema_arrow.names:
            return False
        wanted = _strings(ids)
        return any(pc.any(pc.is_in(batch["id"], wanted)).as_py() for batch in file.iter_batches(columns=["id"]))


def _filter(source: Path, target: Path, ids: Collection[str]) -> int:
    """Copy a Parquet file without the rows of `ids`, row group by row group; returns how many went."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    gone = 0
    wanted = _strings(ids)
    with pq.ParquetFile(source) as file, pq.ParquetWriter(target, file.schema_arrow, compression="zstd") as writer:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            if "id" in table.column_names:
                kept = table.filter(pc.invert(pc.is_in(table["id"], wanted)))
                gone += table.num_rows - kept.num_rows
                table = kept
            writer.write_table(table)
    return gone


def _strings(ids: Collection[str]) -> Any:
    import pyarrow as pa

    return pa.array(sorted(ids), pa.string())


def _recount(path: Path, gone: Mapping[str, int]) -> None:
    counts = json.loads(path.read_text()) if path.is_file() else {}
    for split, count in gone.items():
        if split in counts.get("splits", {}):
            counts["splits"][split] -= count
            counts["kept"] = counts.get("kept", count) - count
    counts["forgotten"] = counts.get("forgotten", 0) + sum(gone.values())
    path.write_text(json.dumps(counts, indent=1, sort_keys=True))


def _keep(store: Store, tree: Mapping[str, str], contents: Mapping[str, Content]) -> None:
    """Put an older version, rewritten, into the cache and the remote."""
    for path, content in contents.items():
        if not store.cache.sound(tree[path]):
            store.cache.put(tree[path], content)
    if not store.cache.sound(tree_md5(tree)):
        store.cache.put(tree_md5(tree), listing(tree))
    store.bring(tree)
    store.share({md5: store.cache.path(md5).stat().st_size for md5 in {*tree.values(), tree_md5(tree)}})


def _purge(store: Store, rewritten: Mapping[str, str], uses: Sequence[Use]) -> None:
    """Remove the objects of versions rewritten now, or by a run that was killed, unless another version needs them."""
    needed: set[str] = set()
    for md5 in in_use(store, uses):
        needed |= {md5, *(store.tree(md5) or {}).values()}
    old = {md5: tree for md5 in rewritten if (tree := store.tree(md5)) is not None}
    # the lists last: while a list is there, what it names can be found
    for gone in (sorted({each for tree in old.values() for each in tree.values()} - needed), sorted(old.keys() - needed)):
        for md5 in gone:
            store.cache.drop(md5)
        store.remote.drop(gone)


def _holding(folder: Path, ids: Collection[str]) -> list[Path]:
    """The artifacts under `folder` in which a record stands: those with a Parquet file that has its id, by whole folders."""
    from pyarrow import ArrowException

    found = []
    for each in sorted(folder.iterdir()) if folder.is_dir() else ():
        for path in sorted(each.rglob("*.parquet")) if each.is_dir() else ():
            with suppress(ArrowException, OSError):
                if _holds(path, ids):
                    found.append(each)
                    break
    # tokens are the same rows, by number: without their dataset they go too
    return found + ([path for path in sorted(folder.glob("tokens-*")) if path not in found] if found else [])
