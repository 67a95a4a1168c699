"""How much of a machine a training uses: the model's own arithmetic over the time of its steps.

Counted is what the real tokens need, whatever the machine did besides: 2 floating-point operations a weight and token forward,
2 for the gradient that goes on, and 2 for that of a weight that learns (Kaplan et al., 2020). The products within attention, a
few percent at these lengths, are left out, as is padding: the share told is a lower bound.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pipelines.training import parallel
from pipelines.training.pairs import Pairs

PEAKS = {
    "B200": 2_250e12,
    "H200 NVL": 836e12,
    "H200": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "V100": 15.7e12,
    "T4": 8.1e12,
}
"""Dense FLOP/s by words of a GPU's name, the first that fits (NVIDIA's data sheets): in bfloat16, which is computed in where a
GPU has it, else in float32."""


@dataclass(frozen=True)
class Cost:
    """Floating-point operations of training: a source token and a target token."""

    source: int
    target: int

    @classmethod
    def of(cls, model: Any) -> "Cost":
        """That of an encoder-decoder: each token goes through its side's matrices, a target's through the output layer too."""
        encoder, decoder = (_matrices(side) for side in (model.get_encoder(), model.get_decoder()))
        return cls(encoder, decoder + _matrices(model.get_output_embeddings()))

    def steps(self, parts: Sequence[Pairs]) -> int:
        """Of a step on `parts`."""
        return sum(self.source * (part.tokens - part.target_tokens) + self.target * part.target_tokens for part in parts)


def _matrices(module: torch.nn.Module) -> int:
    looked_up = {id(each.weight) for each in module.modules() if isinstance(each, torch.nn.Embedding)}
    weights = [weight for weight in module.parameters() if weight.dim() > 1 and id(weight) not in looked_up]
    return sum(weight.numel() * (6 if weight.requires_grad else 4) for weight in weights)


def peak(gpu: str) -> float | None:
    """FLOP/s that a GPU of this name can do; None where PEAKS does not know it."""
    words = set(re.split(r"[\s-]+", gpu))
    return next((flops for known, flops in PEAKS.items() if words.issuperset(known.split())), None)


def most(device: torch.device) -> float | None:
    """FLOP/s of all the processes' GPUs together; None on CPUs, and on a GPU that PEAKS does not know."""
    if device.type != "cuda":
        return None
    one = peak(torch.cuda.get_device_name(device))
    return one and one * parallel.size()


@dataclass(frozen=True)
class Speed:
    """Of one run of a training, which may be the last of several."""

    flops_per_second: float
    """In the steps: of the model's own arithmetic, by all processes together."""
    utilisation: float | None
    """Share of what the GPUs could do (model FLOPs utilisation); None where that is not known."""
    validating: float
    """Share of the time of steps and validations that validations took."""

    def line(self, device: str) -> str:
        share = f", {self.utilisation:.1%} of its peak" if self.utilisation is not None else ""
        return f"training: {self.flops_per_second / 1e9:,.1f} GFLOP/s on {device}{share}; validating took {self.validating:.0%}"


class Watch:
    """Adds up the time of steps and of validations; `flops` is what was done before."""

    def __init__(self, flops: int) -> None:
        self._flops, self._stepping, self._validating = flops, 0.0, 0.0
        self._last = time.perf_counter()

    def stepped(self) -> None:
        self._stepping += self._lap()

    def validated(self) -> None:
        self._validating += self._lap()

    def skip(self) -> None:
        """Leave out the time since the last call."""
        self._lap()

    def speed(self, flops: int, device: torch.device) -> Speed:
        """That of the steps so far, after which `flops` are done."""
        rate = (flops - self._flops) / self._stepping if self._stepping else 0.0
        limit = most(device)
        whole = self._stepping + self._validating
        return Speed(rate, rate / limit if limit else None, self._validating / whole if whole else 0.0)

    def _lap(self) -> float:
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds
