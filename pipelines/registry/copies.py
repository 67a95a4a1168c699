"""Deleted samples in copies of the stores: the workspace's backups (FOLDER/backups/STAMP/), each sealed by a manifest.

Nobody else writes to a copied database, so that it is changed by SQL; it is made anew beside, for its bytes may be shared with
other backups by hard links. What a restore put aside (NAME.broken-STAMP) is left to the person who looks into it.
"""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.registry import erasing, journal_rows
from pipelines.rollout.store import Store

MANIFEST, NOTE = "manifest.json", ".erasing.json"
OLD = """
    SELECT request_id FROM trace_info JOIN experiments USING (experiment_id)
    WHERE name = :name AND (timestamp_ms < :before
        OR request_id IN (SELECT value FROM json_each(:traces))
        OR client_request_id IN (SELECT value FROM json_each(:requests)))
"""


def strip(workspace: Path, name: str, plan: Mapping[str, Any]) -> list[Path]:
    """Delete from every backup in the workspace what `plan` (retention.py) deletes of model `name`; the files changed.

    A backup that cannot be read, and so not be restored either, is put aside (see `aside`): it must not keep the others.
    """
    changed: list[Path] = []
    for folder in sorted((workspace / "backups").glob("[0-9]*/")):
        try:
            changed += _stripped(folder, name, plan)
        except (sqlite3.DatabaseError, ValueError, KeyError, FileNotFoundError) as damage:
            if isinstance(damage, sqlite3.OperationalError):  # locked, or the disk is full: nothing is wrong with it
                raise
            folder.rename(workspace / f"backup.broken-{folder.name}")
    return changed


def aside(workspace: Path) -> list[Path]:
    """What a restore put aside, which nothing is deleted from."""
    return sorted(workspace.glob("*.broken-*")) + sorted((workspace / "labels").rglob("*.broken-*"))


def _stripped(folder: Path, name: str, plan: Mapping[str, Any]) -> Iterator[Path]:
    _noted(folder)  # a killed run had changed a file and not yet the manifest
    database = folder / "mlflow.db"
    gone = {*plan["traces"], *(_old(database, name, plan) if database.is_file() else ())}
    for part, remake in (("labels.parquet", erasing.without_rows), ("told.json", erasing.without_lines)):
        path = folder / "labels" / name / part
        if path.is_file() and _remade(folder, path, partial(remake, traces=gone)):
            yield path
    if (folder / "rollout.db").is_file() and _remade(folder, folder / "rollout.db", lambda fresh: _rows(fresh, name, plan)):
        yield folder / "rollout.db"
    if database.is_file() and _remade(folder, database, partial(_delete, traces=gone)):  # last: it knows what is old
        yield database


def _old(database: Path, name: str, plan: Mapping[str, Any]) -> set[str]:
    """The traces in a copy of MLflow's database that the plan is about."""
    before = -1 if plan["before"] is None else round(plan["before"] * 1000)
    requests = plan["requests"] if plan["before"] is None else []
    wanted = {"name": name, "before": before, "traces": json.dumps(plan["traces"]), "requests": json.dumps(requests)}
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        return {str(row[0]) for row in connection.execute(OLD, wanted)}


def _delete(fresh: Path, traces: Collection[str]) -> bool:
    """Delete these from a copy of MLflow's database; whether any was there."""
    with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")  # spans, tags, assessments go with their trace
        some, ids = "(SELECT value FROM json_each(?))", (json.dumps(sorted(traces)),)
        made_of = "json_extract(source, '$.source_data.trace_id')"
        deletes = (
            f"DELETE FROM trace_info WHERE request_id IN {some}",  # noqa: S608  # no value stands in it
            f"DELETE FROM review_queue_items WHERE item_id IN {some}",  # noqa: S608
            f"DELETE FROM evaluation_dataset_records WHERE {made_of} IN {some}",  # noqa: S608
        )
        connection.execute("BEGIN")
        found = [connection.execute(delete, ids).rowcount for delete in deletes]
        connection.execute("COMMIT")
    return any(found)


def _rows(fresh: Path, name: str, plan: Mapping[str, Any]) -> bool:
    """Delete or blank the journal's rows in a copy of the rollout database; whether there were any."""
    store = Store(f"sqlite:///{fresh}")
    try:
        if plan["before"] is None:
            return journal_rows.delete(store, name, plan["requests"]) > 0
        return journal_rows.blank(store, name, plan["before"]) > 0
    finally:
        store.engine.dispose()


def _remade(folder: Path, path: Path, change: Callable[[Path], bool]) -> bool:
    """Change a copy of the file; where that changed anything, put it in its place and its digest into the manifest."""
    fresh = path.with_name(f".{path.name}.fresh")
    for left in path.parent.glob(f"{fresh.name}*"):
        left.unlink()
    shutil.copyfile(path, fresh)
    fresh.chmod(path.stat().st_mode & 0o777)
    if not change(fresh):
        fresh.unlink()
        return False
    if path.suffix == ".db":
        erasing.purge(fresh)
        with closing(sqlite3.connect(fresh)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")  # one file, without companions
    erasing.write(folder / NOTE, {str(path.relative_to(folder)): _sha256(fresh)})
    fresh.replace(path)
    _noted(folder)
    return True


def _noted(folder: Path) -> None:
    """Put the digest of what was changed last into the manifest, if it came to that."""
    note, manifest = folder / NOTE, folder / MANIFEST
    if not note.is_file():
        return
    told = json.loads(manifest.read_text(encoding="utf-8"))
    for part, digest in json.loads(note.read_text(encoding="utf-8")).items():
        if _sha256(folder / part) == digest:
            told["files"][part] = digest
    erasing.write(manifest, told)
    note.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
