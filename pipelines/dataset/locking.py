"""One process at a time changes data/, its versions and the DVC cache of a project.

The locks are the kernel's (flock): they end with their holder, however it ends. Who holds is written beside them for those
who wait, as pid, start time and boot: a pid alone may be another process by now.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import Transient

PATIENCE = 600.0  # seconds that a run waits for another one
MANNERS = 10.0  # seconds that we wait for somebody's `dvc` command
SLACK = 2.0  # seconds by which a file's time and a process's may disagree


@dataclass(frozen=True)
class Holder:
    """Who holds the lock and for what; `started` in seconds since the epoch."""

    pid: int
    started: float
    boot: str
    work: str

    @property
    def alive(self) -> bool:
        import psutil

        try:
            return self.boot == boot() and abs(psutil.Process(self.pid).create_time() - self.started) < SLACK
        except psutil.NoSuchProcess:
            return False

    def __str__(self) -> str:
        since = time.strftime("%H:%M:%S", time.localtime(self.started))
        return f"process {self.pid} ({self.work}; started {since})"


def boot() -> str:
    """What tells this boot of the machine from others."""
    import psutil

    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.is_file() else str(int(psutil.boot_time()))


@contextlib.contextmanager
def alone(repo: Path, work: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the project's data: against other runs of ours, and against `dvc` commands.

    What dead processes left in DVC's own lock files is cleared first.

    Raises:
        Transient: another process holds it for longer than `patience` seconds.
    """
    import psutil
    from filelock import FileLock, Timeout

    scratch = repo / ".dvc/tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    lock, note = FileLock(scratch / "seqline.lock"), scratch / "seqline.holder"
    try:
        _wait(lock, note, patience)
        note.write_text(json.dumps(asdict(Holder(os.getpid(), psutil.Process().create_time(), boot(), work))))
        clear_dead(repo)
        # DVC's lock is a flock on this very file: its commands wait for us, and we for them
        with FileLock(scratch / "lock", timeout=min(patience, MANNERS)):
            yield
    except Timeout as late:
        if late.lock_file == lock.lock_file:
            raise Transient(f"data: {_held_by(note)} is still at work after {patience:.0f} s") from None
        raise Transient("data: a `dvc` command is at work in this project") from None
    finally:
        if lock.is_locked:
            note.unlink(missing_ok=True)
        lock.release()


def _wait(lock: Any, note: Path, patience: float) -> None:
    from filelock import Timeout
    from rich.console import Console

    try:
        lock.acquire(timeout=0)
    except Timeout:
        Console(stderr=True, soft_wrap=True).print(f"data: waits for {_held_by(note)}", markup=False, highlight=False)
        lock.acquire(timeout=patience)


def _held_by(note: Path) -> str:
    try:
        holder = Holder(**json.loads(note.read_text()))
    except (OSError, ValueError, TypeError):
        return "another process"
    return str(holder) if holder.alive else "another process"


def gone(pid: int, before: float) -> bool:
    """Whether the process that had `pid` at the time `before` (seconds since the epoch) has certainly ended.

    A process that has the pid now but started later is another one.
    """
    import psutil

    try:
        return bool(psutil.Process(pid).create_time() > before + SLACK)
    except psutil.NoSuchProcess:
        return True


def clear_dead(repo: Path) -> int:
    """Take what dead processes left out of DVC's rwlock and hard-link lock, which otherwise block its commands for ever.

    Returns how many entries went. DVC asks only whether the pid exists: a reused pid blocks it until that process ends too.
    """
    return _clear_rwlock(repo / ".dvc/tmp/rwlock") + _clear_hardlink(repo / ".dvc/tmp/lock")


def _clear_rwlock(path: Path) -> int:
    from filelock import FileLock, Timeout

    if not path.is_file():
        return 0
    try:
        with FileLock(path.with_name("rwlock.lock"), timeout=MANNERS):
            written = path.stat().st_mtime  # each holder edits the file: none is younger than it
            try:
                entries = json.loads(path.read_text() or "{}")
                kept, cleared = _living(entries, written)
            except (ValueError, TypeError, KeyError, AttributeError):
                kept, cleared = {}, 1  # its writer was killed over it: DVC would refuse to work from now on
            if cleared:
                building = path.with_name("seqline-rwlock.new")
                building.write_text(json.dumps(kept))
                os.utime(building, (written, written))
                building.replace(path)
            return cleared
    except Timeout:
        return 0


def _living(entries: dict[str, Any], written: float) -> tuple[dict[str, Any], int]:
    write = {path: info for path, info in entries.get("write", {}).items() if not gone(int(info["pid"]), written)}
    read = {
        path: alive
        for path, infos in entries.get("read", {}).items()
        if (alive := [info for info in infos if not gone(int(info["pid"]), written)])
    }
    before = len(entries.get("write", {})) + sum(len(infos) for infos in entries.get("read", {}).values())
    return {"write": write, "read": read}, before - len(write) - sum(map(len, read.values()))


def _clear_hardlink(path: Path) -> int:
    """DVC's lock under `core.hardlink_lock`: the file holds PATH|HOST|PID|RANDOM and stays when its holder is killed.

    Its mtime is when it expires (in a year); its ctime is when it was taken.
    """
    import socket

    try:
        _, host, pid, _ = path.read_text().split("|")
        if host == socket.gethostname() and gone(int(pid), path.stat().st_ctime):
            path.unlink()
            return 1
    except (OSError, ValueError):
        pass
    return 0
