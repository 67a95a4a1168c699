"""A judge that changed is told from one that did not, and what cannot be told closes the gate."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.scoring.compare import share
from pipelines.scoring.judge.threshold import Frozen
from pipelines.scoring.labels.corrected import Stratum
from pipelines.scoring.labels.drift import FEWEST, drifted
from tests.benchmarks.labelling import Cell, drawn

FROZEN = Frozen("news", 0.6, 0.1, share(80, 100), share(15, 300), 0.2)
JUDGED = 10_000


def labelled(cell: Cell, labels: int, seed: int) -> tuple[Stratum, Stratum]:
    flagged = round(JUDGED * cell.flagged)
    *_, last = drawn(cell, np.array([flagged / JUDGED]), labels, np.random.default_rng(seed))
    n = [int(each[0]) for each in (last.flagged, last.flagged_bad, last.passed, last.passed_bad)]
    return Stratum(flagged, n[0], n[1]), Stratum(JUDGED - flagged, n[2], n[3])


@pytest.mark.parametrize("prevalence", [0.05, 0.3])
def test_the_same_judge_is_unchanged_at_any_prevalence(prevalence: float) -> None:
    said = [drifted(FROZEN, *labelled(Cell(prevalence, 0.05, 0.8), 200, seed)) for seed in range(20)]
    assert all(each.verdict == "unchanged" and not each.closes for each in said)


@pytest.mark.parametrize("now", [Cell(0.1, 0.3, 0.8), Cell(0.3, 0.05, 0.2)], ids=["more false positives", "less found"])
def test_a_changed_judge_closes(now: Cell) -> None:
    found = drifted(FROZEN, *labelled(now, 400, 1))
    assert found.verdict == "changed"
    assert json.loads(json.dumps(found.plain()))["closes"] is True
    fresh, frozen = (found.fpr, found.frozen_fpr) if now.fpr > 0.1 else (found.tpr, found.frozen_tpr)
    assert fresh.low > frozen.high or fresh.high < frozen.low


def test_labels_by_verdict_are_weighted_back() -> None:
    """Half the labels are flagged, yet the judge flags 5 % of what is supported: counted as they come it would be 28 %."""
    flagged, passed = Stratum(1_250, 100, 64), Stratum(8_750, 100, 2)
    found = drifted(FROZEN, flagged, passed)
    assert found.fpr.value == pytest.approx(0.05, abs=0.01)
    assert found.tpr.value == pytest.approx(0.8, abs=0.05)
    assert found.fpr.low < 0.05 < found.fpr.high


@pytest.mark.parametrize(
    "sides",
    [
        (Stratum(1_000, FEWEST - 1, 10), Stratum(9_000, 100, 2)),
        (Stratum(1_000, FEWEST, 10, 1), Stratum(9_000, 100, 2)),
        (Stratum(1_000, 50), Stratum(9_000, 100)),
        (Stratum(1_000, 50, 50), Stratum(9_000, 100, 100)),
        (Stratum(1_000), Stratum(9_000)),
    ],
)
def test_what_cannot_be_told_closes(sides: tuple[Stratum, Stratum]) -> None:
    found = drifted(FROZEN, *sides)
    assert found.verdict == "unknown"
    assert found.closes


@given(st.integers(20, 60), st.integers(20, 60), st.data())
@settings(max_examples=10, deadline=None)
def test_answers_left_open_prove_nothing(n1: int, n0: int, data: st.DataObject) -> None:
    bad, missed = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n0))
    open_ = drifted(FROZEN, Stratum(1_000, n1 + 3, bad, 3), Stratum(9_000, n0 + 3, missed, 3))
    decided = drifted(FROZEN, Stratum(1_000, n1 + 3, bad + 1), Stratum(9_000, n0 + 3, missed + 3))
    for wide, narrow in ((open_.tpr, decided.tpr), (open_.fpr, decided.fpr)):
        assert wide.low <= narrow.low <= narrow.high <= wide.high
    if open_.verdict == "changed":
        assert decided.verdict == "changed"


def test_counts_that_contradict_are_named() -> None:
    with pytest.raises(UserError, match=r"passed: .* does not add up"):
        drifted(FROZEN, Stratum(10, 5, 2), Stratum(10, 11))
