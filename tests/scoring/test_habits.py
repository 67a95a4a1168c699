"""Copies, loops and what is known by heart: found where they are, and held against the references' own."""

import numpy as np
import pytest

from pipelines import spec
from pipelines.scoring import habits

SCORING = spec.Scoring(lead_after="Description: ", resamples=300)
SOURCE = "Package: x\nSection: games\nDescription: A real-time strategy game of ancient warfare, with catapults and bears."


@pytest.mark.parametrize(
    ("output", "copies"),
    [
        (SOURCE, True),
        ("Package: x Section: games Description: A real-time strat", True),  # cut in mid-word
        ("a real-time strategy game of ancient war", True),  # from the field on
        ("A real-time strategy", True),
        ("A real", False),  # too short to say
        ("strategy game with catapults and bears", False),
        ("ancient warfare, with catapults and bears", False),  # its end is no beginning
        ("", False),
    ],
)
def test_a_copy_begins_as_its_source_does(output: str, copies: bool) -> None:
    assert habits.copied(SOURCE, output, SCORING.lead_after) == copies


def test_a_translation_that_is_its_source_is_a_copy_and_a_name_is_none() -> None:
    assert habits.copied("open the last document again", "Open the last document again!", "")
    assert not habits.copied("open the last document again", "das letzte Dokument wieder öffnen", "")
    assert not habits.copied("<URL_1> GeoJSON", "<URL_1> GeoJSON", "")


def test_shares_stand_beside_the_references() -> None:
    copied = habits.copying([SOURCE] * 4, ["A real-time strategy game"] * 3 + ["war"], ["war"] * 3 + [SOURCE], SCORING)
    assert (copied["outputs"]["count"], copied["references"]["count"]) == (3, 1)
    looping = habits.looping(["a b"] * 2, ["salad salad salad salad", "salad"], ["salad", "salad"], SCORING)
    assert (looping["outputs"]["value"], looping["references"]["value"]) == (0.5, 0.0)
    low, high = looping["outputs"]["interval"]
    assert low < 0.5 < high


def test_what_is_known_by_heart_is_so_but_for_a_letter() -> None:
    assert habits.by_heart(["Strategy game of warfare.", "war", ""], ["strategy game of warfare", "strategy game", ""]) == [
        True, False, False,
    ]  # fmt: skip


def test_the_gap_tells_an_overfit_model_from_a_learned_one() -> None:
    rng = np.random.default_rng(8)
    held_out = rng.uniform(0, 60, 300)
    known, unknown = [True] * 150 + [False] * 50, [False] * 300
    overfit = habits.overfit(rng.uniform(80, 100, 200), held_out, (known, unknown), SCORING)
    learned = habits.overfit(rng.uniform(5, 65, 200), held_out, ([False] * 200, unknown), SCORING)
    assert overfit is not None
    assert learned is not None
    assert overfit["gap"]["interval"][0] > 50
    assert learned["gap"]["interval"][1] < 10
    assert (overfit["verbatim"]["seen"]["value"], overfit["verbatim"]["held_out"]["value"]) == (0.75, 0.0)
    assert habits.overfit(np.zeros(9), held_out, ([], unknown), SCORING) is None
