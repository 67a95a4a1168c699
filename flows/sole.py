"""One at a time: of a kind of work, on a model, on this machine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from flows.settings import Settings
from pipelines.errors import UserError

LOOK_SECONDS = 0.5  # how often one who waits tries the lock


class Busy(UserError):
    """The same work is done on this model by another process."""


@contextmanager
def sole(work: str, name: str, settings: Settings, say: Callable[[str], object] | None = None) -> Iterator[None]:
    """Hold the lock of `work` (retrain, rollout) on model `name`; the system frees it when its holder is killed.

    The process that holds it may enter again (a command, and then its flow).

    Args:
        say: told, in a line, that another process holds the lock and that this one waits for it.

    Raises:
        Busy: another process holds it, and there is no `say`.
    """
    path = settings.folder("run") / f"{work}-{name}.lock"
    lock = FileLock(path, thread_local=False, is_singleton=True, poll_interval=LOOK_SECONDS)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if say is None:
            raise Busy(f"{name}: another {work} is at work: `seqline status {name}` shows how it stands") from None
        say(f"{name}: another {work} is at work: this one waits for its end (Ctrl-C: wait no more)")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
