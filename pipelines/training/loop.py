"""The training loop. Everything random is drawn from (seed, step) anew, so that a resumed run takes the very same steps.

From scratch the model first learns to read: part of the batches ask it to rebuild the training sources themselves, from a
random place on and with a few tokens hidden (BART's denoising). Their share falls from 1 to `training.denoising` over the first
half of the steps. Without it, a model of this size does not look at its source within minutes, and answers the same to all.
"""

import gc
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from pipelines.errors import SeqlineError
from pipelines.training import batches, parallel
from pipelines.training.answering import Answering
from pipelines.training.checkpoint import Checkpoint, State, Tensors, optimizer_of, put_optimizer, put_weights, weights_of
from pipelines.training.forward import suited, summed_loss
from pipelines.training.metric import Metric
from pipelines.training.pairs import Ids, Marks, Pairs, Rectangles, rebuilding
from pipelines.training.speed import Cost

if TYPE_CHECKING:
    from pipelines.spec import Training

REBUILD_UNTIL = 0.5
"""Share of the steps over which rebuilding fades, from scratch."""
VALIDATION_PAIRS = 512
"""Most pairs that a validation reads."""
BETAS = (0.9, 0.98)
NO_MEMORY = ("not enough memory", "can't allocate memory", "bad_alloc", "could not create a primitive")
"""What torch and oneDNN say on a CPU where the system gives no more."""


class LossError(SeqlineError):
    """The loss became NaN or infinite; `rows` are the ids of the batch."""

    def __init__(self, step: int, loss: float, rows: dict[str, Ids]) -> None:
        super().__init__(f"the loss is {loss} at step {step}")
        self.step, self.loss, self.rows = step, loss, rows


class Validation(NamedTuple):
    """The loss on the held-out pairs (nats a target token, smoothed as in training), whether the weights are the best so far,
    and the metric of their answers, where the loop has `answering`."""

    loss: float
    best: bool
    metric: float | None = None


class Loop:
    """A model in training: `step` and `validate` move `state` on; `checkpoint` and `restore` carry it over a kill.

    `say` is told, in a line, what a person should know of. With `answering` the best weights are those with the best answers.
    """

    def __init__(self, model: Any, folder: Path, training: "Training", *, rebuild: bool, longest_target: int) -> None:
        self.device = parallel.device()
        self.model = suited(model, self.device).train()
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
        self.say: Callable[[str], Any] = lambda _line: None
        self.answering: Answering | None = None
        self.cost = Cost.of(self.model)
        self._plan = self._of_epoch(0)

    @property
    def done(self) -> bool:
        return self.state.step >= self.training.steps or self.state.stale >= self.training.patience or self.state.overfit

    def step(self) -> tuple[float, int, float]:
        """One optimiser step: the loss (nats a target token, smoothed), the real tokens read, and the learning rate.

        Raises:
            LossError: the loss is; the weights are as they were before the step.
            SeqlineError: the memory does not hold a single pair.
        """
        state = self.state
        state.step += 1
        parts = self._next()
        rate = rate_at(state.step, self.training)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._backward(parts)
        if not math.isfinite(loss):
            rows = {"source_ids": [ids for part in parts for ids in part.sources]}
            raise LossError(state.step, loss, rows | {"target_ids": [ids for part in parts for ids in part.targets]})
        self.optimizer.step()
        self.optimizer.zero_grad()
        read = sum(part.tokens for part in parts)
        state.tokens += read
        state.flops += self.cost.steps(parts)
        if not any(part.rebuilt for part in parts):
            count = sum(part.target_tokens for part in parts)
            state.recent = [state.recent[0] + loss * count, state.recent[1] + count]
        return loss, read, rate

    def validate(self) -> Validation:
        """Measure the weights on the held-out pairs, and keep them if they are the best."""
        self.model.eval()
        loss = self._held_out_loss()
        metric = self.answering.measure(self.model) if self.answering else None
        self.model.train()
        better = self._judged(loss, metric)
        self._compare(loss)
        return Validation(loss, better, metric)

    def _held_out_loss(self) -> float:
        with torch.inference_mode():
            sums = [self._loss(pairs) for pairs in self.held_out[parallel.rank() :: parallel.size()]]
        counts = [float(sum(total.item() for total, _ in sums)), float(sum(count for _, count in sums))]
        summed = torch.tensor(counts, dtype=torch.float64, device=self.device)
        parallel.add_up([summed])
        return float(summed[0].item() / max(summed[1].item(), 1))

    def _judged(self, loss: float, metric: float | None) -> bool:
        """Whether the weights are the best so far, which are kept; of equal answers those of the lower loss are."""
        state = self.state
        lower = better = all(loss < before for _, before in state.validations)
        if metric is not None and state.best_metric is not None and state.best_loss is not None:
            better = (metric, -loss) > (state.best_metric, -state.best_loss)
        if better:
            state.best_loss, state.best_metric, state.best_step = loss, metric, state.step
            self.best = weights_of(self.model)
        settling = self.rebuild and state.step < REBUILD_UNTIL * self.training.steps  # the pairs' loss swings meanwhile
        state.stale = 0 if better or lower or settling else state.stale + 1
        state.validations.append([state.step, loss])
        if metric is not None:
            state.metrics.append([state.step, metric])
        return better

    def answer(self, folder: Path, metric: Metric) -> None:
        """From here on the weights are the best whose answers, to pairs in `folder` (a Tokens), have the highest `metric`."""
        self.answering = Answering(folder, metric, self.marks, self.longest_target, self.training.batch_tokens)

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

    def _compare(self, loss: float) -> None:
        """Note how far the training loss since the last validation lies below this one: too far, and training ends here."""
        state = self.state
        total, count = state.recent
        state.recent = [0.0, 0]
        state.gap = loss - total / count if count else None
        limit = self.training.overfit
        if limit is not None and state.gap is not None and state.gap > limit:
            state.overfit = True
            self.say(f"training: over-fit at step {state.step} and ended: validation is {state.gap:.2f} nats above training")

    def _of_epoch(self, epoch: int) -> list[batches.Rows]:
        return batches.plan(*self.lengths, self.training.batch_tokens, seed=self.training.seed, epoch=epoch)

    def _next(self) -> list[Pairs]:
        """The micro-batches of a step: the next `training.accumulate` batches of the plan."""
        rng = np.random.default_rng((self.training.seed, self.state.step))
        return [self._asked(self._of_plan(), rng) for _ in range(self.training.accumulate)]

    def _of_plan(self) -> Pairs:
        state = self.state
        if state.batch == len(self._plan):
            state.epoch, state.batch = state.epoch + 1, 0
            self._plan = self._of_epoch(state.epoch)
        pairs = self.train_pairs.of(self._plan[state.batch])
        state.batch += 1
        return pairs

    def _asked(self, pairs: Pairs, rng: np.random.Generator) -> Pairs:
        """What this step asks of `pairs`: the target, or from scratch at times the source itself."""
        if self.rebuild and rng.random() < rebuild_share(self.state.step, self.training):
            return rebuilding(pairs, self.marks, self.longest_target, rng)
        return pairs

    def _backward(self, parts: list[Pairs]) -> float:
        """Put the clipped gradient of all parts on the parameters; their mean loss, which may be NaN or infinite.

        Where memory runs out, it is done anew with each part in twice as many pieces, from then on.
        """
        while True:
            pieces = [piece for part in parts for piece in part.divided(self.state.split)]
            loss, ended = 0.0, False
            try:
                loss = self._summed(pieces)
            except (MemoryError, RuntimeError) as error:
                ended = out_of_memory(error)
                if not ended:
                    raise
            if not parallel.anywhere(ended):
                break
            self._halve(max(len(piece.sources) for piece in pieces))
        shares = [weight.grad for weight in self._learning() if weight.grad is not None]
        mean = torch.tensor([loss], dtype=torch.float64, device=self.device)
        parallel.add_up([*shares, mean])
        torch.nn.utils.clip_grad_norm_(self._learning(), self.training.clip)
        return float(mean.item())

    def _summed(self, pieces: list[Pairs]) -> float:
        """Put the gradient of this process's share of all pieces on the parameters; the share's part of the mean loss."""
        torch.manual_seed(self.training.seed * 1_000_003 + self.state.step + (parallel.rank() << 48))  # dropout
        count, mean = sum(piece.target_tokens for piece in pieces), 0.0
        for piece in pieces:
            own = piece.of(range(parallel.rank(), len(piece.sources), parallel.size()))
            if own.sources:
                share: Any = self._loss(own)[0] / count
                share.backward()
                mean += float(share.item())
        if parallel.size() > 1:  # a process that had no row of the batch
            for weight in self._learning():
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        return mean

    def _halve(self, rows: int) -> None:
        self.optimizer.zero_grad()
        gc.collect()  # the error's frames hold what the failed pass had made
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if rows == 1:
            raise SeqlineError("training: the memory does not hold one pair: lower tokens.max_source or the model's width")
        self.state.split *= 2
        self.say(
            f"training: out of memory at step {self.state.step}: batches are read in {self.state.split} pieces from here on; "
            "what a step learns from stays the same"
        )

    def _learning(self) -> list[torch.nn.Parameter]:
        return [weight for weight in self.model.parameters() if weight.requires_grad]

    def _loss(self, pairs: Pairs) -> tuple[torch.Tensor, int]:
        """The summed loss of a batch, and the target tokens that it is summed over."""
        batch = Rectangles.of(pairs, self.marks)
        return summed_loss(self.model, batch, self.device, self.training.label_smoothing), pairs.target_tokens


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that the memory, of a GPU or of the machine, is used up."""
    told = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return told or any(words in str(error) for words in NO_MEMORY)


def rate_at(step: int, training: "Training") -> float:
    """The learning rate of optimiser step `step` (from 1): a linear rise, then half a cosine down to 0 at the last step."""
    warm = max(1, round(training.warmup * training.steps))
    if step <= warm:
        return training.learning_rate * step / warm
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, training.steps - warm)))


def rebuild_share(step: int, training: "Training") -> float:
    """The share of batches that rebuild the source around optimiser step `step`."""
    return max(training.denoising, 1 - step / (REBUILD_UNTIL * training.steps))


def _optimizer(model: torch.nn.Module, training: "Training", *, fused: bool) -> torch.optim.AdamW:
    matrices = [weight for weight in model.parameters() if weight.requires_grad and weight.dim() > 1]
    others = [weight for weight in model.parameters() if weight.requires_grad and weight.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": training.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=BETAS, fused=fused)
