"""History, difference, deletion by record id and sweeping, over a real git history of data.dvc."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import artifact, dataset
from pipelines.artifact import Raw
from pipelines.dataset import deletion, history, sweeper, versions
from pipelines.dataset.history import Use
from pipelines.dataset.objects import Objects
from pipelines.errors import UserError
from tests.dataset.project import (
    SCHEMA,
    commit,
    forget_local,
    identity,
    make_dataset,
    make_repo,
    pull,
    snapshot,
    status,
)

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Three commits: rows 0-19, rows 0-24, another model's data."""
    repo = make_repo(tmp_path / "repo")
    for number, (name, count) in enumerate([("one", 20), ("one", 25), ("two", 20)]):
        made = make_dataset(tmp_path / name, range(count), f"text of {name}")
        dataset.publish(made, name, repo, {"policy": f"p{count}"})
        commit(repo, f"data {number}")
    return repo


def md5_at(repo: Path, revision: str) -> str:
    return history.resolve("one", revision, repo)


def ids_of(repo: Path, md5: str) -> set[str]:
    tree = Objects(repo / ".dvc/cache").tree(md5)
    assert tree
    tables = [
        Objects(repo / ".dvc/cache").path(each) for path, each in tree.items() if path.startswith("one/") and ".parq" in path
    ]
    return {each for table in tables for each in pq.read_table(table)["id"].to_pylist()}


def test_log_tells_the_versions_of_one_model(repo: Path) -> None:
    uses = [Use("one", "1", md5_at(repo, "HEAD~2")), Use("one", "2", md5_at(repo, "HEAD"))]
    first, second = history.log("one", repo, uses)
    assert (first.rows, second.rows) == (20, 25)
    assert (first.changed, second.changed) == (("first",), ("policy", "dataset.json", "manifest.json", "train.parquet"))
    # the third commit changed the other model's data only: the version trained on it is the second
    assert (first.used_by, second.used_by) == (("one@1",), ("one@2",))
    assert [each.rows for each in history.log("two", repo)] == [20]
    forget_local(repo)
    assert [each.md5 for each in history.log("one", repo)] == [first.md5, second.md5]


def test_a_version_goes_by_many_names(repo: Path) -> None:
    md5 = md5_at(repo, "HEAD~1")
    uses = [Use("one", "7", md5)]
    assert {history.resolve("one", name, repo, uses) for name in (md5, md5[:8], "7", "one@7", "HEAD~1", "main~1")} == {md5}
    with pytest.raises(UserError, match=r"one: no version is called 'ffff': `seqline data log one`"):
        history.resolve("one", "ffff", repo)


def test_diff_counts_rows_by_id(repo: Path, tmp_path: Path) -> None:
    dataset.publish(make_dataset(tmp_path / "one", range(5, 30), "other"), "one", repo, {"policy": "p30"})
    told = history.diff("one", md5_at(repo, "HEAD"), versions.read_pointer(repo).md5, repo)  # type: ignore[union-attr]
    train = told.splits["train"]
    assert (train.added, train.removed, train.changed) == (5, 5, 16)
    assert train.ids["added"] == tuple(identity(n) for n in range(25, 30))
    assert told.filters == {"duplicate": (3, 3)}
    assert told.facts == {"policy": ("p25", "p30")}


def test_a_deletion_reaches_every_version_in_use_and_purges_the_old_bytes(repo: Path, tmp_path: Path) -> None:
    old = [md5_at(repo, name) for name in ("HEAD~2", "HEAD~1", "HEAD")]
    gone, stays = identity(7), identity(8)
    two = snapshot(repo / "data/two")
    quarantine = tmp_path / "quarantine"
    rows = pa.Table.from_pylist([{"id": gone, "source": "Jo", "target": "x"}], SCHEMA)
    artifact.make(Raw, quarantine / "raw-1", lambda path: pq.write_table(rows, path / "pairs.parquet"))
    artifact.make(Raw, quarantine / "raw-2", lambda path: pq.write_table(rows[:0], path / "pairs.parquet"))

    def forget() -> deletion.Forgotten:
        uses = [Use("one", "1", old[0]), Use("two", "1", old[2])]
        return deletion.forget(
            "one", [gone], repo, folders=[quarantine, tmp_path / "one"], uses=uses, why="asked", on="2026-01-02"
        )

    done = forget()
    assert done.rows == dict.fromkeys(old, 1)
    assert [name.split("-")[0] for name in done.artifacts] == ["raw", "dataset", "dataset"]
    assert (quarantine / "raw-2").is_dir()
    assert done.trained == ("one@1", "two@1")
    for store in (Objects(repo / ".dvc/cache"), Objects(repo / ".seqline/dvc")):
        for md5 in store.all():
            if store.path(md5).read_bytes()[:4] == b"PAR1" and md5 not in other_models(store, done.pointer.md5):
                assert gone not in pq.read_table(store.path(md5))["id"].to_pylist()
        assert not any(store.path(md5).exists() for md5 in old)
    for md5 in old:
        pointer = versions.restore("one", md5, repo)
        assert gone not in ids_of(repo, pointer.md5)
        assert stays in ids_of(repo, pointer.md5)
        assert artifact.verify(repo / "data/one")
    assert snapshot(repo / "data/two") == two
    assert versions.forgotten(repo, "one") == {gone}
    assert versions.forgotten(repo, "two") == frozenset()
    assert "forgotten: 1\n" in (repo / "data.dvc").read_text()
    assert status(repo) == ({}, {})
    assert forget().rows == {}
    forget_local(repo)
    assert versions.forgotten(repo, "one") == {gone}
    pull(repo)
    versions.verify(repo)


def other_models(store: Objects, md5: str) -> set[str]:
    tree = store.tree(md5) or {}
    return {each for path, each in tree.items() if path.startswith("two/")}


def test_an_id_that_is_none_is_refused(repo: Path) -> None:
    with pytest.raises(UserError, match="a record id has 16 hexadecimal digits"):
        deletion.forget("one", ["Jo Miller"], repo, folders=[], why="", on="")


def test_the_sweeper_takes_what_the_dead_left_and_nothing_else(repo: Path, tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    work = tmp_path / "work"
    for pid in (ended.pid, os.getpid()):
        (work / f".clean-1.{pid}").mkdir(parents=True)
        (work / f".clean-1.{pid}" / "pairs.parquet").write_bytes(b"12345")
    cache = Objects(repo / ".dvc/cache")
    (cache.root / "ab").mkdir(exist_ok=True)
    (cache.root / "ab" / ".xyz.tmp").write_bytes(b"123")
    (repo / ".dvc/tmp/seqline-one.new").mkdir()
    stray = make_dataset(tmp_path / "work", range(31))
    used = dataset.publish(stray, "one", repo).md5
    orphan = dataset.publish(make_dataset(tmp_path / "work", range(32)), "one", repo).md5
    versions.restore("one", md5_at(repo, "HEAD"), repo)
    kept = {md5: cache.tree(md5) for md5 in (used, md5_at(repo, "HEAD"), md5_at(repo, "HEAD~2"))}
    swept = sweeper.sweep(repo, [work, tmp_path / "nowhere"], [Use("one", "3", used)])
    assert swept.counts["unfinished artifacts"] == 1
    assert swept.counts["half-written objects"] == 1
    assert swept.counts["orphaned objects"] >= 2
    assert swept.kept == ""
    assert swept.freed > 8
    assert (work / f".clean-1.{os.getpid()}").is_dir()
    assert not cache.path(orphan).exists()
    for tree in kept.values():
        assert tree
        assert all(cache.sound(md5) for md5 in tree.values())
    assert sweeper.sweep(repo, [work]).counts.get("orphaned objects", 0) > 0  # now that no version uses it
    versions.verify(repo)


def test_without_git_no_object_is_an_orphan(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo")
    shutil.rmtree(repo / ".git")
    dataset.publish(make_dataset(tmp_path / "work", range(20)), "one", repo)
    dataset.publish(make_dataset(tmp_path / "work", range(25)), "one", repo)
    swept = sweeper.sweep(repo)
    assert (swept.counts, swept.kept) == ({}, "no git repository tells which versions are in use")
    assert json.loads((repo / "data/one.json").read_text())["counts"]["kept"] == 25
