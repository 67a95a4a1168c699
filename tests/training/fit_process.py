"""`python -m tests.training.fit_process OUT TRAINING-JSON`: one training in a process of its own, to be killed."""

import sys
from pathlib import Path

from pipelines.errors import SeqlineError
from pipelines.spec import Training
from pipelines.training.fit import fit
from tests.training import line

if __name__ == "__main__":
    try:
        fit(line.encoded(Path(sys.argv[1])), Training.model_validate_json(sys.argv[2]), None, Path(sys.argv[1]))
    except SeqlineError as error:
        sys.exit(f"{error}\nexit {error.exit_code}")
