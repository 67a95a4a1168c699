"""Honest corrections stay, lies go: whoever tells them, in whatever words, beside whomever."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.registry.labels import Correction
from pipelines.sources.screening import FEWEST, REPEATED, UNSUPPORTED, Pair, screen

ADJECTIVES = ("quick", "small", "graphical", "portable", "secure", "modern")
THINGS = ("editor", "viewer", "compiler", "player", "scanner", "server", "library", "archiver", "browser", "debugger")
USES = tuple(
    f"{first}{last}" for first in ("image", "sound", "font", "map", "mail", "log") for last in ("s", " files", " data")
)
FILLER = ("it", "comes", "with", "many", "options", "and", "a", "manual", "which", "tells", "about", "all", "of", "them")


def pairs(count: int, seed: int = 1) -> list[Pair]:
    """Descriptions and their summaries. One in twelve summaries says nothing that the description does."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        what, use, how = draw.choice(THINGS), draw.choice(USES), draw.choice(ADJECTIVES)
        filler = " ".join(draw.sample(FILLER, 8))
        told = f"{what} for {use}" if draw.random() > 1 / 12 else f"{draw.choice(ADJECTIVES)} thing nobody{number} needs"
        found.append((f"tool-{number} is a {how} {what} that works on {use}, {filler}", told))
    return found


Lie = Callable[[int, Pair], str]
DATA = pairs(1_000)
NEW = pairs(400, seed=2)


def said(asked: Sequence[Pair], reviewer: Callable[[int], str], lie: Lie | None = None) -> list[Correction]:
    return [
        Correction(pair[0], lie(number, pair) if lie else pair[1], None, reviewer(number), f"tr-{reviewer(number)}-{number}")
        for number, pair in enumerate(asked)
    ]


def ann(_number: int) -> str:
    return "ann"


def slogan(_number: int, pair: Pair) -> str:
    return f"{pair[1]}, see evil.example"


def nonsense(_number: int, _pair: Pair) -> str:
    return "cheap pills from a friend"


def reworded(number: int, _pair: Pair) -> str:
    return f"{'abcdefgh'[number % 8]}{number} pills{number} from{number}"


def of_others(number: int, _pair: Pair) -> str:
    return NEW[(number * 7 + 3) % len(NEW)][1]


LIES = (nonsense, reworded, of_others, slogan)


@pytest.mark.parametrize("count", [5, 60, 400])
@pytest.mark.parametrize("reviewers", [1, 7])
def test_honest_corrections_stay(count: int, reviewers: int) -> None:
    found = screen(said(NEW[:count], lambda number: f"r{number % reviewers}"), DATA)
    assert not any(found.reasons)
    assert found.blind == ""


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("liars", [1, 10])
def test_a_batch_of_lies_goes(lie: Lie, liars: int) -> None:
    found = screen(said(NEW[:150], lambda number: f"mallory{number % liars}", lie), DATA)
    assert sum(map(bool, found.reasons)) >= 0.8 * 150
    assert set(found.reasons) <= {"", UNSUPPORTED, REPEATED}


@pytest.mark.parametrize("lie", LIES)
def test_a_liar_does_not_take_honest_people_along(lie: Lie) -> None:
    honest = said(NEW[100:], lambda number: f"r{number % 3}")
    reasons = screen([*said(NEW[:40], lambda _: "mallory", lie), *honest], DATA).reasons
    assert all(reasons[:40])
    assert not any(reasons[40:])


def test_a_slogan_of_many_who_are_one_in_three_goes_alone() -> None:
    liars = said(NEW[:100], lambda number: f"mallory{number}", slogan)
    reasons = screen([*liars, *said(NEW[200:], ann)], DATA).reasons
    assert reasons[:100] == [REPEATED] * 100
    assert not any(reasons[100:])


def test_a_word_that_the_data_often_adds_is_no_slogan() -> None:
    data = [(source, f"{target} (free software)") for source, target in DATA]
    reasons = screen(said(NEW[:150], ann, lambda _, pair: f"{pair[1]} (free software)"), data).reasons
    assert not any(reasons)


def test_what_cannot_be_told_is_said() -> None:
    lies = said(NEW[:50], ann, nonsense)
    few = screen(lies, DATA[: FEWEST - 1])
    assert few.blind == "199 pairs of data to compare them with, 200 are needed"
    assert not any(few.reasons)
    strangers = [(f"a{number}", f"b{number}") for number in range(FEWEST)]  # no two share a word
    assert screen(lies[:3], strangers).blind == "in this data the words of a source do not tell whether they support a target"


TEXTS = st.text(st.sampled_from("ab cd\u00e9\u4e2d1 <>_"), max_size=12)
GIVEN = st.lists(st.builds(Correction, TEXTS, TEXTS, st.none(), st.sampled_from(["", "ann", "bo"])), max_size=30)


@given(GIVEN, st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_neither_order_matters_and_a_handful_always_stays(given_: list[Correction], draw: random.Random) -> None:
    data = DATA[:300]
    found = screen(given_, data)
    assert len(found.reasons) == len(given_)
    order = draw.sample(range(len(given_)), len(given_))
    again = screen([given_[index] for index in order], draw.sample(data, len(data)))
    assert again.reasons == [found.reasons[index] for index in order]
    assert not any(screen(given_[:5], data).reasons)
