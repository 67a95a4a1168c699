"""`python -m tests.training.rank_process SECONDS HOW`: one of two processes (by torchrun's variables) that meet, then part."""

import os
import signal
import sys
from datetime import timedelta

from pipelines.errors import SeqlineError
from pipelines.training import parallel, torchrun

if __name__ == "__main__":
    try:
        with parallel.together(timedelta(seconds=float(sys.argv[1]))):
            parallel.wait()
            if parallel.rank() == 1:
                os.kill(os.getpid(), signal.Signals[sys.argv[2]])
            parallel.anywhere(True)
    except SeqlineError as error:
        torchrun.leave(error)
