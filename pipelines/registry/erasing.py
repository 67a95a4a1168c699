"""Takes what was deleted out of files too: a database's free pages, tables of labels, what a look at drift quoted, logs.

Each of these can be repeated, and a kill in its midst leaves the file as it was or as it shall be. Who deletes, and who copies
what may be deleted, holds one lock (`alone`): a copy made meanwhile would keep what is being forgotten.
"""

import json
import mmap
import os
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from pipelines.errors import Transient

SHOWN = 1_000  # characters of a text in MLflow's list of traces
BUSY_SECONDS = 60.0  # that another's transaction is waited for
LOCK_SECONDS = 120.0
ID = re.compile(rb"\b(?:tr-)?[0-9a-f]{32}\b")
"""A trace's id, or a request's."""


@contextmanager
def alone(workspace: Path) -> Iterator[None]:
    """Nobody else deletes from this workspace, backs it up or restores it.

    Raises:
        Transient: another process has been at it for LOCK_SECONDS.
    """
    folder = workspace / "retention"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".deleting.lock", timeout=LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        said = f"another process has been deleting, backing up or restoring for {LOCK_SECONDS:.0f} s: try again later"
        raise Transient(f"{workspace}: {said}") from None
    try:
        yield
    finally:
        lock.release()


def purge(database: Path) -> None:
    """Leave nothing of what was deleted in a SQLite file: its free pages go, and its write-ahead log is cut to nothing.

    It costs about as long as copying the file; who writes meanwhile waits. What a file system keeps of deleted files and
    snapshots is out of reach.

    Raises:
        Transient: others were at it all the while.
    """
    try:
        with closing(sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute("VACUUM")

            def busy() -> bool:
                return bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])

            if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                waiting = Retrying(stop=stop_after_delay(BUSY_SECONDS), wait=wait_fixed(0.1), retry=retry_if_result(bool))
                waiting(busy)
    except (sqlite3.OperationalError, RetryError) as error:
        raise Transient(f"{database.name}: its free pages could not be cleared ({error}): run the same command again") from None


def blank(files: Iterable[Path], ids: Collection[str]) -> list[Path]:
    """Overwrite these ids of traces and requests with dashes wherever they stand in `files`; which of these changed.

    In place and byte for byte, so that a process may go on writing to the end of its log.
    """
    wanted, changed = {each.encode() for each in ids}, []
    for path in sorted(files) if wanted else ():
        if not path.is_file() or not path.stat().st_size:
            continue
        with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as content:
            found = [match.span() for match in ID.finditer(content) if match.group() in wanted]
            for start, end in found:
                content[start:end] = b"-" * (end - start)
            content.flush()
        changed += [path] if found else []
    return changed


def unlabel(folder: Path, traces: Collection[str]) -> list[Path]:
    """Take these traces out of what `seqline labels` keeps in `folder` (labels.parquet, told.json); the files changed."""
    _halves(folder)
    parts = (("labels.parquet", without_rows), ("told.json", without_lines))
    return [folder / name for name, cut in parts if (folder / name).is_file() and cut(folder / name, traces)]


def without_rows(table: Path, traces: Collection[str]) -> bool:
    """Take the rows of these traces out of a table of labels; whether there were any."""
    from pyarrow import parquet

    rows = parquet.read_table(table)
    left = rows.filter([each not in traces for each in rows["item"].to_pylist()]) if rows.num_rows else rows
    if left.num_rows < rows.num_rows:
        replace(table, lambda fresh: parquet.write_table(left, fresh))
    return bool(left.num_rows < rows.num_rows)


def without_lines(told: Path, traces: Collection[str]) -> bool:
    """Take the lines that name these traces out of told.json; whether there were any."""
    content = _read(told)
    lines = content.get("malformed", {}).get("lines", [])
    kept = [line for line in lines if not any(each in traces for each in re.findall(r"tr-[0-9a-f]{32}", line))]
    if len(kept) < len(lines):
        content["malformed"] = {"count": len(kept), "lines": kept}
        write(told, content)
    return len(kept) < len(lines)


def unquote(look: Path, page: Path, texts: Collection[str]) -> list[Path]:
    """Take out of a look at drift (`look`, JSON) the examples and the words that came, where none of the `texts` holds them
    any more; its drawn `page` goes whole, for the next look draws it anew."""
    content, changed = _read(look) if look.is_file() else {}, []
    before, shown, lowered = json.dumps(content), {text[:SHOWN] for text in texts}, [text.lower() for text in texts]
    for side in content.get("sides", []):
        side["examples"] = [text for text in side.get("examples", []) if text[:SHOWN] in shown]
        side["came"] = [word for word in side.get("came", []) if any(word in text for text in lowered)]
    if json.dumps(content) != before:
        write(look, content)
        changed.append(look)
    if page.is_file():
        page.unlink()
        changed.append(page)
    return changed


def write(path: Path, content: Any) -> None:
    """`content` as JSON, on the disk before it has its name."""

    def put(fresh: Path) -> None:
        with fresh.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1, sort_keys=True)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())

    replace(path, put)


def replace(path: Path, put: Callable[[Path], None]) -> None:
    """`path` made anew by `put`, whole or not at all. One process at a time: a killed one's half is written over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.fresh")
    put(fresh)
    fresh.replace(path)


def _halves(folder: Path) -> None:
    """Remove what killed processes left half written: their temporary files (.PID.NAME, .NAME.fresh)."""
    for path in folder.glob(".*"):
        pid = path.name.split(".")[1]
        if path.suffix == ".fresh" or (pid.isdigit() and not psutil.pid_exists(int(pid))):
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """The object in `path`; empty where somebody broke the file: it is made anew by its owner."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
