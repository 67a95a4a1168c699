"""The training loop. Everything random is drawn from (seed, step) anew, so that a resumed run takes the very same steps.

From scratch the model first learns to read: part of the batches ask it to rebuild the training sources themselves, from a
random place on and with a few tokens hidden (BART's denoising). Their share falls from 1 to `training.denoising` over the first
half of the steps. Without it, a model of this size does not look at its source within minutes, and answers the same to all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from pipelines.errors import SeqlineError
from pipelines.training import batches
from pipelines.training.checkpoint import Checkpoint, State, Tensors, optimizer_of, put_optimizer, put_weights, weights_of

if TYPE_CHECKING:
    from pipelines.spec import Training

REBUILD_UNTIL = 0.5
"""Share of the steps over which rebuilding fades, from scratch."""
HIDDEN = 0.1
"""Share of the source tokens hidden while rebuilding."""
VALIDATION_PAIRS = 512
"""Most pairs that a validation reads."""
BETAS = (0.9, 0.98)

Ids = list[list[int]]


class LossError(SeqlineError):
    """The loss became NaN or infinite; `rows` are the ids of the batch."""

    def __init__(self, step: int, loss: float, rows: dict[str, Ids]) -> None:
        super().__init__(f"the loss is {loss} at step {step}")
        self.step, self.loss, self.rows = step, loss, rows


@dataclass(frozen=True)
class Pairs:
    """Encoded pairs, and their lengths in tokens."""

    sources: Ids
    targets: Ids

    @classmethod
    def read(cls, path: Path, most: int | None = None) -> "Pairs":
        columns = pq.read_table(path, columns=["source_ids", "target_ids"])
        columns = columns if most is None else columns.slice(0, most)
        return cls(columns["source_ids"].to_pylist(), columns["target_ids"].to_pylist())

    def lengths(self) -> tuple[batches.Lengths, batches.Lengths]:
        return np.array([*map(len, self.sources)], dtype=np.int64), np.array([*map(len, self.targets)], dtype=np.int64)

    def of(self, rows: batches.Rows) -> "Pairs":
        return Pairs([self.sources[row] for row in rows], [self.targets[row] for row in rows])


@dataclass(frozen=True)
class Marks:
    """Ids that frame texts: the model's padding, the token its decoder starts from, and what stands for a hidden token."""

    pad: int
    start: int
    hidden: int

    @classmethod
    def of(cls, config: Any) -> "Marks":
        pad = config.pad_token_id
        return cls(pad=pad, start=config.decoder_start_token_id if config.decoder_start_token_id is not None else pad, hidden=3)


def rebuilding(pairs: Pairs, marks: Marks, longest: int, rng: np.random.Generator) -> Pairs:
    """Pairs that ask for the source itself: its tokens from a random place on, a few hidden -> the first `longest` of them."""
    sources, targets = [], []
    for ids in pairs.sources:
        cut = ids[int(rng.integers(0, max(1, len(ids) - 8))) :]
        end = cut[-1:]
        hide = rng.random(len(cut) - 1) < HIDDEN
        sources.append([marks.hidden if gone else token for token, gone in zip(cut[:-1], hide, strict=True)] + end)
        targets.append(cut[:-1][: longest - 1] + end)
    return Pairs(sources, targets)


class Loop:
    """A model in training: `step` and `validate` move `state` on; `checkpoint` and `restore` carry it over a kill."""

    def __init__(self, model: Any, folder: Path, training: "Training", *, rebuild: bool, longest_target: int) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device).train()
        self.training, self.rebuild, self.longest_target = training, rebuild, longest_target
        self.marks = Marks.of(model.config)
        self.train_pairs = Pairs.read(folder / "train.parquet")
        self.lengths = self.train_pairs.lengths()
        held_out = Pairs.read(folder / "validation.parquet", VALIDATION_PAIRS)
        order = batches.plan(*held_out.lengths(), 2 * training.batch_tokens, seed=0, epoch=0)
        self.held_out = [held_out.of(rows) for rows in order]
        self.optimizer = _optimizer(self.model, training, fused=True)
        self.state = State()
        self.best: Tensors = weights_of(self.model)
        self._plan = self._of_epoch(0)

    @property
    def done(self) -> bool:
        return self.state.step >= self.training.steps or self.state.stale >= self.training.patience

    def step(self) -> tuple[float, int, float]:
        """One optimiser step: the loss (nats a target token, smoothed), the real tokens read, and the learning rate.

        Raises:
            LossError: the loss is; the weights are as they were before the step.
        """
        state = self.state
        state.step += 1
        pairs = self._next()
        rate = rate_at(state.step, self.training)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(self.training.seed * 1_000_003 + state.step)  # dropout
        loss = self._backward(pairs)
        if not math.isfinite(loss):
            raise LossError(state.step, loss, {"source_ids": pairs.sources, "target_ids": pairs.targets})
        self.optimizer.step()
        self.optimizer.zero_grad()
        read = sum(map(len, pairs.sources)) + sum(map(len, pairs.targets))
        state.tokens += read
        return loss, read, rate

    def validate(self) -> tuple[float, bool]:
        """The loss on the held-out pairs (nats a target token, smoothed as in training), and whether it is the best so far."""
        self.model.eval()
        with torch.inference_mode():
            sums = [self._loss(pairs) for pairs in self.held_out]
        self.model.train()
        loss = sum(total.item() for total, _ in sums) / max(sum(count for _, count in sums), 1)
        state = self.state
        better = state.best_loss is None or loss < state.best_loss
        if better:
            state.best_loss, state.best_step, self.best = loss, state.step, weights_of(self.model)
        settling = self.rebuild and state.step < REBUILD_UNTIL * self.training.steps  # the pairs' loss swings meanwhile
        state.stale = 0 if better or settling else state.stale + 1
        state.validations.append([state.step, loss])
        return loss, better

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.state, weights_of(self.model), optimizer_of(self.optimizer), self.best)

    def restore(self, checkpoint: Checkpoint) -> None:
        self.state, self.best = checkpoint.state, checkpoint.best
        put_weights(self.model, checkpoint.weights)
        put_optimizer(self.optimizer, checkpoint.optimizer)
        self._plan = self._of_epoch(self.state.epoch)

    def padding(self) -> float:
        """Share of the tokens in an epoch's batches that is padding."""
        return batches.padding(self._plan, *self.lengths)

    def private(self) -> dict[str, Any] | None:
        """The differential privacy of the weights so far; None is none (see pipelines.training.private)."""
        return None

    def _of_epoch(self, epoch: int) -> list[batches.Rows]:
        return batches.plan(*self.lengths, self.training.batch_tokens, seed=self.training.seed, epoch=epoch)

    def _next(self) -> Pairs:
        state = self.state
        if state.batch == len(self._plan):
            state.epoch, state.batch = state.epoch + 1, 0
            self._plan = self._of_epoch(state.epoch)
        pairs = self.train_pairs.of(self._plan[state.batch])
        state.batch += 1
        return self._asked(pairs, np.random.default_rng((self.training.seed, state.step)))

    def _asked(self, pairs: Pairs, rng: np.random.Generator) -> Pairs:
        """What this step asks of `pairs`: the target, or from scratch at times the source itself."""
        if self.rebuild and rng.random() < rebuild_share(self.state.step, self.training):
            return rebuilding(pairs, self.marks, self.longest_target, rng)
        return pairs

    def _backward(self, pairs: Pairs) -> float:
        """Put the batch's clipped gradient on the parameters; the mean loss, which may be NaN or infinite."""
        total, count = self._loss(pairs)
        mean: Any = total / count
        mean.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training.clip)
        return float(mean.item())

    def _tensors(self, pairs: Pairs) -> tuple[torch.Tensor, ...]:
        """Sources, targets, the decoder's input (targets one to the right), and where targets and sources are no padding."""
        sources = batches.rectangle(pairs.sources, self.marks.pad)
        targets = batches.rectangle(pairs.targets, self.marks.pad)
        previous = np.concatenate([np.full((len(targets), 1), self.marks.start), targets[:, :-1]], axis=1)
        arrays = (sources, targets, previous, _filled(pairs.targets), _filled(pairs.sources))
        return tuple(torch.from_numpy(array).to(self.device) for array in arrays)

    def _loss(self, pairs: Pairs) -> tuple[torch.Tensor, int]:
        """The summed loss of a batch, and the target tokens that it is summed over."""
        source, target, decoder, keep, mask = self._tensors(pairs)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=fast_bfloat16(self.device)):
            logits = self.model(input_ids=source, attention_mask=mask.long(), decoder_input_ids=decoder, use_cache=False).logits
        smoothing = self.training.label_smoothing
        loss = torch.nn.functional.cross_entropy(logits[keep].float(), target[keep], label_smoothing=smoothing, reduction="sum")
        return loss, sum(map(len, pairs.targets))


def _filled(ids: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
    """Where a rectangle of `ids` holds a token and not padding (which may share its id with a token)."""
    lengths = np.array([len(row) for row in ids])
    return np.arange(lengths.max(initial=0)) < lengths[:, None]


def rate_at(step: int, training: "Training") -> float:
    """The learning rate of optimiser step `step` (from 1): a linear rise, then half a cosine down to 0 at the last step."""
    warm = max(1, round(training.warmup * training.steps))
    if step <= warm:
        return training.learning_rate * step / warm
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, training.steps - warm)))


def rebuild_share(step: int, training: "Training") -> float:
    """The share of batches that rebuild the source around optimiser step `step`."""
    return max(training.denoising, 1 - step / (REBUILD_UNTIL * training.steps))


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster: on a GPU that has it, and on a CPU with AVX512-BF16 or AMX (a step in 2/3 of the time)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def _optimizer(model: torch.nn.Module, training: "Training", *, fused: bool) -> torch.optim.AdamW:
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": training.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=BETAS, fused=fused)
