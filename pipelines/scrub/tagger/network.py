"""The network: a word's vector is the sum of its features' vectors; a hidden layer reads a window of words; a class a word.

Trained in torch, then rounded to whole numbers so small that every sum is exact in float32 (below 2**24). So a text's spans
depend neither on its batch, nor on the number of threads, nor on the processor's instructions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.scrub.tagger.words import REACH, SLOTS, Ints

CLASSES = ("", "PERSON", "LOCATION", "PHONE_NUMBER", "CREDIT_CARD")
WIDTH = 32  # of a word's vector
HIDDEN = 128
WINDOW = np.arange(-REACH, REACH + 1)
TOP = 127  # of a vector's and a weight's whole numbers: 11 x 32 x 127 x 127 < 2**24
CHUNK = 4096  # words at once: the windows of more would leave the cache

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """Whole numbers in float32 (int8 on disk)."""

    table: NDArray[np.int8]  # rows x WIDTH
    first: Floats  # (window x WIDTH) x HIDDEN
    bias: Floats
    shift: float  # a power of two: what the hidden layer's sums are multiplied by
    second: Floats  # HIDDEN x classes
    offset: Floats
    nat: float  # whole numbers that make a factor e in the odds of a class

    def vectors(self, rows: Ints) -> Floats:
        """The vectors of words, given the rows of their features."""
        found: Floats = np.clip(self.table[rows].astype(np.int32).sum(1), -TOP, TOP).astype(np.float32)
        return found

    def scores(self, vectors: Floats, ids: Ints, places: Ints) -> Floats:
        """How much each class is for the words at `places`: whole numbers."""
        found = np.empty((len(places), len(CLASSES)), np.float32)
        for start in range(0, len(places), CHUNK):
            part = places[start : start + CHUNK]
            window = vectors[ids[part[:, None] + WINDOW]].reshape(len(part), -1)
            hidden = window @ self.first
            hidden += self.bias
            hidden *= self.shift
            np.floor(hidden, out=hidden)
            np.clip(hidden, 0, 255, out=hidden)
            found[start : start + CHUNK] = hidden @ self.second + self.offset
        return found


@dataclass(frozen=True)
class Examples:
    """Words to learn from: `ids` of all words in a row, the `places` of those that count, and their `labels`."""

    ids: Ints
    places: Ints
    labels: Ints


def train(rows: Ints, blank: Sequence[int], examples: Examples, size: int, epochs: int, seed: int) -> Network:
    """Learn from `examples`; `rows` are the features of each form of word, `blank` the row of each slot's "unknown".

    Features are dropped at random, so that a name of no list, with an ending never seen, is still found by its context.
    """
    import torch

    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order: the same bytes on every run
    try:
        model = _model(torch, size)
        _fit(torch, model, generator, torch.from_numpy(rows), torch.tensor(blank), examples, epochs)
        return _rounded(model, rows, examples)
    finally:
        torch.set_num_threads(threads)


DROP = (0.1, 0.12, 0.12, 0.12, 0.0, 0.3, 0.0)  # share of the words whose feature in each slot is dropped
BATCH = 1024
LIMIT = 4.0  # of a word's vector, in training
RATE = 4e-3


def _model(torch: Any, size: int) -> Any:
    model = torch.nn.ModuleDict(
        {
            "table": torch.nn.EmbeddingBag(size, WIDTH, mode="sum"),
            "first": torch.nn.Linear(len(WINDOW) * WIDTH, HIDDEN),
            "second": torch.nn.Linear(HIDDEN, len(CLASSES)),
        }
    )
    torch.nn.init.normal_(model["table"].weight, std=0.1)
    return model


def _fit(torch: Any, model: Any, generator: Any, rows: Any, blank: Any, examples: Examples, epochs: int) -> None:
    ids, window = torch.from_numpy(examples.ids), torch.from_numpy(WINDOW)
    places, labels = torch.from_numpy(examples.places), torch.from_numpy(examples.labels)
    steps = epochs * (len(places) // BATCH + 1)
    best = torch.optim.Adam(model.parameters(), lr=RATE, betas=(0.9, 0.98), eps=1e-8)
    schedule = torch.optim.lr_scheduler.OneCycleLR(best, RATE, total_steps=steps, pct_start=0.1)
    share = torch.tensor(DROP)
    for _ in range(epochs):
        for part in torch.randperm(len(places), generator=generator).split(BATCH):
            around = ids[places[part][:, None] + window].reshape(-1)
            features = rows[around]
            dropped = torch.rand(features.shape, generator=generator) < share
            features = torch.where(dropped & (around > 0)[:, None], blank, features)
            vectors = model["table"](features).clamp(-LIMIT, LIMIT).reshape(len(part), -1)
            hidden = torch.nn.functional.dropout(torch.relu(model["first"](vectors)), 0.1)
            loss = torch.nn.functional.cross_entropy(model["second"](hidden), labels[part], label_smoothing=0.02)
            best.zero_grad()
            loss.backward()
            best.step()
            schedule.step()


def _rounded(model: Any, rows: Ints, examples: Examples) -> Network:
    """The nearest network of whole numbers; the scales are those that a sample of the examples needs."""
    table, first, bias, second, offset = (
        tensor.detach().double().numpy()
        for tensor in (
            model["table"].weight,
            model["first"].weight.T,
            model["first"].bias,
            model["second"].weight.T,
            model["second"].bias,
        )
    )
    sums = np.clip(table[rows].sum(1), -LIMIT, LIMIT)
    unit, step = TOP / LIMIT, TOP / np.abs(first).max()
    sample = examples.places[:: len(examples.places) // 4096 + 1]
    hidden = sums[examples.ids[sample[:, None] + WINDOW]].reshape(len(sample), -1) @ first + bias
    shift = 2.0 ** np.floor(np.log2(255 / (np.quantile(hidden, 0.9999) * unit * step)))
    last = TOP / np.abs(second).max()
    return Network(
        np.clip(np.rint(table * unit), -TOP, TOP).astype(np.int8),
        np.rint(first * step).astype(np.float32),
        np.rint(bias * unit * step).astype(np.float32),
        float(shift),
        np.rint(second * last).astype(np.float32),
        np.rint(offset * last * unit * step * shift).astype(np.float32),
        float(last * unit * step * shift),
    )


def blank_rows(starts: Sequence[int]) -> tuple[int, ...]:
    """The row of each slot that says nothing: an unknown word, no affix, no list."""
    return (starts[0] + 4, starts[1] + 1, starts[2] + 1, starts[3] + 1, starts[4], starts[5], starts[6])[:SLOTS]
