"""A threshold that errs where it costs least, intervals that cover, and no pooling over domains."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.errors import UserError
from pipelines.scoring.judge.threshold import FEWEST, Frozen, choose, freeze

levels = st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.booleans()), min_size=8, max_size=60)


def drawn(seed: int, n: int, rate: float = 0.5, shift: float = 2.0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores whose log-odds are normal, `shift` higher where the output is unsupported."""
    rng = np.random.default_rng(seed)
    bad = rng.random(n) < rate
    return 1 / (1 + np.exp(-(rng.normal(size=n) + shift * bad - 1))), bad


def test_rare_faults_want_few_false_positives_and_common_ones_balance() -> None:
    """70 % found at 1 % false positives, or 95 % at 15 %: the second has the higher balanced accuracy."""
    bad = np.repeat([0.9, 0.5, 0.1], [70, 25, 5])
    good = np.repeat([0.9, 0.5, 0.1], [1, 14, 85])
    scores, labels = np.concatenate([bad, good]), np.repeat([True, False], 100)
    assert choose(scores, labels, 0.05)[0] == pytest.approx(0.7)
    assert choose(scores, labels, 0.5)[0] == pytest.approx(0.3)


@given(levels, st.floats(0.01, 0.99))
@settings(max_examples=50, deadline=None)
def test_no_other_threshold_costs_less(rows: list[tuple[float, bool]], prevalence: float) -> None:
    scores, labels = np.array([score for score, _ in rows]), np.array([bad for _, bad in rows])
    costs = {}
    for at in (0.2, 0.4, 0.6, 0.8):
        tpr, fpr = ((np.sum(scores[labels == kind] >= at) + 0.5) / (np.sum(labels == kind) + 1) for kind in (True, False))
        q = prevalence * tpr + (1 - prevalence) * fpr
        if tpr > fpr and (scores < at).any() and (scores >= at).any():
            costs[at] = q * (1 - q) / (tpr - fpr) ** 2
    if not costs:
        with pytest.raises(ValueError, match="no threshold"):
            choose(scores, labels, prevalence)
        return
    threshold, cost = choose(scores, labels, prevalence)
    assert cost == pytest.approx(min(costs.values()))
    assert scores.min() < threshold < scores.max()


def test_the_published_intervals_cover_though_the_threshold_was_chosen() -> None:
    """The true rates at the chosen threshold, of normal log-odds, lie within the intervals in 95 % of freezes at least."""
    from scipy import stats

    covered = []
    for seed in range(80):
        (frozen,) = freeze(*drawn(seed, 160), ["news"] * 160, 0.1)
        at = np.log(frozen.threshold / (1 - frozen.threshold)) + 1
        for rate, shift in ((frozen.tpr, 2.0), (frozen.fpr, 0.0)):
            covered.append(rate.low <= stats.norm.sf(at - shift) <= rate.high)
    assert np.mean(covered) >= 0.95


def test_a_domain_is_frozen_by_its_own_labels_alone() -> None:
    (scores, labels), (others, other_labels) = drawn(1, 200), drawn(2, 300, shift=4.0)
    (alone,) = freeze(scores, labels, ["news"] * 200, 0.1)
    both = freeze([*others, *scores], [*other_labels, *labels], ["chat"] * 300 + ["news"] * 200, 0.1)
    assert [each.domain for each in both] == ["chat", "news"]
    assert both[1] == alone
    assert alone.tpr.n + alone.fpr.n == 100 + (int(labels.sum()) % 2)
    assert both[0].threshold != alone.threshold


def test_a_judge_that_only_tells_domains_apart_is_refused() -> None:
    scores = [0.9] * 100 + [0.1] * 100
    labels = [True] * 75 + [False] * 25 + [True] * 25 + [False] * 75  # pooled: 75 % found, 25 % false positives
    with pytest.raises(UserError, match=r"domain chat: no threshold .* train it on this domain"):
        freeze(scores, labels, ["chat"] * 100 + ["news"] * 100, 0.1)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 0.5))
def test_what_is_written_is_read_back(seed: int, prevalence: float) -> None:
    (frozen,) = freeze(*drawn(seed, 200), ["news"] * 200, prevalence)
    assert Frozen.read(json.loads(json.dumps(frozen.plain()))) == frozen
    assert frozen.tpr.low <= frozen.tpr.value <= frozen.tpr.high


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"prevalence": 0.0}, "prevalence: 0 lies outside 0 to 1"),
        ({"domains": ["news"]}, "60 scores, 60 labels, 1 domains"),
        ({"scores": [], "unsupported": [], "domains": []}, "0 scores, 0 labels, 0 domains"),
        ({"scores": [0.5] * 59 + [1.5]}, "scores: row 59 lies outside 0 to 1"),
        ({"scores": [float("nan")] + [0.5] * 59}, "scores: row 0 lies outside 0 to 1"),
        ({"unsupported": [True] * 50 + [False] * 10}, f"domain news: 10 labels say supported, {FEWEST} are needed"),
        ({"unsupported": [False] * 60}, "domain news: 0 labels say unsupported"),
    ],
)
def test_bad_input_is_named(changed: dict[str, object], line: str) -> None:
    given_ = {"scores": [0.9, 0.1] * 30, "unsupported": [True, False] * 30, "domains": ["news"] * 60, "prevalence": 0.1}
    with pytest.raises(UserError, match=line):
        freeze(**(given_ | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("plain", [{}, {"tpr": 0.9, "fpr": 0.1}, {"tpr": {"value": 0.9}, "fpr": {}}])
def test_a_broken_record_is_refused(plain: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"threshold record: .*freeze the threshold again"):
        Frozen.read(plain)
