"""Evidence: what each column says, and that neither batch nor order changes it."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.scoring.judge.evidence import COLUMNS, SIGNS, evidence, rarities
from pipelines.scoring.judge.lexical import stem

SOURCE = (
    "The harbour of Rostock was closed on Monday. Twelve ships waited outside, said Anna Krause of the port authority. "
    "A crane had not been repaired for 3 weeks. Fishermen in Warnemünde lost <MONEY_1>."
)
text = st.text(st.characters(codec="utf-8"), max_size=80)


def column(name: str, output: str, source: str = SOURCE, logprob: float | None = None) -> float:
    found = evidence([source], [output], [logprob])
    return float(found.columns[0, COLUMNS.index(name)])


@pytest.mark.parametrize(
    ("name", "better", "worse"),
    [
        ("words", "Ships waited outside Rostock", "Trains waited outside Berlin"),
        ("families", "Ships were waiting", "Trains were hurrying"),
        ("missing", "The harbour was closed", "The library was burnt"),
        ("rare", "Ships waited outside Rostock", "Trains waited outside Berlin"),
        ("rarest", "The harbour was closed", "The library was closed"),
        ("bigrams", "Twelve ships waited outside", "Outside twelve waited ships"),
        ("trigrams", "Twelve ships waited outside", "Twelve ships outside waited"),
        ("joined", "Twelve ships waited outside", "Outside twelve waited ships"),
        ("breaks", "Twelve ships waited outside", "Outside twelve waited ships"),
        ("windows", "The harbour of Rostock", "The harbour of Fishermen"),
        ("one_sentence", "Rostock harbour closed", "Rostock crane waited"),
        ("names", "The harbour of Rostock", "The harbour of Hamburg"),
        ("numbers", "Not repaired for 3 weeks", "Not repaired for 4 weeks"),
        ("placeholders", "Fishermen lost <MONEY_1>", "Fishermen lost <MONEY_2>"),
        ("unbound", "The harbour of Rostock", "The fishermen of Rostock"),
        ("subsequence", "The harbour was closed", "Closed was the harbour"),
        ("copied", "Twelve ships waited outside", "Ships said crane weeks"),
        ("density", "Twelve ships waited outside", "Ships said crane weeks"),
        ("pieces", "Twelve ships waited outside", "Ships said crane weeks"),
        ("jumps", "The harbour was closed on Monday", "Fishermen lost ships on Monday"),
        ("characters", "Twelve ships", "Xylophones"),
        ("negation", "A crane had not been repaired", "A crane had been repaired"),
        ("repeated", "Ships waited outside", "Ships waited outside ships waited outside"),
        ("empty", "Ships", "It was that"),
    ],
)
def test_a_column_sees_what_it_is_for(name: str, better: str, worse: str) -> None:
    assert SIGNS[name] * column(name, better) < SIGNS[name] * column(name, worse)


def test_number_words_are_numbers() -> None:
    assert column("numbers", "12 ships waited") == 0 == column("numbers", "Not repaired for three weeks")
    assert column("numbers", "Eleven ships waited") > 0


def test_a_missing_log_probability_is_said() -> None:
    assert math.isnan(column("logprob", "Ships"))
    assert column("unknown_logprob", "Ships") == 1
    assert (column("logprob", "Ships", logprob=-0.5), column("unknown_logprob", "Ships", logprob=-0.5)) == (-0.5, 0)
    assert column("unknown_logprob", "Ships", logprob=-math.inf) == 1


def test_a_row_a_sentence() -> None:
    output = "Ships waited. The library was burnt.\nNobody came"
    found = evidence([SOURCE, SOURCE], [output, ""])
    assert [output[start:end] for start, end in found.bounds[:3]] == ["Ships waited.", "The library was burnt.", "Nobody came"]
    assert found.pair.tolist() == [0, 0, 0, 1]
    missing = found.columns[:, COLUMNS.index("missing")]
    assert missing[0] == 0 < missing[1]


@given(st.lists(st.tuples(text, text), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_text_gives_finite_columns_the_same_in_any_batch(pairs: list[tuple[str, str]]) -> None:
    sources, outputs = zip(*pairs, strict=True)
    found = evidence(sources, outputs, [-1.0] * len(pairs))
    assert np.isfinite(found.columns).all()
    for index, (source, output) in enumerate(pairs):
        alone = evidence([source], [output], [-1.0])
        assert np.array_equal(alone.columns, found.columns[found.pair == index])


@given(st.lists(st.sampled_from(SOURCE.split()), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_sources_own_words_are_never_missing(words: list[str]) -> None:
    found = evidence([SOURCE], [" ".join(words)])
    assert found.columns[:, COLUMNS.index("missing")].max() == 0


@given(text)
@settings(max_examples=60, deadline=None)
def test_a_copy_is_wholly_supported(source: str) -> None:
    assume(source.strip())
    found = evidence([source], [source])
    for name in ("words", "families", "rare", "bigrams", "trigrams", "joined"):
        assert (found.columns[:, COLUMNS.index(name)] == 1).all(), name


def test_rarities_run_from_common_to_rare() -> None:
    found = rarities(["a crane waits", "a crane sleeps", "a crane and Rostock"], most=2)
    assert found == {"cran": 0, "rostock": 1}
    assert column("rarest", "Hamburg") == 1
    common = evidence([SOURCE], ["A library"], rarity={stem("library"): 0.25}).columns[0]
    assert common[COLUMNS.index("rarest")] == 0.25
