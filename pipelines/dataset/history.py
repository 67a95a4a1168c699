"""What the versions of data/NAME were, how two of them differ, and what a person may call them."""

import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.dataset.locking import alone
from pipelines.dataset.objects import Tree
from pipelines.dataset.store import Store, parse, plainly, read_pointer
from pipelines.dataset.versions import FACTS, belongs, deletions, rewritten
from pipelines.errors import SeqlineError, UserError

SHOWN = 20  # ids that a difference names, of each kind
MD5 = re.compile(r"md5: ([0-9a-f]{32}(?:\.dir)?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Use:
    """A model version that was trained on version `md5` of data/."""

    model: str
    version: str
    md5: str


@dataclass(frozen=True)
class Version:
    """A version of data/NAME; `at` (ISO 8601) and `commit` are of the commit that brought it, empty before it is committed."""

    md5: str
    at: str
    commit: str
    rows: int
    splits: Mapping[str, int]
    changed: tuple[str, ...]
    used_by: tuple[str, ...]
    counts: Mapping[str, Any] = field(repr=False, default_factory=dict)
    facts: Mapping[str, Any] = field(repr=False, default_factory=dict)


@dataclass(frozen=True)
class Moved:
    """Row ids of a split that came, went or changed their text between two versions: how many, and the first of them."""

    added: int
    removed: int
    changed: int
    ids: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Difference:
    """`filters`: {filter: rows that it dropped, before and after}; `facts`: {path in the facts: (before, after)}."""

    splits: Mapping[str, Moved]
    filters: Mapping[str, tuple[int, int]]
    facts: Mapping[str, tuple[Any, Any]]


def log(name: str, repo: Path, uses: Iterable[Use] = ()) -> list[Version]:
    """The versions of data/NAME, oldest first: from git's history of data.dvc, the working tree, and what models learned from.

    A change of another model's data is no version of this one's. A version whose files are nowhere is left out.
    """
    used: dict[str, list[str]] = {}
    for use in uses:
        used.setdefault(use.md5, []).append(f"{use.model}@{use.version}")
    with plainly(name), alone(repo, f"reading the versions of {name}"):
        store = Store(repo)
        told = _told(store)
        named = _named(repo)
        # trained on, but in no commit: put where nothing older can follow
        named[:0] = [(md5, "", "") for md5 in used if md5 not in {known for known, _, _ in named}]
        found: list[Version] = []
        before: Tree = {}
        for md5, commit, at in named:
            tree = store.tree(rewritten(told, md5)) or {}
            own = {path: each for path, each in tree.items() if belongs(path, name)}
            if own and own == before:
                last = found.pop()
                found.append(_with(last, used.get(md5, ())))
            elif own:
                found.append(_version(store, name, (md5, commit, at), own, (before, used.get(md5, ()))))
                before = own
        return found


def _with(version: Version, used_by: Sequence[str]) -> Version:
    told = {**vars(version), "used_by": tuple(dict.fromkeys([*version.used_by, *used_by]))}
    return Version(**told)


def _version(store: Store, name: str, named: tuple[str, str, str], own: Tree, context: tuple[Tree, Sequence[str]]) -> Version:
    before, used_by = context
    counts = json.loads(store.read(own, f"{name}/{FACTS}") or "{}")
    facts = json.loads(store.read(own, f"{name}.json") or "{}").get("facts", {})
    old = json.loads(store.read(before, f"{name}.json") or "{}").get("facts", {})
    files = [path.partition("/")[2] for path in sorted(own.keys() | before.keys()) if own.get(path) != before.get(path)]
    changed = [*(key for key in sorted(facts.keys() | old.keys()) if facts.get(key) != old.get(key)), *filter(None, files)]
    md5, commit, at = named
    return Version(
        md5, at, commit, counts.get("kept", 0), counts.get("splits", {}), tuple(changed) if before else ("first",),
        tuple(used_by), counts, facts,
    )  # fmt: skip


def resolve(name: str, reference: str, repo: Path, uses: Iterable[Use] = ()) -> str:
    """The md5 of the version of data/ that a person calls `reference`.

    It is the beginning of its md5 (or of the hash of a commit whose data.dvc names it), or the number of a model version.

    Raises:
        UserError: nothing, or more than one, is called so.
    """
    uses = list(uses)
    by_number = [use.md5 for use in uses if reference in (use.version, f"{use.model}@{use.version}")]
    if by_number:
        return by_number[0]
    known = {md5 for md5, _, _ in _named(repo)} | {use.md5 for use in uses}
    found = {md5 for md5 in known if len(reference) >= 4 and md5.startswith(reference)}
    if not found:
        text = _git(repo, "show", f"{reference}:data.dvc") if re.fullmatch(r"[\w./~^-]+", reference) else ""
        found = {parse(text).md5} if text else set()
    if len(found) == 1:
        return found.pop()
    what = "several versions are" if found else "no version is"
    raise UserError(f"{name}: {what} called {reference!r}: `seqline data log {name}` lists what there is")


def diff(name: str, one: str, other: str, repo: Path) -> Difference:
    """How data/NAME differs between two versions (md5 of data/).

    Raises:
        UserError: a version is nowhere. Corrupt: a file of it is.
    """
    with plainly(name), alone(repo, f"comparing versions of {name}"):
        store = Store(repo)
        told = _told(store)
        trees = []
        for md5 in (one, other):
            tree = store.tree(rewritten(told, md5))
            own = {path: each for path, each in (tree or {}).items() if belongs(path, name)}
            if not own:
                raise UserError(
                    f"{name}: version {md5[:12]} of its data is nowhere: `seqline data log {name}` lists what there is"
                )
            store.bring(own)
            trees.append(own)
        counts = [json.loads(store.read(tree, f"{name}/{FACTS}") or "{}") for tree in trees]
        facts = [json.loads(store.read(tree, f"{name}.json") or "{}").get("facts", {}) for tree in trees]
        filters = [_dropped(each) for each in counts]
        flat = [_flat(each) for each in facts]
        return Difference(
            {split: _moved(store, name, split, trees) for split in ("train", "validation", "test")},
            {key: (filters[0].get(key, 0), filters[1].get(key, 0)) for key in sorted(filters[0].keys() | filters[1].keys())},
            {
                key: (flat[0].get(key), flat[1].get(key))
                for key in sorted(flat[0].keys() | flat[1].keys())
                if flat[0].get(key) != flat[1].get(key)
            },
        )


def _moved(store: Store, name: str, split: str, trees: Sequence[Tree]) -> Moved:
    import duckdb

    path = f"{name}/{split}.parquet"
    one, other = (str(store.cache.path(tree[path])) if path in tree else None for tree in trees)
    kinds = {"added": "a.id IS NULL", "removed": "b.id IS NULL", "changed": "a.source <> b.source OR a.target <> b.target"}
    if one is None or other is None:
        return Moved(0, 0, 0, dict.fromkeys(kinds, ()))
    joined = "read_parquet($one) a FULL JOIN read_parquet($other) b ON a.id = b.id"
    counted, ids = {}, {}
    with duckdb.connect() as database:
        for kind, where in kinds.items():
            query = f"SELECT coalesce(a.id, b.id) AS id FROM {joined} WHERE {where} ORDER BY id"  # noqa: S608  (ours alone)
            found = [row[0] for row in database.execute(query, {"one": one, "other": other}).fetchall()]
            counted[kind], ids[kind] = len(found), tuple(found[:SHOWN])
    return Moved(counted["added"], counted["removed"], counted["changed"], ids)


def _dropped(counts: Mapping[str, Any]) -> dict[str, int]:
    """{filter: rows that it dropped} of a dataset.json."""
    if "filters" not in counts:
        return dict(counts.get("rejected", {}))
    return {each["name"]: each["in"] - each["out"] for each in counts["filters"]}


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _told(store: Store) -> dict[str, Any]:
    pointer = read_pointer(store.repo)
    return deletions(store, (store.tree(pointer.md5) if pointer else None) or {})


def _named(repo: Path) -> list[tuple[str, str, str]]:
    """(md5, commit, date) of every data.dvc in the history of HEAD, oldest first, and of the one that is not committed yet."""
    found = []
    lines = _git(repo, "log", "--reverse", "--format=%H %cI", "--", "data.dvc").splitlines()
    for commit, _, at in (line.partition(" ") for line in lines):
        text = _git(repo, "show", f"{commit}:data.dvc")
        if text and "<<<<" not in text:
            found.append((parse(text).md5, commit, at))
    pointer = read_pointer(repo)
    if pointer and (not found or found[-1][0] != pointer.md5):
        found.append((pointer.md5, "", ""))
    return found


def ever_named(repo: Path) -> set[str] | None:
    """Every md5 that a DVC file names or ever named, on any branch; None where git cannot tell."""
    if not _git(repo, "rev-parse", "--git-dir"):
        return None
    text = _git(repo, "log", "--all", "--reflog", "-p", "--format=", "--", "*.dvc", "*dvc.lock")
    here = [*repo.glob("*.dvc"), *repo.glob("*/**/*.dvc"), *repo.glob("**/dvc.lock")]
    return set(MD5.findall(text)) | {md5 for path in here if path.is_file() for md5 in MD5.findall(path.read_text())}


def in_use(store: Store, uses: Iterable[Use]) -> list[str]:
    """The versions of data/ that git's history or a model version names, as they are called now."""
    told = _told(store)
    named = ever_named(store.repo) or set()
    pointer = read_pointer(store.repo)
    names = {md5 for md5 in named if md5.endswith(".dir")} | {use.md5 for use in uses} | ({pointer.md5} if pointer else set())
    return sorted({rewritten(told, md5) for md5 in names})


def _git(repo: Path, *arguments: str) -> str:
    """What git says; nothing where it fails (no repository, no such commit)."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=repo, capture_output=True, text=True, check=False, encoding="utf-8", errors="replace"
        )
    except FileNotFoundError:
        raise SeqlineError("git: not installed, but the versions of data.dvc are in its history") from None
    return done.stdout if done.returncode == 0 else ""
