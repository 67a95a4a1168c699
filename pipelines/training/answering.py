"""The task's metric at a validation: greedy answers to a bounded part of the held-out pairs, scored by a function given.

What it costs is bounded: the pairs, their length, and the padded tokens decoded at once. Greedy, in float32 and in one order:
the same weights give the same value.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from pipelines.training import batches, generation, parallel
from pipelines.training.metric import Metric
from pipelines.training.pairs import Marks, filled

PAIRS = 100
"""Most pairs that are answered."""


class Answering:
    """Answers to the first validation pairs of `folder` (a Tokens), in batches of at most `budget` padded tokens."""

    def __init__(self, folder: Path, metric: Metric, marks: Marks, longest: int, budget: int) -> None:
        from tokenizers import Tokenizer

        self.metric, self._marks, self._longest = metric, marks, longest
        columns = pq.read_table(folder / "validation.parquet", columns=["source_ids", "target"]).slice(0, PAIRS)
        self._sources: list[list[int]] = columns["source_ids"].to_pylist()
        self._targets: list[str] = columns["target"].to_pylist()
        lengths = np.array([*map(len, self._sources)], dtype=np.int64)
        self._batches = batches.plan(lengths, np.full_like(lengths, longest), budget, seed=0, epoch=0)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))

    def measure(self, model: Any) -> float:
        """The metric of `model`'s answers (which is put into eval mode); every process of a training gets the same value."""
        model.eval()
        own = [int(row) for rows in self._batches[parallel.rank() :: parallel.size()] for row in rows]
        answers = [text for rows in self._batches[parallel.rank() :: parallel.size()] for text in self._answers(model, rows)]
        score = self.metric.score(answers, [self._targets[row] for row in own]) if own else 0.0
        totals = torch.tensor([score * len(own), len(own)], dtype=torch.float64, device=model.device)
        parallel.add_up([totals])
        return float(totals[0].item() / max(totals[1].item(), 1))

    def _answers(self, model: Any, rows: batches.Rows) -> list[str]:
        sources = [self._sources[row] for row in rows]
        how = generation.plain(model.config, self._marks.start, self._longest + 1)
        how.min_new_tokens = 1  # as served: an answer is never empty
        with torch.inference_mode():
            made = model.generate(
                input_ids=torch.from_numpy(batches.rectangle(sources, self._marks.pad)).to(model.device),
                attention_mask=torch.from_numpy(filled(sources)).long().to(model.device),
                generation_config=how,
            )
        return list(self._tokenizer.decode_batch(made.tolist(), skip_special_tokens=True))
