"""Opponents and slices: what is found where it was planted, and not where chance put it."""

import numpy as np
import pytest

from pipelines import spec
from pipelines.scoring import comparison
from pipelines.scoring.compare import FEWEST
from pipelines.scoring.heldout import HeldOut

N = 240
SOURCES = [
    f"Package: p{i}\nSection: {('games', 'doc', 'rare')[2 if i < 5 else i % 2]}\n" + "word " * (5 + i % 20)
    + ("since 1999 by <PERSON_1> at Acme " if i % 3 == 0 else "and so on and so forth ")
    + ("Qt bindings" if i % 6 == 0 else "others")
    for i in range(N)
]  # fmt: skip
REFERENCES = ["qt thing" if i == 1 else "thing" for i in range(N)]
IDS = [str(i) for i in range(N)]
TEST = HeldOut(IDS, SOURCES, REFERENCES)
ASKED = spec.Slices(domain="Section: ", terms=("Qt", "nowhere"))


def scoring(**options: object) -> spec.Scoring:
    return spec.Scoring.model_validate({"resamples": 1_000, "slices": ASKED, **options})


def test_slices_are_those_asked_for() -> None:
    found = {(part.dimension, part.name): set(part.rows.tolist()) for part in comparison.slices(TEST, ASKED)}
    assert set.union(*(found["length", name] for name in ("short", "middle", "long"))) == set(range(N))
    assert found["domain", "games"] == {i for i in range(5, N) if i % 2 == 0}
    assert found["domain", "rare"] == set(range(5))
    assert found["entities", "rich"] == {i for i in range(N) if i % 3 == 0}, "a third has names and numbers"
    assert found["entities", "rich"] | found["entities", "other"] == set(range(N))
    assert found["terms", "Qt"] == {1, *range(0, N, 6)}, "in any case, in the source or in the reference"
    assert found["terms", "nowhere"] == set()
    nothing = spec.Slices(length=False, entities=False)
    assert list(comparison.slices(TEST, nothing)) == []
    alike = HeldOut(IDS[:3], ["a"] * 3, ["b"] * 3)
    assert [part.dimension for part in comparison.slices(alike, spec.Slices())] == ["length"] * 3
    grown = HeldOut(IDS, SOURCES, REFERENCES, frozenset(IDS[::5]))
    fresh = {(part.dimension, part.name): set(part.rows.tolist()) for part in comparison.slices(grown, nothing)}
    assert fresh == {("fresh", "yes"): set(range(0, N, 5)), ("fresh", "no"): set(range(N)) - set(range(0, N, 5))}


def test_small_slices_are_left_out() -> None:
    flat = np.full(N, 50.0)
    parts = comparison.sliced(TEST, {"model": flat, "lead": flat}, scoring())
    assert {(part["dimension"], part["slice"]) for part in parts} == {
        ("length", "short"), ("length", "middle"), ("length", "long"), ("domain", "games"), ("domain", "doc"),
        ("entities", "rich"), ("entities", "other"), ("terms", "Qt"),
    }  # fmt: skip
    assert {part["against"] for part in parts} == {"lead"}
    few = HeldOut(IDS[:29], SOURCES[:29], REFERENCES[:29])
    assert comparison.sliced(few, {"model": flat[:29], "lead": flat[:29]}, scoring()) == []


def test_a_regression_in_one_domain_is_found_there_and_only_there() -> None:
    rng = np.random.default_rng(6)
    champion = rng.normal(50, 10, N)
    ours = champion + rng.normal(0, 3, N)
    ours[[i for i in range(N) if i % 6 == 0]] -= 8  # the pairs that speak of Qt
    parts = comparison.sliced(TEST, {"model": ours, "champion": champion, "lead": champion}, scoring())
    verdicts = {(part["dimension"], part["slice"]): part["difference"]["verdict"] for part in parts}
    assert verdicts["terms", "Qt"] == "worse"
    assert verdicts["domain", "doc"] == "not worse", "none of these is even"
    assert all(part["difference"]["p"] <= part["difference"]["p_adjusted"] for part in parts)
    assert all(part["against"] == "champion" for part in parts)


def test_equal_models_differ_in_no_slice_once_adjusted() -> None:
    """Unadjusted, one of some eight slices would differ in about a third of such runs."""
    plain = sure = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        champion = rng.normal(50, 10, N)
        parts = comparison.sliced(TEST, {"model": champion + rng.normal(0, 5, N), "champion": champion}, scoring(resamples=400))
        plain += sum(part["difference"]["p"] < 0.05 for part in parts)
        sure += sum(part["difference"]["p_adjusted"] < 0.05 for part in parts)
        assert not any(
            part["difference"]["verdict"] in ("better", "worse") for part in parts if part["difference"]["p_adjusted"] > 0.05
        )
    assert plain > sure


@pytest.mark.parametrize(("shift", "verdict"), [(3.0, "better"), (-0.2, "not worse"), (-6.0, "worse")])
def test_each_opponent_has_its_gain_interval_p_and_verdict(shift: float, verdict: str) -> None:
    rng = np.random.default_rng(7)
    theirs = rng.normal(40, 15, N)
    noise = rng.normal(0, 2, N)
    points = {"model": theirs + shift + noise - noise.mean(), "champion": theirs, "lead": theirs}
    found = comparison.against(points, scoring())
    assert list(found) == ["champion", "lead"]
    champion, lead = found["champion"], found["lead"]
    assert champion["interval"][0] < champion["difference"] < champion["interval"][1]
    assert (champion["verdict"], champion["margin"]) == (verdict, 2.0)
    assert lead["margin"] == 0, "what is no champion has no claim to patience"
    assert (lead["p"] < 0.05) == (abs(shift) > 1)


def test_too_few_pairs_are_never_more_than_inconclusive() -> None:
    few = np.arange(FEWEST - 1, dtype=np.float64)
    found = comparison.against({"model": few + 50, "champion": few}, scoring())["champion"]
    assert found["verdict"] == "inconclusive"
