"""Backups of real databases and files: whole or absent, one shares with the next, and what changed in one is refused."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.operations import backups
from pipelines.rollout.store import Event, Store

NOW = 1_800_000_000.0


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    for folder, name in (("mlartifacts/tiny/1", "model.bin"), ("run", "signing.key"), ("run", "stack.json"), ("logs", "a.log")):
        (home / folder).mkdir(parents=True, exist_ok=True)
        (home / folder / name).write_text(f"{folder} {name}")
    return home


@contextmanager
def journal(workspace: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{workspace / 'rollout.db'}")
    store.create()
    try:
        yield store
    finally:
        store.engine.dispose()


def written(store: Store, seq: int) -> None:
    store.append("tiny", "g", [Event("r", "u", "champion", "1", NOW, {"availability": True}, seq=seq)])


def count(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("select count(*) from events").fetchone()[0])


def test_a_database_that_is_written_to_is_copied_whole(workspace: Path, tmp_path: Path) -> None:
    with journal(workspace) as store:
        written(store, 1)  # it lies in the write-ahead log, and the gateway is still there
        made = backups.make(workspace, tmp_path / "kept", NOW, 3)
        written(store, 2)
    assert count(made.path / "rollout.db") == 1
    names = sorted(path.relative_to(made.path).as_posix() for path in made.path.rglob("*") if path.is_file())
    assert names == ["manifest.json", "mlartifacts/tiny/1/model.bin", "rollout.db", "run/signing.key"]
    assert made.path.stat().st_mode & 0o077 == 0  # it holds keys
    assert backups.found(tmp_path / "kept") == [made]


def test_what_is_destroyed_comes_back_and_what_came_later_stays(workspace: Path, tmp_path: Path) -> None:
    with journal(workspace) as store:
        written(store, 1)
    made = backups.make(workspace, tmp_path / "kept", NOW, 3)
    (workspace / "rollout.db").write_bytes(b"garbage" * 1000)
    (workspace / "rollout.db-wal").write_bytes(b"of another file")
    (workspace / "mlartifacts/tiny/1/model.bin").write_text("another's")
    (workspace / "mlartifacts/tiny/2").mkdir()
    (workspace / "mlartifacts/tiny/2/model.bin").write_text("later")
    assert backups.complaints(workspace / "rollout.db") == "file is not a database"
    assert sorted(backups.restore(made.path, workspace, NOW)) == ["mlartifacts/tiny/1/model.bin", "rollout.db"]
    assert backups.complaints(workspace / "rollout.db") == ""
    assert count(workspace / "rollout.db") == 1
    assert (workspace / "mlartifacts/tiny/1/model.bin").read_text() == "mlartifacts/tiny/1 model.bin"
    assert (workspace / "mlartifacts/tiny/2/model.bin").read_text() == "later"
    assert (workspace / "rollout.db.broken-2027-01-15T08-00-00Z").read_bytes() == b"garbage" * 1000


@pytest.mark.parametrize("name", ["rollout.db", "mlartifacts/tiny/1/model.bin", "run/signing.key"])
def test_a_backup_that_changed_is_refused_before_anything_is_touched(workspace: Path, tmp_path: Path, name: str) -> None:
    with journal(workspace) as store:
        written(store, 1)
    made = backups.make(workspace, tmp_path / "kept", NOW, 3)
    content = bytearray((made.path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (made.path / name).write_bytes(content)
    (workspace / "mlartifacts/tiny/1/model.bin").unlink()
    with pytest.raises(UserError, match="has changed since the backup"):
        backups.restore(made.path, workspace, NOW)
    assert not (workspace / "mlartifacts/tiny/1/model.bin").exists()


def test_the_next_one_shares_what_did_not_change_and_old_ones_go(workspace: Path, tmp_path: Path) -> None:
    with journal(workspace) as store:
        written(store, 1)
    folder = tmp_path / "kept"
    killed = folder / ".2027-01-15T07-59-59Z.new"
    killed.mkdir(parents=True)
    first, second, third = (backups.make(workspace, folder, NOW + seconds, 2) for seconds in range(3))
    assert [each.path for each in backups.found(folder)] == [third.path, second.path]
    assert not first.path.exists()
    assert not killed.exists()
    model = "mlartifacts/tiny/1/model.bin"
    assert (second.path / model).samefile(third.path / model)
    assert not (workspace / model).samefile(third.path / model)  # a change there is no change here


def test_what_cannot_be_backed_up_is_one_line(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds neither rollout\.db nor mlflow\.db"):
        backups.make(workspace, tmp_path / "kept", NOW, 3)
    (workspace / "rollout.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(UserError, match=r"rollout\.db: file is not a database: nothing was backed up"):
        backups.make(workspace, tmp_path / "kept", NOW, 3)
    assert backups.found(tmp_path / "kept") == []
    with pytest.raises(UserError, match=r"is no backup"):
        backups.restore(tmp_path / "kept", workspace, NOW)
