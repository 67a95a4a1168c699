"""Training of the cross-encoder: few thousand pairs, minutes of one core.

What makes that enough: the change of a corruption labels every token of the output; a true pair and its corruption stand in one
batch, so that only the change can tell them apart; embeddings and the lower layers stay as they were; bfloat16 where the
processor multiplies it (three times the pairs a second). Batches are of like length, or padding would be half of the work.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import UserError
from pipelines.scoring.judge.cross import Pieces, save

if TYPE_CHECKING:
    import torch

    from pipelines.scoring.judge.cross import Window

POOL = 32  # batches whose pairs are sorted by length together
TOKEN_WEIGHT = 0.5  # of the tokens' loss beside the pair's
WARMUP = 0.06
CLIP = 1.0


@dataclass(frozen=True)
class Example:
    """A true pair (`start` = `end` = -1) or a corrupted one, whose change is output[start:end]."""

    source: str
    output: str
    start: int = -1
    end: int = -1

    @property
    def corrupted(self) -> bool:
        return self.start >= 0


@dataclass(frozen=True)
class Schedule:
    """How it learns: pairs a batch, the highest rate, layers (from below) that stay as they were, tokens a pair, the seed."""

    batch: int = 16
    learning_rate: float = 2e-4
    frozen_layers: int = 2
    length: int = 128
    seed: int = 1


def train(examples: Sequence[Example], encoder: Path, how: Schedule, folder: Path) -> dict[str, float]:
    """Train on `examples` (in pairs: true, corrupted), write the cross-encoder to `folder`; what it took, as facts.

    Raises:
        UserError: there is nothing to learn from, or `encoder` is no folder of BERT's kind.
    """
    import torch
    from torch.nn import Linear

    if not any(example.corrupted for example in examples):
        raise UserError("corpora: no pair could be corrupted, so the judge has nothing to learn from; give more data")
    torch.manual_seed(how.seed)
    model = _encoder(encoder, how.frozen_layers)
    heads = Linear(model.config.hidden_size, 2)
    learnt = [each for each in [*model.parameters(), *heads.parameters()] if each.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=how.learning_rate, weight_decay=0.01)
    batches = list(_batches(Pieces(encoder, how.length), examples, how))
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, len(batches)))
    model.train()
    total = 0.0
    for batch in batches:
        loss = _loss(model, heads, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learnt, CLIP)
        optimizer.step()
        rate.step()
        optimizer.zero_grad(set_to_none=True)
        total = 0.98 * total + 0.02 * loss.item() if total else loss.item()
    model.eval()
    save(model, heads.weight.detach().numpy(), heads.bias.detach().numpy(), encoder, how.length, folder)
    parameters = sum(each.numel() for each in [*model.parameters(), *heads.parameters()])
    return {"pairs": len(examples), "batches": len(batches), "loss": round(total, 4), "parameters": parameters}


def _encoder(folder: Path, frozen: int) -> Any:
    import torch
    from transformers import BertModel
    from transformers.utils import logging as transformers_log

    transformers_log.disable_progress_bar()  # type: ignore[no-untyped-call]
    level = transformers_log.get_verbosity()
    transformers_log.set_verbosity_error()  # type: ignore[no-untyped-call]  # the pooler is left out on purpose
    try:
        model = BertModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"encoder: {folder.name}: not a BERT encoder in safetensors: {str(error).splitlines()[0]}") from None
    finally:
        transformers_log.set_verbosity(level)
    for part in (model.embeddings, *model.encoder.layer[:frozen]):
        part.requires_grad_(False)
    return model


def _rate(step: int, steps: int) -> float:
    """Of the highest: up in the first WARMUP of the steps, then down in a line."""
    warm = max(1, round(steps * WARMUP))
    return (step + 1) / warm if step < warm else max(0.0, (steps - step) / max(1, steps - warm))


@dataclass(frozen=True)
class _Labelled:
    window: "Window"
    tokens: list[int]
    corrupted: bool


def _batches(pieces: Pieces, examples: Sequence[Example], how: Schedule) -> Iterator[list[_Labelled]]:
    """Pairs shuffled, then sorted by length in pools; what belongs together (true, corrupted) stays together."""
    draw = random.Random(how.seed)  # noqa: S311  no secret
    twins = [examples[at : at + 2] for at in range(0, len(examples), 2)]
    draw.shuffle(twins)
    per = max(1, how.batch // 2)
    for start in range(0, len(twins), per * POOL):
        pool = [_labelled(pieces, pair) for pair in twins[start : start + per * POOL]]
        pool.sort(key=lambda pair: max(len(each.window.ids) for each in pair))
        cut = [pool[at : at + per] for at in range(0, len(pool), per)]
        draw.shuffle(cut)
        for batch in cut:
            yield [each for pair in batch for each in pair]


def _labelled(pieces: Pieces, pair: Sequence[Example]) -> list[_Labelled]:
    sources, outputs = (pieces.encode(texts) for texts in ([each.source for each in pair], [each.output for each in pair]))
    found = []
    for example, source, output in zip(pair, sources, outputs, strict=True):
        window = next(pieces.windows(source, output))
        inside = [int(start < example.end and end > example.start) for start, end in output.offsets]
        found.append(_Labelled(window, inside[: window.at.stop - window.at.start], example.corrupted))
    return found


def _loss(model: Any, heads: Any, batch: Sequence[_Labelled]) -> "torch.Tensor":
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as entropy

    longest = max(len(each.window.ids) for each in batch)
    ids, types, seen, said, labels = (torch.zeros(len(batch), longest, dtype=torch.long) for _ in range(5))
    for row, each in enumerate(batch):
        size = len(each.window.ids)
        ids[row, :size], types[row, :size] = torch.tensor(each.window.ids), torch.tensor(each.window.types)
        seen[row, :size], said[row, each.window.at] = 1, 1
        labels[row, each.window.at] = torch.tensor(each.tokens, dtype=torch.long)
    with torch.autocast("cpu", torch.bfloat16, enabled=_multiplies_bfloat16()):
        hidden = model(input_ids=ids, token_type_ids=types, attention_mask=seen).last_hidden_state
    logits = heads(hidden.float())
    tokens = logits[..., 1]
    worst = torch.where(said.bool(), tokens, -1e4).amax(1)
    pair = logits[:, 0, 0] + torch.where(said.any(1), worst, torch.zeros_like(worst))
    truth = torch.tensor([float(each.corrupted) for each in batch])
    by_token = entropy(tokens, labels.float(), reduction="none")
    return entropy(pair, truth) + TOKEN_WEIGHT * (by_token * said).sum() / said.sum().clamp(min=1)


def _multiplies_bfloat16() -> bool:
    """Does the processor, faster than float32? Emulated it is slower; so it is with AVX512-BF16 alone, measured on Intel's."""
    import torch

    return bool(torch.cpu.get_capabilities().get("amx_bf16"))
