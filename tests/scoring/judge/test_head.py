"""The head: what it learns, what it refuses, and that its probabilities can be taken at their word."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from pipelines.errors import UserError
from pipelines.scoring.judge.head import Floats, Head, Penalty, auroc, calibrated, calibration, fit, sigmoid

NAMES = ("good", "noise", "bad")
SIGNS = {"good": -1, "noise": 0, "bad": 1}


def sample(n: int = 4_000, seed: int = 1) -> tuple[Floats, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 3)) * [1, 1, 10] + [0, 5, 100]
    logit = -1.5 * values[:, 0] + 0.1 * (values[:, 2] - 100) - 0.5
    return values, rng.random(n) < sigmoid(logit)


def test_it_finds_what_made_the_data() -> None:
    values, bad = sample(20_000)
    head = fit(values, NAMES, bad, SIGNS, penalty=Penalty(0.0))
    assert head.weights == pytest.approx((-1.5, 0.0, 1.0), abs=0.08)
    assert head.intercept == pytest.approx(-0.5, abs=0.08)


def test_signs_hold_against_the_data() -> None:
    values, bad = sample()
    head = fit(values, NAMES, bad, {"good": 1, "bad": 1})
    assert head.columns == ("good", "bad")
    assert head.weights[0] == 0 < head.weights[1]


def test_evidence_that_never_occurred_counts_as_expected() -> None:
    values, bad = sample()
    rare = np.zeros((len(values), 1))
    expected = Penalty(expected={"rare": 2.0, "bad": 0.3})
    head = fit(np.hstack([values, rare]), (*NAMES, "rare"), bad, {**SIGNS, "rare": 1}, penalty=expected)
    assert head.weights[3] == pytest.approx(2.0, abs=1e-3)
    plain = fit(values, NAMES, bad, SIGNS)
    assert plain.weights[2] < head.weights[2] < 1.1  # the data's weight is 1: what pulled it to 0 now pulls it to 0.3


def test_its_probabilities_hold_on_other_data_and_at_another_prevalence() -> None:
    head = fit(*_with_names(sample()), SIGNS, penalty=Penalty(1e-4))
    values, bad = sample(seed=2)
    told = calibration(head.probabilities(values, NAMES), bad)
    assert all(each.low - 0.05 <= at <= each.high + 0.05 for at, each in told.bins)
    assert told.brier.low < told.brier.value < told.brier.high < bad.mean() * (1 - bad.mean())
    json.dumps(told.plain(), allow_nan=False)
    rare = fit(*_with_names(sample()), SIGNS, prevalence=0.05, penalty=Penalty(1e-4))
    weight = np.where(bad, 0.05 / bad.mean(), 0.95 / (1 - bad.mean()))
    assert np.average(rare.probabilities(values, NAMES), weights=weight) == pytest.approx(0.05, abs=0.01)


def _with_names(told: tuple[Floats, np.ndarray]) -> tuple[Floats, tuple[str, ...], np.ndarray]:
    return told[0], NAMES, told[1]


def test_telling_domains_apart_earns_nothing() -> None:
    rng = np.random.default_rng(3)
    domain = rng.random(4_000) < 0.5
    bad = rng.random(4_000) < np.where(domain, 0.9, 0.1)
    values = (domain + rng.normal(scale=0.1, size=4_000))[:, None]
    pooled = fit(values, ("which",), bad, {"which": 0})
    apart = fit(values, ("which",), bad, {"which": 0}, domains=domain.astype(str).tolist())
    assert abs(apart.weights[0]) < 0.1 < abs(pooled.weights[0])


def test_weights_count_rows() -> None:
    values, bad = sample(400)
    twice = fit(np.vstack([values, values[:100]]), NAMES, np.concatenate([bad, bad[:100]]), SIGNS)
    weighed = fit(values, NAMES, bad, SIGNS, weights=np.where(np.arange(400) < 100, 2.0, 1.0))
    moved = twice.probabilities(values, NAMES) - weighed.probabilities(values, NAMES)
    assert np.abs(moved).max() < 0.02  # the columns' moments are not weighed


def test_a_missing_value_counts_as_the_columns_mean() -> None:
    values, bad = sample()
    head = fit(values, NAMES, bad, SIGNS)
    row = values[:1].copy()
    row[0, 2] = np.nan
    mean = row.copy()
    mean[0, 2] = head.mean[2]
    assert head.logits(row, NAMES)[0] == pytest.approx(head.logits(mean, NAMES)[0], abs=1e-9)


@given(st.integers(1, 50), st.integers(0, 40))
@settings(max_examples=30, deadline=None)
def test_the_same_bits_in_any_batch(size: int, start: int) -> None:
    values, bad = sample(200)
    head = fit(values, NAMES, bad, SIGNS)
    whole = head.probabilities(values, NAMES)
    assert np.array_equal(head.probabilities(values[start : start + size], NAMES), whole[start : start + size])
    assert np.array_equal(head.probabilities(values[:, ::-1], NAMES[::-1]), whole)


def test_json_keeps_it() -> None:
    head = fit(*_with_names(sample()), SIGNS)
    assert Head.read(json.loads(json.dumps(head.plain()))) == head


@pytest.mark.parametrize(
    "damage", [{"mean": [0.0]}, {"scale": [0.0, 1.0, 1.0]}, {"weights": "abc"}, {"columns": None}, {"intercept": "x"}]
)
def test_a_damaged_head_is_refused(damage: dict[str, object]) -> None:
    plain = fit(*_with_names(sample(200)), SIGNS).plain()
    with pytest.raises(UserError, match="judge's head"):
        Head.read({**plain, **damage})


def test_what_it_cannot_learn_from_is_refused() -> None:
    values, bad = sample(100)
    with pytest.raises(UserError, match="no column lost"):
        fit(values, NAMES, bad, {"lost": 1})
    with pytest.raises(UserError, match="the same truth"):
        fit(values, NAMES, np.ones(100), SIGNS)
    with pytest.raises(UserError, match="no such evidence"):
        fit(values, NAMES, bad, SIGNS).logits(values, ("good", "noise", "other"))


def test_calibrated_to_a_domain() -> None:
    values, bad = sample()
    head = fit(values, NAMES, bad, SIGNS).shifted(3.0)
    own = calibrated(head, head.logits(values, NAMES), bad, 0.2)
    before, after = (each.probabilities(values, NAMES) for each in (head, own))
    assert stats.spearmanr(before, after).statistic > 0.9999
    weight = np.where(bad, 0.2 / bad.mean(), 0.8 / (1 - bad.mean()))
    assert np.average(after, weights=weight) == pytest.approx(0.2, abs=0.01)


def test_auroc_is_the_known_one_with_an_interval_that_covers() -> None:
    values, bad = sample(300)
    found = auroc(np.round(values[:, 2]), bad)  # with ties
    assert found.value == pytest.approx(roc_auc_score(bad, np.round(values[:, 2])), abs=1e-12)
    assert found.low < found.value < found.high
    truth, covered = stats.norm.cdf(1 / np.sqrt(2)), 0
    rng = np.random.default_rng(5)
    for _ in range(400):
        scores = np.concatenate([rng.normal(1, 1, 40), rng.normal(0, 1, 60)])
        each = auroc(scores, np.arange(100) < 40)
        covered += each.low <= truth <= each.high
    assert 0.92 <= covered / 400 <= 0.98


def test_auroc_without_a_miss_is_not_certain() -> None:
    found = auroc([0.9, 0.8, 0.1, 0.2], [True, True, False, False])
    assert (found.value, found.high) == (1, 1)
    assert found.low < 0.5
    with pytest.raises(UserError, match="fewer than two"):
        auroc([0.5, 0.5], [True, False])
