"""Corruptions: each differs from what people wrote, says where, and does not hang on what else is corrupted."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.scoring.judge.corrupt import KINDS, NUMBER, Kind, Pairs, corrupt

SOURCES = [
    "Package: libfoo-dev\nDescription: Foo reads 3 kinds of Debian images, and is written in Python by <PERSON_1>.",
    "Package: libbar-dev\nDescription: Bar plays music on Debian servers without a screen, since 2011.",
    "Package: baz\nDescription: a fast compiler for the Oberon language with four backends.",
    "Package: qux\nDescription: draws maps of printers on KDE desktops.",
    "Package: quux\nDescription: Foo images shown on KDE desktops in March 2019.",
]
TARGETS = [
    "reader for 3 kinds of Debian images (by <PERSON_1>)",
    "plays music on Debian servers",
    "fast compiler for Oberon with four backends",
    "draws maps of printers, for KDE",
    "shows Foo images on KDE since March 2019",
]
PAIRS = Pairs(SOURCES, TARGETS)
GERMAN = Pairs(
    ["Show 3 files in Spyder", "The user is active", "Close the window with Indico", "Delete version 4.2 of %s"],
    ["3 Dateien in Spyder zeigen", "Der Benutzer ist aktiv", "Das Fenster mit Indico schließen", "Version 4.2 von %s löschen"],
    "de",
    translated=True,
)
ALL = [(pairs, kind) for pairs in (PAIRS, GERMAN) for kind in KINDS]
names = pytest.mark.parametrize(("pairs", "kind"), ALL, ids=[f"{pairs.words.months[0]}-{kind}" for pairs, kind in ALL])


@names
def test_each_kind_changes_what_it_says_it_changes(pairs: Pairs, kind: Kind) -> None:
    made = [each for seed in range(4) for each in corrupt(pairs, range(len(pairs.targets)), kind, seed)]
    assert made, "some target here can be so corrupted"
    for each in made:
        target = pairs.targets[each.row]
        assert each.kind == kind
        assert each.output.strip()
        assert each.output != target
        assert 0 <= each.start < each.end <= len(each.output)
        assert target.startswith(each.output[: each.start]), "before the change all is as it was"
        assert target.endswith(each.output[each.end :]), "and after it"


@names
def test_a_pair_s_corruption_does_not_hang_on_the_others(pairs: Pairs, kind: Kind) -> None:
    rows = range(len(pairs.targets))
    together = corrupt(pairs, rows, kind, 7)
    assert [each for row in reversed(rows) for each in corrupt(pairs, [row], kind, 7)] == together[::-1]
    assert corrupt(pairs, rows, kind, 7) == together


@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60)), min_size=1, max_size=6), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_any_text_can_be_given(texts: list[tuple[str, str]], seed: int) -> None:
    for language, translated in (("en", False), ("de", True)):
        pairs = Pairs([source for source, _ in texts], [target for _, target in texts], language, translated=translated)
        for kind in KINDS:
            for each in corrupt(pairs, range(len(texts)), kind, seed):
                assert each.output != texts[each.row][1]
                assert each.output.strip()
                assert 0 <= each.start <= each.end <= len(each.output)


@given(st.integers(0, 10**6), st.integers(0, 50))
def test_a_swapped_number_is_another_and_not_the_source_s(number: int, seed: int) -> None:
    pairs = Pairs([f"It has {number} parts and 7 doors."], [f"a thing of {number} parts"])
    for each in corrupt(pairs, [0], "number", seed):
        assert (found := NUMBER.search(each.output))
        assert found.group() not in (str(number), "7")
        assert not re.match(r"0\d", found.group())


def test_a_name_comes_from_elsewhere() -> None:
    for seed in range(20):
        for each in corrupt(PAIRS, [1, 2, 3], "entity", seed):
            assert each.output[each.start : each.end].lower() not in SOURCES[each.row].lower()


def test_a_placeholder_becomes_another_person() -> None:
    outputs = {each.output for seed in range(20) for each in corrupt(PAIRS, [0], "entity", seed)}
    assert any(re.search(r"<PERSON_[2-4]>", output) for output in outputs)


def test_a_neighbour_s_source_is_near() -> None:
    (made,) = corrupt(PAIRS, [3], "neighbour", 1)
    assert made.output == TARGETS[4], "the other source that names KDE"


def test_a_language_that_is_not_known_is_named() -> None:
    with pytest.raises(UserError, match="corruptions are known in en, de"):
        Pairs(SOURCES, TARGETS, "fr")
