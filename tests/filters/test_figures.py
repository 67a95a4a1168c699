import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.filters.figures import new_numbers

SAME = (
    ("costs 1,000 EUR", "kostet 1.000 EUR"),
    ("costs 1000 EUR", "kostet 1 000 EUR"),
    ("costs 1 000 000", "kostet 1.000.000"),
    ("1'234'567 francs", "1\u202f234\u202f567 francs"),
    ("1,234.56", "1.234,56"),
    ("3.5 %", "3,50%"),
    ("on 2024-03-05", "am 5.3.2024"),
    ("on 5 March 2024", "am 05.03.2024"),
    ("the 21st century", "im 21. Jahrhundert"),
    ("at 3 pm", "um 15:00 Uhr"),
    ("two files and a dozen more", "2 Dateien und 12 weitere"),
    ("zwei Dateien", "2 files"),
    ("version 2.4.1", "Version 2.4.1."),
    ("007", "7"),
    ("\uff11\uff12\uff13 and \u0663", "123, 3"),
    ("no digits", "MP3, x86 and X11 are names"),
    ("<PERSON_1> wrote", "<PERSON_2> schrieb"),
    ("rows 3\n100 more", "rows 3 100 more"),
)
NEW = (
    ("costs 1,000 EUR", "kostet 1.001 EUR", ["1001"]),
    ("costs 10 EUR", "kostet 100 EUR", ["100"]),
    ("costs 1.5", "kostet 15", ["15"]),
    ("costs 15", "kostet 1,5", ["1.5"]),
    ("from 1 and 5", "1.5", ["1.5"]),
    ("on 2024-03-05", "am 6.3.2024", ["6 3 2024"]),
    ("some", "20 %", ["20"]),
    ("2 files", "2 files of 30 and 40", ["30", "40"]),
    ("<PERSON_1> wrote", "1 wrote", ["1"]),
)


@pytest.mark.parametrize(("source", "output"), SAME)
def test_the_same_number_otherwise_written(source: str, output: str) -> None:
    assert new_numbers(source, output) == []


@pytest.mark.parametrize(("source", "output", "new"), NEW)
def test_a_number_that_the_source_lacks(source: str, output: str, new: list[str]) -> None:
    assert new_numbers(source, output) == new


@given(st.integers(0, 10**12), st.sampled_from(["{:,}", "{}"]), st.sampled_from([",", ".", " ", "'", "\u00a0", "\u202f"]))
def test_groups_are_read_in_every_country(number: int, form: str, mark: str) -> None:
    assert new_numbers(f"it is {number} big", f"es ist {form.format(number).replace(',', mark)} groß") == []


@given(st.decimals(0, 10**6, places=2, allow_nan=False))
def test_decimals_are_read_in_every_country(number: object) -> None:
    assert new_numbers(f"it is {number:,} big", f"es ist {str(number).replace('.', ',')} groß") == []


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_another_number_is_another_number(one: int, other: int) -> None:
    assert bool(new_numbers(f"it is {one}", f"es ist {other}")) == (one != other)
