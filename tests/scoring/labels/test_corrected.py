"""The corrected rate: three numbers always, an interval that covers at every look, labels asked for where they tell most."""

import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.scoring.compare import share
from pipelines.scoring.judge.threshold import Frozen
from pipelines.scoring.labels.corrected import (
    Answer,
    Corrected,
    Label,
    Stratum,
    bets,
    corrected_rate,
    gated,
    next_labels,
    tally,
)
from tests.benchmarks.labelling import Cell, gates, looks, plus_plus

FROZEN = Frozen("news", 0.6, 0.1, share(82, 100), share(14, 300), 0.2)
RUNS = 300


@st.composite
def strata(draw: st.DrawFn) -> tuple[Stratum, Stratum]:
    """Both with at least one clear label."""
    sides = []
    for _ in range(2):
        labels = draw(st.integers(1, 60))
        unclear = draw(st.integers(0, min(3, labels - 1)))
        bad = draw(st.integers(0, labels - unclear))
        sides.append(Stratum(draw(st.integers(labels, 5_000)), labels, bad, unclear))
    return sides[0], sides[1]


@pytest.mark.parametrize("cell", [Cell(0.01, 0.05, 0.8), Cell(0.1, 0.35, 0.5), Cell(0.3, 0.0, 0.95)])
def test_the_interval_covers_at_every_look_where_a_fixed_one_does_not(cell: Cell) -> None:
    rng = np.random.default_rng(7)
    always = np.ones((2, RUNS), dtype=np.bool_)
    for outputs, model in looks(cell, bets(cell.frozen(rng)), RUNS, 100, 10_000, rng):
        always &= np.stack([outputs.covers, model.covers])
    assert always.mean(axis=1).min() >= 0.945
    fixed = np.ones(RUNS, dtype=np.bool_)
    for low, high in plus_plus(cell, RUNS, 100, 10_000, rng):
        fixed &= (low <= cell.prevalence) & (cell.prevalence <= high)
    assert fixed.mean() < 0.8


def test_a_judge_that_drifted_costs_width_and_no_coverage() -> None:
    rng = np.random.default_rng(8)
    now, before = Cell(0.1, 0.35, 0.5), Cell(0.1, 0.02, 0.95)
    always, widths = np.ones(RUNS, dtype=np.bool_), []
    for believed in (before, now):
        for outputs, _ in looks(now, bets(believed.frozen(rng)), RUNS, 100, 10_000, rng):
            always &= outputs.covers
        widths.append(outputs.width)
    assert always.mean() >= 0.945
    assert widths[0] > widths[1]


def test_no_labels_no_rate() -> None:
    found = corrected_rate(Stratum(120), Stratum(880))
    assert found == Corrected(0.12, None, 0)
    assert str(found) == "judged 12.0%, corrected unknown, 0 labels"
    assert corrected_rate(Stratum(120, 10, 5), Stratum(880)).corrected is None
    assert corrected_rate(Stratum(120, 10, 5), Stratum(880, 4, 0, 4)).corrected is None
    assert corrected_rate(Stratum(0), Stratum(880, 4)).corrected is not None  # nothing was flagged


def test_three_numbers_in_a_line_and_as_json() -> None:
    found = corrected_rate(Stratum(1_500, 80, 48), Stratum(8_500, 120, 3), FROZEN)
    assert found.judged == 0.15
    assert found.labels == 200
    assert found.corrected is not None
    assert found.corrected.value == pytest.approx(0.15 * 48 / 80 + 0.85 * 3 / 120)
    assert str(found).startswith("judged 15.0%, corrected 11.1% [")
    assert str(found).endswith("%], 200 labels")
    plain = json.loads(json.dumps(found.plain()))
    assert plain["corrected"]["high"] == found.corrected.high


@given(strata(), st.sampled_from([None, FROZEN]))
@settings(max_examples=15, deadline=None)
def test_the_judged_outputs_are_known_better_than_the_model(sides: tuple[Stratum, Stratum], frozen: Frozen | None) -> None:
    model, outputs = (corrected_rate(*sides, frozen, of=of).corrected for of in ("model", "outputs"))
    assert model is not None
    assert outputs is not None
    assert 0 <= model.low <= outputs.low <= outputs.value <= outputs.high <= model.high <= 1


@given(strata(), st.data())
@settings(max_examples=15, deadline=None)
def test_what_nobody_could_tell_may_be_either(sides: tuple[Stratum, Stratum], data: st.DataObject) -> None:
    assume(any(side.unclear for side in sides))
    told = [Stratum(side.judged, side.labels, side.unsupported + data.draw(st.integers(0, side.unclear))) for side in sides]
    open_, decided = corrected_rate(*sides).corrected, corrected_rate(told[0], told[1]).corrected
    assert open_ is not None
    assert decided is not None
    assert open_.low <= decided.low <= decided.high <= open_.high


def test_what_was_frozen_narrows() -> None:
    sides = Stratum(1_500, 60, 40), Stratum(8_500, 140, 3)
    with_, without = corrected_rate(*sides, FROZEN).corrected, corrected_rate(*sides).corrected
    assert with_ is not None
    assert without is not None
    assert with_.high - with_.low < without.high - without.low


@pytest.mark.parametrize(
    ("sides", "verdict"),
    [
        ((Stratum(200, 40, 36), Stratum(9_800, 160, 0)), "within"),
        ((Stratum(1_000, 60, 50), Stratum(9_000, 140, 1)), "inconclusive"),
        ((Stratum(3_000, 100, 80), Stratum(7_000, 100, 1)), "over"),
        ((Stratum(3_000), Stratum(7_000)), "unknown"),
    ],
)
def test_what_labels_say_of_a_budget(sides: tuple[Stratum, Stratum], verdict: str) -> None:
    found = gated(*sides, 0.1, FROZEN)
    assert found.verdict == verdict
    assert json.loads(json.dumps(found.plain())) == {"verdict": verdict, "budget": 0.1, "low": found.low, "high": found.high}


@given(strata(), st.floats(0.01, 0.6), st.sampled_from([None, FROZEN]))
@settings(max_examples=15, deadline=None)
def test_a_gate_agrees_with_its_bounds(sides: tuple[Stratum, Stratum], budget: float, frozen: Frozen | None) -> None:
    found = gated(*sides, budget, frozen)
    told = corrected_rate(*sides, frozen).corrected
    assert told is not None
    assert found.low <= told.value <= found.high
    assert (found.verdict == "within") == (found.high < budget)
    assert (found.verdict == "over") == (found.low > budget)


def test_a_bad_canary_is_not_let_in_and_a_good_one_is() -> None:
    rng = np.random.default_rng(9)
    for times, let_in, sent_back in ((0.1, 1.0, 0.0), (1.0, 0.0, 0.0), (2.0, 0.0, 1.0)):
        cell = Cell(times * 0.1, 0.02, 0.9)
        said = gates(cell, cell.frozen(rng), 0.1, 200, 200, 10_000, rng)
        assert np.mean(said > 0) == pytest.approx(let_in, abs=0.05)
        assert np.mean(said < 0) == pytest.approx(sent_back, abs=0.05)


@pytest.mark.parametrize("budget", [0.0, 1.0, float("nan")])
def test_a_budget_outside_its_range_is_named(budget: float) -> None:
    with pytest.raises(UserError, match=r"budget: .* lies outside 0 to 1"):
        gated(Stratum(10), Stratum(90), budget)


@given(strata(), st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_as_many_labels_as_there_are_and_no_more(sides: tuple[Stratum, Stratum], size: int) -> None:
    flagged, passed = sides
    asked = next_labels(flagged, passed, size)
    left = flagged.judged - flagged.labels, passed.judged - passed.labels
    assert all(0 <= ask <= have for ask, have in zip(asked, left, strict=True))
    assert sum(asked) == min(size, sum(left))


def test_labels_go_where_they_tell_most() -> None:
    unsure, sure = Stratum(3_000, 50, 25), Stratum(7_000, 50, 0)
    assert next_labels(unsure, sure, 20) == (20, 0)
    assert next_labels(sure, unsure, 20) == (0, 20)
    assert next_labels(Stratum(0), Stratum(100), 20) == (0, 20)


def test_labels_are_counted_by_item_and_stand_for_their_stratum() -> None:
    labels = [
        Label("a", True, "unsupported"),
        Label("a", True, "unsupported"),  # a second reviewer
        Label("b", True, "can't tell"),
        Label("b", True, "supported"),
        Label("c", False, "can't tell"),
        Label("d", False, "supported"),
    ]
    flagged, passed = tally(labels, 100, 900)
    assert flagged == Stratum(100, 2, 1, 0)
    assert passed == Stratum(900, 2, 0, 1)
    assert (flagged.weight, passed.weight, Stratum(900).weight) == (50.0, 450.0, 0.0)
    assert tally(reversed(labels), 100, 900) == (flagged, passed)


@pytest.mark.parametrize(
    ("second", "line"),
    [
        (("a", True, "supported"), "item a is called supported and unsupported; let one more reviewer decide"),
        (("a", False, "unsupported"), "item a is both flagged and passed"),
        (("b", True, "perhaps"), "item b has the answer 'perhaps'; take supported, unsupported or can't tell"),
        (("b", True, "supported"), "2 flagged items, 1 were judged so"),
    ],
)
def test_labels_that_contradict_are_named(second: tuple[str, bool, Answer], line: str) -> None:
    with pytest.raises(UserError, match=line):
        tally([Label("a", True, "unsupported"), Label(*second)], 1, 9)


@pytest.mark.parametrize(
    ("flagged", "line"),
    [
        (Stratum(10, 11), "flagged: .* does not add up"),
        (Stratum(10, 5, 4, 2), "flagged: .* does not add up"),
        (Stratum(10, 5, -1), "flagged: .* does not add up"),
        (Stratum(0), "judged: 0 outputs"),
    ],
)
def test_counts_that_contradict_are_named(flagged: Stratum, line: str) -> None:
    with pytest.raises(UserError, match=line):
        corrected_rate(flagged, Stratum(0))
