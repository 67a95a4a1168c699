"""A process that must not outlive the one that started it."""

import os
import signal
import threading
import time

POLL_SECONDS = 0.5


def end_with(parent: int) -> None:
    """Send this process SIGTERM once `parent`, which started it, is gone (killed -9, say: nobody else would tell)."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
