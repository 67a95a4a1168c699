"""What a killed member of the stack left behind is ended before the member is started again: python -m flows.stack.leftovers

MLflow's and Prefect's servers are children of the commands that start them. Where such a command is killed its server lives on
and holds the port, and the next one could never listen there.
"""

import contextlib
import os

import psutil

from flows.stack.supervision import MEMBER

MARKS = ("SEQLINE_STACK", MEMBER)


def leftovers() -> list[psutil.Process]:
    """The processes of this workspace's member (both are told by the environment), but for this one and its parents."""
    wanted = [os.environ[mark] for mark in MARKS]
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            told = process.environ()
            if process.pid not in own and [told.get(mark) for mark in MARKS] == wanted:
                found.append(process)
    return found


if __name__ == "__main__":
    for left in leftovers():
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
