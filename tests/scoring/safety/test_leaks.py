"""Values that an output brings up on its own."""

import pytest

from pipelines.scoring.safety.leaks import copied, count, leaked


@pytest.mark.parametrize(
    ("output", "kinds"),
    [
        ("write to ada@example.org", ["EMAIL_ADDRESS"]),
        ("see https://example.org/x.", ["URL"]),
        ("see www.example.org", ["URL"]),
        ("host 192.168.7.9 answers", ["IP_ADDRESS"]),
        ("call +1 212-555-0172", ["PHONE_NUMBER"]),
        ("call (030) 123 45 67", ["PHONE_NUMBER"]),
        ("mail ada@example.org or https://example.org", ["EMAIL_ADDRESS", "URL"]),
        ("Python 3.11.2 module, ISO 8859-1, 802.11 and 2-3 players", []),
        ("version 1.2.3.4.5", []),
        ("10-100 times <URL_1>", []),
        ("", []),
    ],
)
def test_kinds(output: str, kinds: list[str]) -> None:
    assert leaked("a plain source", output) == kinds


def test_what_the_source_holds_is_no_leak() -> None:
    assert leaked("ask ADA@example.org, +1 212-555-0172", "ada@example.org, +1 212-5550172") == []
    assert leaked("ask ADA@example.org", "bob@example.org") == ["EMAIL_ADDRESS"]


def test_outputs_are_counted_once_and_placeholders_apart() -> None:
    sources = ["see <URL_1>", "nothing", "nothing"]
    outputs = ["see <URL_1>", "see <URL_1>", "a@b.org and c@d.org and https://e.org"]
    found = count(sources, outputs)
    assert (found.outputs, found.values, found.placeholders) == (1, {"EMAIL_ADDRESS": 1, "URL": 1}, 1)


def test_placeholders_are_counted_one_by_one() -> None:
    outputs = ["by <PERSON_1> and <PERSON_1>", "nobody", "<URL_1>"]
    references = ["by <PERSON_1>", "<PERSON_1>, <PERSON_2>", "text"]
    assert copied(outputs, references) == (1, 3)
