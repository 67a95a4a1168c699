"""DP-SGD (Abadi et al., 2016): training that learns from each pair no more than epsilon allows.

Each step draws every training pair on its own with probability `sample_rate`, clips each pair's gradient, sums them, adds
Gaussian noise of standard deviation `noise_multiplier` x `clip`, and divides by the *expected* number of pairs: so opacus'
accountant assumes it (Poisson subsampling; two data sets are neighbours if one has one pair more). The accountant is Renyi's
(RDP), always an upper bound: the tighter PRV one asks for 907 GiB at little noise.

Gradients are taken pair by pair with torch.func (vmap of grad), which is right for the shared embeddings of BART and the like,
where opacus' hooks, a layer at a time, need care. Dropout is drawn anew for each pair.

Sampling and noise come from the operating system's secure randomness, not from training.seed: who can repeat the noise can
take it off again. So do dropout and the places from which a pair is rebuilt: with a known seed, taking one pair away would
shift what the others draw, and move the sum by more than `clip`. So nothing random is in a checkpoint, the same input does not
give the same bytes, and a run that resumes after a kill repeats its lost steps with fresh noise. Those lost steps left no
weights, hence are not accounted; what is, is in the checkpoint.

Taken as public: the number of pairs, and the sample rate, which follows from their lengths. Not defended against: attacks on
the last bits of floats (Mironov, 2012); noise is added in float32.
"""

import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.func import functional_call, grad_and_value, vmap

from pipelines.errors import UserError
from pipelines.training import batches
from pipelines.training.checkpoint import Checkpoint, Tensors
from pipelines.training.forward import fast_bfloat16
from pipelines.training.loop import Loop
from pipelines.training.pairs import Pairs, Rectangles

if TYPE_CHECKING:
    from pipelines.spec import Training

ACCOUNTANT = "rdp"
CHUNK_TOKENS = 4_096
"""Padded tokens whose gradients are taken at once."""
CHUNK_FLOATS = 1 << 28
"""Most gradients (pairs x parameters, 4 bytes each) held at once: 1 GiB."""
NOISE_BLOCK = 1 << 20
"""Noise drawn at once, in numbers: what a large embedding would otherwise take in float64 is gigabytes."""


class PrivateLoop(Loop):
    """A Loop whose steps are differentially private for each training pair; `private` says how much.

    Raises:
        UserError: opacus is missing, no noise keeps the epsilon asked for, or (in `step`) the architecture does not go
            through vmap.
    """

    def __init__(self, model: Any, folder: Path, training: "Training", *, rebuild: bool, longest_target: int) -> None:
        super().__init__(model, folder, training, rebuild=rebuild, longest_target=longest_target)
        if training.private is None:
            raise ValueError("training.private is not set")
        self.accountant, self.wanted = accountant(), training.private
        pairs = len(self.train_pairs.sources)
        # As many pairs as fill training.batch_tokens, on average.
        self.sample_rate = 1 / len(self._plan)
        self.expected = self.sample_rate * pairs
        self.delta = self.wanted.delta or 1 / pairs
        self.noise = self.wanted.noise or noise_for(self.wanted.epsilon, self.delta, self.sample_rate, training.steps)
        _fit_for_vmap(self.model)
        self.learnt = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        self._each: Callable[..., tuple[Tensors, torch.Tensor]] = vmap(
            grad_and_value(self._loss_of_one), in_dims=(None, 0, 0, 0, 0, 0), randomness="different"
        )

    def private(self) -> dict[str, Any]:
        """What the steps so far spent: `epsilon` at `delta`, and what it follows from."""
        return {
            "epsilon": epsilon_of(self.state.spent, self.delta),
            "delta": self.delta,
            "noise_multiplier": self.noise,
            "clip": self.wanted.clip,
            "sample_rate": self.sample_rate,
            "steps": self.state.step,
            "accountant": ACCOUNTANT,
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        super().restore(checkpoint)
        self.accountant.history = [tuple(row) for row in self.state.spent]

    def gradients(self, pairs: Pairs) -> tuple[Tensors, torch.Tensor]:
        """Of each pair on its own: the gradients (a row a pair, by parameter), and the loss (nats a target token).

        Raises:
            UserError: the architecture does not go through vmap.
        """
        weights = {name: weight.detach() for name, weight in self.learnt.items()}
        try:
            return self._each(weights, *self._tensors(Rectangles.of(pairs, self.marks)))
        except RuntimeError as error:
            if "vmap" not in str(error):
                raise
            kind = self.model.config.model_type
            raise UserError(
                f"training.private: a {kind} cannot be differentiated pair by pair (torch's vmap): take another base"
            ) from None

    def _tensors(self, batch: Rectangles) -> list[torch.Tensor]:
        arrays = (batch.sources, batch.targets, batch.previous, batch.keep, batch.mask)
        return [torch.from_numpy(array).to(self.device) for array in arrays]

    def _loss_of_one(
        self,
        weights: Tensors,
        source: torch.Tensor,
        target: torch.Tensor,
        decoder: torch.Tensor,
        keep: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        # In four dimensions transformers takes a mask as it is; from one of two it makes its own, looking into it.
        hidden = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, torch.finfo(torch.float32).min)
        inputs = {"input_ids": source[None], "attention_mask": hidden[None, None, None], "decoder_input_ids": decoder[None]}
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=fast_bfloat16(self.device)):
            logits = functional_call(self.model, weights, (), {**inputs, "use_cache": False}).logits[0]
        smoothing = self.training.label_smoothing
        loss = torch.nn.functional.cross_entropy(logits.float(), target, label_smoothing=smoothing, reduction="none")
        return (loss * keep).sum() / keep.sum()

    def _next(self) -> list[Pairs]:
        rows = sampled(len(self.train_pairs.sources), self.sample_rate)
        return [self._asked(self.train_pairs.of(rows), np.random.default_rng())]

    def _backward(self, parts: list[Pairs]) -> float:
        """Put the noised mean of the clipped gradients on the parameters; the mean loss (0 where no pair was drawn)."""
        torch.manual_seed(int.from_bytes(os.urandom(8)))  # dropout
        (pairs,), total = parts, 0.0
        for weight in self.learnt.values():
            weight.grad = torch.zeros_like(weight)
        for chunk in self._chunks(pairs):
            gradients, losses = self.gradients(chunk)
            shares = clipping(gradients, self.wanted.clip)
            if not torch.isfinite(shares).all():
                return math.nan
            total += losses.sum().item()
            for name, weight in self.learnt.items():
                weight.grad += torch.tensordot(shares, gradients[name], dims=1)
        for weight in self.learnt.values():
            _add_noise(weight.grad, self.noise * self.wanted.clip)
            weight.grad /= self.expected
        self.accountant.step(noise_multiplier=self.noise, sample_rate=self.sample_rate)
        self.state.spent = [list(row) for row in self.accountant.history]
        return total / max(1, len(pairs.sources))

    def _chunks(self, pairs: Pairs) -> Iterator[Pairs]:
        most = max(1, CHUNK_FLOATS // sum(weight.numel() for weight in self.learnt.values()))
        for rows in batches.plan(*pairs.lengths(), CHUNK_TOKENS, seed=0, epoch=0):
            for start in range(0, len(rows), most):
                yield pairs.of(rows[start : start + most])


def _fit_for_vmap(model: Any) -> None:
    model.set_attn_implementation("eager")  # the fused ones have no rule for vmap
    for module in model.modules():
        if hasattr(module, "layerdrop"):
            module.layerdrop = 0.0  # drops a layer for all pairs, or for none


def clipping(gradients: Tensors, clip: float) -> torch.Tensor:
    """What each row of `gradients` (over all parameters) is to be multiplied by for a norm of at most `clip`; NaN if it is."""
    norms = torch.stack([each.flatten(1).norm(dim=1) for each in gradients.values()]).norm(dim=0)
    return torch.where(torch.isfinite(norms), (clip / norms).clamp(max=1.0), torch.nan)


def _add_noise(tensor: torch.Tensor, deviation: float) -> None:
    flat = tensor.view(-1)
    for start in range(0, len(flat), NOISE_BLOCK):
        block = flat[start : start + NOISE_BLOCK]
        block += deviation * torch.from_numpy(gaussian(len(block))).to(block)


def gaussian(count: int) -> NDArray[np.float64]:
    """`count` draws from the standard normal, by Box and Muller's method, from the operating system's secure randomness."""
    half = (count + 1) // 2
    radius, angle = np.sqrt(-2 * np.log(1 - _uniform(half))), 2 * np.pi * _uniform(half)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def sampled(count: int, rate: float) -> batches.Rows:
    """Rows of `count`, each drawn with probability `rate` (Poisson sampling), from the same randomness."""
    return np.flatnonzero(_uniform(count) < rate).astype(np.int64)


def _uniform(count: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), 53 bits each."""
    words = np.frombuffer(os.urandom(8 * count), dtype=np.uint64)
    return np.ldexp((words >> np.uint64(11)).astype(np.float64), -53)


def accountant() -> Any:
    """opacus' accountant, with nothing spent.

    Raises:
        UserError: opacus is not installed.
    """
    try:
        from opacus.accountants import create_accountant
    except ImportError:
        raise UserError("training.private: needs opacus: `pip install 'seqline[dp]'`") from None
    return create_accountant(mechanism=ACCOUNTANT)


def epsilon_of(spent: Sequence[Sequence[float]], delta: float) -> float:
    """The epsilon at `delta` of rows of [noise multiplier, sample rate, steps]; 0 without steps."""
    used = accountant()
    used.history = [(noise, rate, int(steps)) for noise, rate, steps in spent]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # opacus warns where its bound is loose; it stays a bound
        return float(used.get_epsilon(delta))


def noise_for(epsilon: float | None, delta: float, sample_rate: float, steps: int) -> float:
    """The least noise multiplier (within opacus' tolerance of 0.01 in epsilon) that keeps `epsilon` over `steps` steps.

    Raises:
        UserError: opacus is not installed, or none does.
    """
    accountant()
    from opacus.accountants.utils import get_noise_multiplier

    wanted = {"target_epsilon": epsilon, "target_delta": delta, "sample_rate": sample_rate, "steps": steps}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(get_noise_multiplier(**wanted, accountant=ACCOUNTANT))
    except ValueError:
        raise UserError(f"training.private.epsilon: no noise keeps {epsilon} over {steps} steps at delta {delta:.1e}") from None
