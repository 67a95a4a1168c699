"""Fake values stand where they are said to stand, look like the real ones, and are the same each time."""

import os
import re
import subprocess
import sys

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.scrub.planted import MAKERS, Fakes, identities, plant
from pipelines.spec.section import Language

TEXTS = [
    "Package: foo\nDescription: a tool for images and sounds",
    "One sentence. And another one, with more words in it.",
    "tool",
    "",
]
LANGUAGES: tuple[Language, ...] = ("en", "de", "fr")


@given(
    texts=st.lists(st.text(max_size=30), min_size=1, max_size=4), language=st.sampled_from(LANGUAGES), seed=st.integers(0, 99)
)
def test_a_value_stands_at_its_place_in_the_users_own_text(texts: list[str], language: Language, seed: int) -> None:
    for number, planted in enumerate(plant(texts, language, ["PERSON", "IBAN_CODE"], 4, seed)):
        value = planted.text[planted.start : planted.end]
        assert value == value.strip() != ""
        around = planted.text[: planted.start] + planted.text[planted.end :]
        own = "".join(texts[number % 4 % len(texts)].split())
        left = iter("".join(around.split()))
        assert all(letter in left for letter in own), "the user's characters all stand there, in order"
        assert planted.start == 0 or not planted.text[planted.start - 1].isalnum()
        assert planted.language == language
        assert planted.end == len(planted.text) or not planted.text[planted.end].isalnum()


def test_a_long_text_is_cut_to_a_window() -> None:
    planted = plant(["word " * 1_000], "en", ["EMAIL_ADDRESS"], 20, 1)
    assert max(len(each.text) for each in planted) < 500
    assert len({each.start for each in planted}) > 10


def test_each_entity_as_often_as_asked_and_no_other() -> None:
    planted = plant(TEXTS, "en", ["PERSON", "NRP", "US_SSN"], 7, 1)
    assert [each.entity for each in planted] == ["PERSON"] * 7 + ["US_SSN"] * 7
    assert plant([], "en", ["PERSON"], 7, 1) == []


def test_the_same_seed_gives_the_same_whatever_the_hash_seed() -> None:
    code = (
        "import hashlib; from pipelines.scrub.planted import MAKERS, identities, plant;"
        "made = [plant(['a b c'], l, sorted(MAKERS), 20, 5) for l in ('en', 'de', 'fr')];"
        "print(hashlib.sha256(repr(made).encode()).hexdigest());"
        "print(hashlib.sha256(repr(identities(50, 5)).encode()).hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(runs) == 1


def luhn(digits: str) -> bool:
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(number - 9 * (number > 9) for number in doubled) % 10 == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_have_the_check_digits_of_real_ones(language: Language) -> None:
    fakes = Fakes(language, 2)
    cards = [fakes.card() for _ in range(60)]
    assert all(luhn(re.sub(r"\D", "", card)) for card in cards)
    assert {len(re.findall(r"[ -]", card)) for card in cards} == {0, 2, 3}
    for iban in (fakes.iban().replace(" ", "") for _ in range(30)):
        assert int("".join(str(int(letter, 36)) for letter in iban[4:] + iban[:4])) % 97 == 1
    phones = [fakes.phone() for _ in range(60)]
    assert sum(phone.startswith("+") for phone in phones) > 10
    assert all(phonenumbers.is_valid_number(phonenumbers.parse(phone)) for phone in phones if phone.startswith("+"))


def test_every_maker_makes_many_different_values() -> None:
    for entity in MAKERS:
        fakes = Fakes("en", 1)
        assert len({fakes.value(entity) for _ in range(100)}) > 60, entity


def test_identities_share_nothing() -> None:
    people = identities(1_000, 1)
    for field in range(5):
        assert len({person[field] for person in people}) == 1_000
    assert people == identities(1_000, 1) != identities(1_000, 2)
    assert all(re.fullmatch(r"[a-z0-9.]+@[a-z0-9.-]+\.[a-z]+", person.mail) for person in people)
    assert all(len(person.name.split()) > 1 for person in people)
