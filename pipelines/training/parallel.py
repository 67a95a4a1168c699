"""Several processes that train one model (`torchrun.py`): each reads its share of every batch; gradients are summed.

The loss of a step is divided by the target tokens of all processes, so that the shares add up to the whole batch's gradient.
Over gloo on CPUs, over NCCL on GPUs (no GPU has run it yet). A process that dies or hangs ends the others, within `PATIENCE`.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import distributed

from pipelines.errors import SeqlineError, UserError

if TYPE_CHECKING:
    pass

PATIENCE = timedelta(minutes=10)
"""Longest wait for another process, which meanwhile writes a checkpoint or the weights at most."""
GPU_FILES = ("nvidiactl", "kfd")
"""What the drivers of NVIDIA and AMD put into /dev."""


def rank() -> int:
    """This process's number, from 0; 0 where it is alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def device() -> torch.device:
    """The GPU of this process where torch can use GPUs, else the CPU (see `unused_gpu`).

    Raises:
        UserError: torchrun started more processes on this machine than it has GPUs.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= there:
        raise UserError(f"torchrun --nproc-per-node: at most {there}, as many as there are GPUs")
    return torch.device("cuda", number)


def unused_gpu(devices: Path = Path("/dev")) -> str | None:
    """A line for a person where the machine has a GPU (its driver's file is in `devices`) and this torch cannot use it."""
    if torch.cuda.is_available() or not any((devices / name).exists() for name in GPU_FILES):
        return None
    return f"training: on the CPU, though there is a GPU: torch {torch.__version__} cannot use it: see nvidia-smi"


def add_up(tensors: Iterable[torch.Tensor]) -> None:
    """Put the sum over all processes into each tensor, in place.

    Raises:
        SeqlineError: another process has ended, or does not answer for `PATIENCE`.
    """
    if size() == 1:
        return
    kinds: dict[torch.dtype, list[torch.Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault(tensor.dtype, []).append(tensor)
    with _company():
        for alike in kinds.values():  # one message a kind: a hundred small ones wait a hundred times
            flat = torch.cat([tensor.reshape(-1) for tensor in alike])
            distributed.all_reduce(flat)
            start = 0
            for tensor in alike:
                tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
                start += tensor.numel()


def anywhere(fact: bool) -> bool:
    """Whether `fact` holds in any process; raises as `add_up` does."""
    told = torch.tensor([float(fact)], device=device())
    add_up([told])
    return bool(told.item())


def wait() -> None:
    """Until every process is here; raises as `add_up` does."""
    if size() > 1:
        with _company():
            distributed.barrier()


@contextmanager
def _company() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        why = str(error).strip().splitlines()[0]
        raise SeqlineError(
            f"training: another process has ended or hangs, so this one (rank {rank()}) ends too: run again to resume ({why})"
        ) from None


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process goes through, then the others; raises as `add_up` does."""
    if rank() > 0:
        wait()
    yield
    if rank() == 0:
        wait()


@contextmanager
def together(patience: timedelta = PATIENCE) -> Iterator[None]:
    """The processes that torchrun started find one another; nothing happens without torchrun."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(device())
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=patience)
    yield
    distributed.destroy_process_group()  # not after an error: it may wait for those who are not coming
