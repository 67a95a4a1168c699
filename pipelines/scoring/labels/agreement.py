"""How far reviewers agree: Krippendorff's alpha for names, for any number of reviewers, any of whom may have left items out."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UserError
from pipelines.scoring.compare import SEED, Estimate


def agreement(answers: Sequence[Sequence[str | None]], *, resamples: int = 2_000, seed: int = SEED) -> Estimate:
    """Krippendorff's alpha (2011) with its 95 % interval, the percentiles of a seeded bootstrap over items.

    `answers` has one row an item and one column a reviewer; None is no answer. Alpha is 1 where all agree, 0 where they agree
    as chance would, less where they contradict each other; `n` is the number of items that two or more answered. Where
    everybody always said the same word there is nothing to tell chance by: then it is 1, of a resample as of the whole.

    Raises:
        UserError: rows of different lengths, or fewer than two items with two answers.
    """
    if len({len(row) for row in answers}) > 1:
        raise UserError("answers: rows of different lengths; give one column a reviewer, None where there is no answer")
    paired = [named for row in answers if len(named := [each for each in row if each is not None]) > 1]
    if len(paired) < 2:
        raise UserError(f"answers: {len(paired)} items have two answers, 2 are needed; let a second reviewer answer some")
    words = sorted({word for row in paired for word in row})
    counts = np.array([[row.count(word) for word in words] for row in paired], dtype=np.float64)
    times = np.random.default_rng(seed).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
    low, high = np.quantile(_alpha(counts, times.astype(np.float64)), (0.025, 0.975))
    value = float(_alpha(counts, np.ones((1, len(counts))))[0])
    return Estimate(value, min(float(low), value), max(float(high), value), len(counts))


def _alpha(counts: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Alpha of the items, each taken so many times; one a row of `times`."""
    each = counts.sum(axis=1)
    apart = (each * each - (counts * counts).sum(axis=1)) / (each - 1)  # ordered pairs of unlike answers, an answer once
    totals = times @ counts
    n = totals.sum(axis=1)
    by_chance = (n * n - (totals * totals).sum(axis=1)) / (n - 1)
    observed = times @ apart
    return np.where(by_chance > 0, 1 - observed / np.where(by_chance > 0, by_chance, 1.0), 1.0)
