"""The loop of a round on preferences (see pipelines.training.preferences): a step, a validation, a checkpoint.

Nothing in it is random but the order of the pairs, which follows from (seed, epoch): a resumed run takes the very same steps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.nn.functional import logsigmoid

from pipelines.errors import SeqlineError
from pipelines.training import batches, parallel
from pipelines.training.checkpoint import Checkpoint, State, Tensors, optimizer_of, put_optimizer, put_weights, weights_of
from pipelines.training.forward import summed_loss
from pipelines.training.loop import BETAS, rate_at
from pipelines.training.pairs import Ids, Marks, Pairs, Rectangles

if TYPE_CHECKING:
    from pipelines import spec

VALIDATION_PAIRS = 128
"""Most ordinary pairs on which the drift is measured."""


@dataclass(frozen=True)
class Choices:
    """Encoded preferences: inputs, the answers accepted, and those rejected."""

    sources: Ids
    accepted: Ids
    rejected: Ids

    def of(self, rows: batches.Rows) -> "Choices":
        return Choices(*([ids[row] for row in rows] for ids in (self.sources, self.accepted, self.rejected)))

    def plan(self, budget: int, seed: int, epoch: int) -> list[batches.Rows]:
        """Batches of at most `budget` padded tokens, each input read twice."""
        longest = [max(len(one), len(other)) for one, other in zip(self.accepted, self.rejected, strict=True)]
        sources, targets = (np.array(each, np.int64) for each in ([*map(len, self.sources)], longest))
        return batches.plan(2 * sources, 2 * targets, budget, seed=seed, epoch=epoch)

    @property
    def tokens(self) -> int:
        return 2 * sum(map(len, self.sources)) + sum(map(len, self.accepted)) + sum(map(len, self.rejected))


@dataclass(frozen=True)
class Measured:
    """The corrections held out (of `n`, how many are ranked right, how many gained; the loss), and the loss on plain pairs."""

    n: int
    ranked: int
    gained: int
    loss: float
    plain: float


class Round:
    """A model that learns preferences: `step` and `validate` move `state` on; `checkpoint` and `restore` carry it over a kill.

    In `state`, `gap` is how far the loss on plain pairs has risen, and `overfit` that it rose too far; a validation is [step,
    loss on the corrections held out, loss on plain pairs].
    """

    def __init__(
        self,
        model: Any,
        learnt: Choices,
        held_out: Choices,
        plain: Pairs,
        section: "spec.Preferences",
        training: "spec.Training",
    ) -> None:
        self.device = parallel.device()
        self.model = model.float().to(self.device).eval()  # no dropout: the start's log-probabilities had none
        self.marks = Marks.of(model.config)
        self.section, self.learnt, self.held_out = section, learnt, held_out
        self.training = training.model_copy(update={"steps": section.steps, "learning_rate": section.learning_rate})
        self.plain = [plain.of(rows) for rows in batches.plan(*plain.lengths(), training.batch_tokens, seed=0, epoch=0)]
        with torch.inference_mode():
            self.start, self.held_start = self._all(learnt), self._all(held_out)
        decay = training.weight_decay
        self.optimizer = torch.optim.AdamW(self._learning(), lr=section.learning_rate, betas=BETAS, weight_decay=decay)
        self.before = self.measure()
        self.state = State(best_loss=self.before.loss)
        self.best: Tensors = weights_of(self.model)
        self._plan = self._of_epoch(0)

    @property
    def done(self) -> bool:
        return self.state.step >= self.section.steps or self.state.stale >= self.section.patience or self.state.overfit

    def step(self) -> tuple[float, int, float]:
        """One optimiser step: its loss, the real tokens read, and the learning rate.

        Raises:
            SeqlineError: the loss is not finite.
        """
        state = self.state
        if state.batch == len(self._plan):
            state.epoch, state.batch = state.epoch + 1, 0
            self._plan = self._of_epoch(state.epoch)
        rows = self._plan[state.batch]
        state.step, state.batch = state.step + 1, state.batch + 1
        rate = rate_at(state.step, self.training)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        choices = self.learnt.of(rows)
        now = self._log_probs(choices)
        imitation = -now[0].sum() / sum(map(len, choices.accepted))
        loss = -logsigmoid(self._margins(now, self.start[:, rows])).mean() + self.section.imitation * imitation
        if not math.isfinite(loss.item()):
            raise SeqlineError(f"preferences: the loss is {loss.item()} at step {state.step}: lower preferences.learning_rate")
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._learning(), self.training.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        state.tokens += choices.tokens
        return loss.item(), choices.tokens, rate

    def validate(self) -> tuple[float, bool]:
        """The loss on the corrections held out, and whether it is the best so far, with the plain loss where it may be."""
        state, found = self.state, self.measure()
        state.gap = found.plain - self.before.plain
        state.overfit = state.gap > self.section.drift
        better = not state.overfit and (state.best_loss is None or found.loss < state.best_loss)
        if better:
            state.best_loss, state.best_step, self.best = found.loss, state.step, weights_of(self.model)
        state.stale = 0 if better else state.stale + 1
        state.validations.append([state.step, found.loss, found.plain])
        return found.loss, better

    def measure(self) -> Measured:
        """What the weights as they are make of the corrections held out, and of plain pairs."""
        with torch.inference_mode():
            now = self._all(self.held_out)
            margins = self._margins(now, self.held_start)
            total = sum(
                summed_loss(self.model, Rectangles.of(pairs, self.marks), self.device, 0.0).item() for pairs in self.plain
            )
        count = sum(pairs.target_tokens for pairs in self.plain)
        ranked, gained = int((now[0] > now[1]).sum()), int((margins > 0).sum())
        return Measured(now.shape[1], ranked, gained, float(-logsigmoid(margins).mean()), total / max(count, 1))

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.state, weights_of(self.model), optimizer_of(self.optimizer), self.best)

    def restore(self, checkpoint: Checkpoint) -> None:
        self.state, self.best = checkpoint.state, checkpoint.best
        put_weights(self.model, checkpoint.weights)
        put_optimizer(self.optimizer, checkpoint.optimizer)
        self._plan = self._of_epoch(self.state.epoch)

    def end(self) -> Measured:
        """Take the best weights up, and measure them."""
        put_weights(self.model, self.best)
        return self.measure()

    def _of_epoch(self, epoch: int) -> list[batches.Rows]:
        return self.learnt.plan(self.training.batch_tokens, self.training.seed, epoch)

    def _margins(self, now: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        """beta x (how much the accepted answers gained - how much the rejected ones did)."""
        gained = now - start
        return self.section.beta * (gained[0] - gained[1])

    def _all(self, choices: Choices) -> torch.Tensor:
        """`_log_probs` of any number of choices, batch by batch."""
        found = torch.zeros(2, len(choices.sources), device=self.device)
        for rows in choices.plan(self.training.batch_tokens, 0, 0):
            found[:, rows] = self._log_probs(choices.of(rows))
        return found

    def _log_probs(self, choices: Choices) -> torch.Tensor:
        """The log-probabilities (nats) of the accepted answers and of the rejected ones: 2 x choices."""
        pairs = Pairs(2 * choices.sources, [*choices.accepted, *choices.rejected])
        batch = Rectangles.of(pairs, self.marks)
        sources, mask, previous, targets, keep = (
            torch.from_numpy(each).to(self.device)
            for each in (batch.sources, batch.mask, batch.previous, batch.targets, batch.keep)
        )
        logits = self.model(input_ids=sources, attention_mask=mask.long(), decoder_input_ids=previous, use_cache=False).logits
        each = logits.float().log_softmax(-1).gather(-1, targets[..., None])[..., 0]
        found: torch.Tensor = (each * keep).sum(-1).view(2, -1)
        return found

    def _learning(self) -> list[torch.nn.Parameter]:
        return [weight for weight in self.model.parameters() if weight.requires_grad]


def encoded(path: Path, tokenizer: Path, longest: tuple[int, int]) -> tuple[Choices, Choices]:
    """The preferences in the Parquet file `path`, those to learn from and those held out, cut as training pairs are.

    Args:
        longest: most tokens of an input, and of an answer.
    """
    from tokenizers import Tokenizer

    made = Tokenizer.from_file(str(tokenizer))
    made.no_padding()
    table = pq.read_table(path)

    def ids(column: str, most: int, held_out: bool) -> Ids:
        made.enable_truncation(most)
        texts: Sequence[str] = table.filter(table["held_out"] if held_out else ~table["held_out"].to_numpy())[
            column
        ].to_pylist()
        return [one.ids for one in made.encode_batch(texts)]

    columns = {"source": longest[0], "accepted": longest[1], "rejected": longest[1]}
    learnt, held = (Choices(*(ids(name, most, out) for name, most in columns.items())) for out in (False, True))
    return learnt, held
