"""One at a time: of a kind of work, on a model, on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from flows.settings import Settings
from pipelines.errors import UserError


class Busy(UserError):
    """The same work is done on this model by another process."""


@contextmanager
def sole(work: str, name: str, settings: Settings) -> Iterator[None]:
    """Hold the lock of `work` (retrain, rollout) on model `name`; the system frees it when its holder is killed.

    Raises:
        Busy: another process holds it.
    """
    lock = FileLock(settings.folder("run") / f"{work}-{name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise Busy(f"{name}: another {work} is at work: `seqline status {name}` shows how it stands") from None
    try:
        yield
    finally:
        lock.release()
