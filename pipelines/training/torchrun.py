"""`torchrun --nproc-per-node 2 -m pipelines.training.torchrun MODEL.yaml TOKENS OUT [BASE]` trains as one process does.

Only the first process writes. Killed, the same command resumes from the first process's last checkpoint; with as many processes
it ends in the same weights.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

from pipelines import artifact, spec
from pipelines.errors import SeqlineError, UserError
from pipelines.training.fit import fit
from pipelines.training.parallel import together


def main() -> None:
    """Train what MODEL.yaml says (of a model or of a base) on TOKENS, into OUT; BASE is the folder to start from, if any."""
    path, folder, out, *base = map(Path, sys.argv[1:])
    try:
        try:
            training = spec.load_base(path).training
        except UserError:
            training = spec.load(path).training
        tokens = artifact.existing(artifact.Tokens, folder)
        if tokens is None:
            raise UserError(f"{folder}: no encoded pairs (a folder tokens-KEY of `seqline retrain`)")
        with together():
            fit(tokens, training, base[0] if base else None, out)
    except SeqlineError as error:
        leave(error)


def leave(error: SeqlineError) -> NoReturn:
    """Say `error` and exit with 1, at once: gloo's threads may still wait for a process that has gone, and then the
    interpreter's own end aborts."""
    sys.stderr.write(f"{error}\n")
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main()
