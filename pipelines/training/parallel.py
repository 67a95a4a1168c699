"""Several processes that train one model (torchrun): each reads its share of every batch; gradients are summed.

`torchrun --nproc-per-node 2 -m pipelines.training.parallel MODEL.yaml TOKENS OUT [BASE]` trains as `fit` in one process does:
the loss of a step is divided by the target tokens of all processes, so that the shares add up to the whole batch's gradient.
Over gloo on CPUs, over NCCL on GPUs (no GPU has run it yet). Only the first process writes.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import distributed

from pipelines.errors import SeqlineError, UserError


def rank() -> int:
    """This process's number, from 0; 0 where it is alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def device() -> torch.device:
    """The GPU of this process, where there are GPUs."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else torch.device("cpu")


def add_up(tensors: Iterable[torch.Tensor]) -> None:
    """Put the sum over all processes into each tensor, in place."""
    if size() > 1:
        for tensor in tensors:
            distributed.all_reduce(tensor)


def anywhere(fact: bool) -> bool:
    """Whether `fact` holds in any process."""
    told = torch.tensor([float(fact)], device=device())
    add_up([told])
    return bool(told.item())


def wait() -> None:
    """Until every process is here."""
    if size() > 1:
        distributed.barrier()


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process goes through, then the others."""
    if rank() > 0:
        wait()
    yield
    if rank() == 0:
        wait()


@contextmanager
def together() -> Iterator[None]:
    """The processes that torchrun started find one another; nothing happens without torchrun."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(device())
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def main() -> None:
    """Train what MODEL.yaml says (of a model or of a base) on TOKENS, into OUT; BASE is the folder to start from, if any."""
    from pipelines import artifact, spec
    from pipelines.training.fit import fit

    model, folder, out, *base = map(Path, sys.argv[1:])
    try:
        try:
            training = spec.load_base(model).training
        except UserError:
            training = spec.load(model).training
        tokens = artifact.existing(artifact.Tokens, folder)
        if tokens is None:
            raise UserError(f"{folder}: no encoded pairs (a folder tokens-KEY of `seqline retrain`)")
        with together():
            fit(tokens, training, base[0] if base else None, out)
    except SeqlineError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
