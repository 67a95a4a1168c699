"""Checkpoints that survive a kill at any moment: written whole under another name, then renamed; sealed by sha256; no pickles.

A checkpoint is a folder step-NNNNNNNN of weights, optimiser state and the best weights so far (safetensors) and the loop's
place (state.json). The last two are kept: a damaged one is passed over, by name, for the one before.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipelines import artifact
from pipelines.errors import SeqlineError

KEPT = 2
FULL = (errno.ENOSPC, errno.EDQUOT)
TENSORS = ("weights", "optimizer", "best")
Tensors = dict[str, torch.Tensor]


@dataclass
class State:
    """The loop's place: what is done, where the epoch stands, and how validation went."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    """Batches of this epoch that are done."""
    tokens: int = 0
    """Real (unpadded) tokens trained on."""
    flops: int = 0
    """Floating-point operations that these tokens needed (see pipelines.training.speed)."""
    best_loss: float | None = None
    """Validation loss of the best weights."""
    best_metric: float | None = None
    """Metric of the best weights' answers, where it is measured: then it is what makes them the best."""
    best_step: int = 0
    stale: int = 0
    """Validations since the last with a best value."""
    validations: list[list[float]] = field(default_factory=list)
    """[step, loss] of each validation."""
    metrics: list[list[float]] = field(default_factory=list)
    """[step, metric] of each validation with one."""
    recent: list[float] = field(default_factory=lambda: [0.0, 0])
    """Loss (nats, summed) and target tokens of what was trained on since the last validation."""
    gap: float | None = None
    """Validation loss less the training loss of the interval before it (nats a target token)."""
    overfit: bool = False
    """Whether the gap ended the training."""
    split: int = 1
    """Pieces in which a batch is read, since memory ran out."""
    spent: list[list[float]] = field(default_factory=list)
    """[noise multiplier, sample rate, steps] under DP-SGD: the privacy accountant's history."""


@dataclass(frozen=True)
class Checkpoint:
    state: State
    weights: Tensors
    optimizer: Tensors
    best: Tensors


def weights_of(model: torch.nn.Module) -> Tensors:
    """Every parameter and buffer once (tied ones under their first name), on the CPU."""
    return {
        name: tensor.detach().cpu().clone()
        for named in (model.named_parameters(), model.named_buffers())
        for name, tensor in named
    }


def put_weights(model: torch.nn.Module, tensors: Tensors) -> None:
    with torch.no_grad():
        for named in (model.named_parameters(), model.named_buffers()):
            for name, tensor in named:
                tensor.copy_(tensors[name])


def optimizer_of(optimizer: torch.optim.Optimizer) -> Tensors:
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value.detach().cpu() for index, values in state.items() for name, value in values.items()}


def put_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` as folder/step-NNNNNNNN and delete all but the last two."""
    final = folder / f"step-{checkpoint.state.step:08d}"
    building = folder / ".new"
    shutil.rmtree(building, ignore_errors=True)
    shutil.rmtree(final, ignore_errors=True)
    building.mkdir()
    try:
        for name in TENSORS:
            save_file(getattr(checkpoint, name), building / f"{name}.safetensors")
        (building / "state.json").write_text(json.dumps(asdict(checkpoint.state)), encoding="utf-8")
        artifact.seal(building)
        building.replace(final)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    for old in _all(folder)[:-KEPT]:
        shutil.rmtree(old)


def load(folder: Path, say: Callable[[str], Any]) -> Checkpoint | None:
    """The last whole checkpoint in `folder`, None without one. Damaged ones are named through `say` and deleted."""
    for path in reversed(_all(folder)):
        try:
            artifact.verify(path)
            return _read(path)
        except artifact.Corrupt as damage:
            say(f"checkpoint {path.name} is damaged and passed over: {damage}")
            shutil.rmtree(path)
    return None


def _read(path: Path) -> Checkpoint:
    """Raises Corrupt, naming the file, where the bytes are those that were sealed, and yet no checkpoint of this code."""
    tensors = {}
    for name in TENSORS:
        try:
            tensors[name] = load_file(path / f"{name}.safetensors")
        except (SafetensorError, FileNotFoundError):
            raise artifact.Corrupt(f"{path.name}/{name}.safetensors: no tensors can be read from it") from None
    try:
        state = State(**json.loads((path / "state.json").read_bytes()))
    except (ValueError, TypeError, FileNotFoundError):
        raise artifact.Corrupt(f"{path.name}/state.json: not the place of a training") from None
    return Checkpoint(state, **tensors)


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


@contextmanager
def disk_faults(folder: Path) -> Iterator[None]:
    """Turn a full disk, met anywhere inside, into one clear line.

    Raises:
        SeqlineError: the disk (or the quota) under `folder` is full.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        # safetensors tells the system's error in words
        full = getattr(error, "errno", None) in FULL or any(os.strerror(number) in str(error) for number in FULL)
        if not full:
            raise
        raise SeqlineError(
            f"training: the disk is full (free: {_free(folder) >> 20} MiB): make room, then run again to resume"
        ) from None


def check_disk(folder: Path, parameters: int) -> None:
    """Refuse to start without room for what training writes.

    A checkpoint holds four floats a parameter (weights, two moments, best weights). Three lie there while the third is being
    written, and the finished weights come on top. What lies in `folder` already, of a training to be resumed, is counted off.

    Raises:
        SeqlineError: too little free space under `folder`.
    """
    there = sum(path.stat().st_size for path in folder.glob("step-*/*"))
    needed, free = max(0, 4 * parameters * (4 * (KEPT + 1) + 1) - there), _free(folder)
    if free < needed:
        raise SeqlineError(
            f"training: needs {needed >> 20} MiB of disk for its checkpoints and weights, {free >> 20} MiB are free: make room"
        )


def _free(folder: Path) -> int:
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())  # a full disk gives no new folder
    return shutil.disk_usage(there).free
