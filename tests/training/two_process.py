"""`torchrun -m tests.training.two_process TOKENS OUT TRAINING-JSON ...`: trainings in turn, into OUT/0, OUT/1, ..."""

import sys
from pathlib import Path

from pipelines.artifact import Tokens, existing
from pipelines.spec import Training
from pipelines.training import parallel
from pipelines.training.fit import fit

if __name__ == "__main__":
    tokens = existing(Tokens, Path(sys.argv[1]))
    assert tokens is not None
    with parallel.together():
        for number, training in enumerate(sys.argv[3:]):
            fit(tokens, Training.model_validate_json(training), None, Path(sys.argv[2]) / str(number))
