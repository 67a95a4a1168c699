import pytest

from pipelines.filters.names import new_names

SOURCE = "The library reads OpenType fonts of the Linux kernel team, made by Anna Schmidt in Berlin; graphical user interface."


@pytest.mark.parametrize(
    ("output", "new"),
    [
        ("a library by Anna Schmidt", []),
        ("fonts in Berlin's kernel", []),
        ("a library by Bob Meyer", ["Bob", "Meyer"]),
        ("Reads fonts. Writes nothing. (And more)", []),
        ("reads opentype fonts of linux", []),
        ("a GUI for fonts", []),
        ("a library of NASA fonts", ["NASA"]),
        ("made by <PERSON_1> for the team", []),
        ("Great Font Reading Tool", []),
        ("", []),
    ],
)
def test_names_that_the_source_lacks(output: str, new: list[str]) -> None:
    assert new_names(SOURCE, output, "en") == new


def test_where_nouns_have_capitals_a_capital_says_nothing() -> None:
    assert new_names(SOURCE, "eine kleine Bibliothek aus Hamburg", "de") == []
