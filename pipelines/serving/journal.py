"""The live journal: what every request came to, written to the rollout database in small batches by a thread of its own."""

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from sqlalchemy.exc import SQLAlchemyError

from pipelines.errors import Transient
from pipelines.rollout.store import Event, Store

log = logging.getLogger("seqline.serving")
BATCH = 2_000
LONGEST_PAUSE = 2.0  # seconds between two tries while the database is away


class Journal:
    """Events of one gateway since its start; `gateway` is its id in the database.

    `add` never blocks. An event is in the database about `every` seconds later (what a kill -9 can lose), or waits in memory
    while the database is away; `bound` events may wait, later ones are dropped: `lost` is told how many.
    """

    def __init__(
        self, store: Store, name: str, *, lost: Callable[[int], None], every: float = 0.08, bound: int = 100_000
    ) -> None:
        self.gateway = uuid.uuid4().hex
        self._store, self._name, self._lost, self._every, self._bound = store, name, lost, every, bound
        self._waiting: deque[Event] = deque()
        self._seq = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def add(self, event: Event) -> None:
        with self._lock:
            if len(self._waiting) >= self._bound:
                self._lost(1)
                return
            self._waiting.append(replace(event, gateway=self.gateway, seq=self._seq))
            self._seq += 1

    @property
    def pending(self) -> int:
        return len(self._waiting)

    def close(self, seconds: float = 5.0) -> None:
        """Write what waits, for at most `seconds`; what is left then is lost."""
        self._closing.set()
        self._thread.join(seconds)
        if self.pending:
            self._lost(self.pending)
            log.error("journal: %d events could not be written before the end", self.pending)

    def _run(self) -> None:
        pause = self._every
        while not self._closing.wait(pause) or self._waiting:
            try:
                self._write()
                pause = self._every
            except (Transient, SQLAlchemyError) as error:
                if pause <= self._every:
                    log.warning(
                        "journal: the rollout database is away (%s), %d events wait", type(error).__name__, self.pending
                    )
                pause = min(pause * 2, LONGEST_PAUSE)
                if self._closing.is_set():
                    time.sleep(self._every)

    def _write(self) -> None:
        while self._waiting:
            with self._lock:
                batch = list(islice(self._waiting, BATCH))
            self._store.append(self._name, self.gateway, batch)
            with self._lock:
                for _ in batch:
                    self._waiting.popleft()
