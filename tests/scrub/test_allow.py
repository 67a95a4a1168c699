"""Words that a tagger takes for persons, told from persons by how the slice writes them."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.scrub import allow
from pipelines.scrub.allow import Counts, false_positives, learn
from pipelines.scrub.spans import Span

PERSON = "Wilma Testmann"


def tagged(text: str, *values: str) -> tuple[str, list[Span]]:
    found = [Span(text.index(value), text.index(value) + len(value), "PERSON", 0.85) for value in values]
    return text, sorted(found)


def counted(*texts: tuple[str, list[Span]]) -> Counts:
    counts = Counts()
    for text, spans in texts:
        counts.update(text, spans)
    return counts


COMMON = [tagged("we save the files, and we save them often")] * 3
SAVE = tagged("Save the files", "Save")
JAVA = tagged("a library for Java and others", "Java")
IDENTIFIERS = tagged("see libjava-java, java-common and default-java")
MAINTAINED = tagged(f"Maintainer: {PERSON} <w@example.org>\nDescription: a library", PERSON)


def test_a_word_that_is_common_in_lower_case_is_nobody() -> None:
    assert learn(counted(*COMMON, SAVE)) == {"Save"}
    assert learn(counted(SAVE)) == frozenset()


def test_a_frequent_word_with_some_lower_case_use_is_a_thing() -> None:
    assert learn(counted(*[JAVA] * 20, IDENTIFIERS)) == {"Java"}
    assert learn(counted(*[JAVA] * 20)) == frozenset(), "in many records, but never in lower case"
    assert learn(counted(JAVA, IDENTIFIERS)) == frozenset(), "in one record"


def test_who_has_made_hundreds_of_records_is_still_a_person() -> None:
    lower = tagged("wilma and testmann, wilma and testmann, wilma and testmann; the package wilma-testmann")
    alone = tagged(f"thanks to {PERSON} and to Wilma", PERSON, "Wilma")
    assert learn(counted(*[MAINTAINED] * 300, *[alone] * 20)) == frozenset()
    assert learn(counted(*[MAINTAINED] * 300, *[alone] * 20, lower)) == frozenset()


def test_a_team_beside_an_address_does_not_keep_its_words_from_being_allowed() -> None:
    team = tagged("Java Packaging Team <java@example.org>", "Java Packaging Team")
    words = tagged("a team packaging for the team, and a team")
    assert learn(counted(*[JAVA] * 20, IDENTIFIERS, words, team)) == {"Java"}


def test_a_decorator_is_no_address() -> None:
    fixtures = tagged("use your fixtures in @pytest.mark.parametrize (Java)", "Java")
    assert learn(counted(*[JAVA] * 20, IDENTIFIERS, fixtures)) == {"Java"}
    beside = tagged("java@example.org (Java)", "Java")
    assert learn(counted(*[JAVA] * 20, IDENTIFIERS, beside)) == frozenset()


def test_names_in_addresses_and_paths_are_no_lower_case_use() -> None:
    text = "mail wilma@example.org /home/wilma file:wilma.txt wilma_testmann"
    counts = counted(tagged(text))
    assert counts.lower["wilma"] == 0


@given(st.permutations(range(12)), st.lists(st.integers(1, 11), max_size=3))
def test_sums_of_parts_are_the_same_in_any_order(order: list[int], cuts: list[int]) -> None:
    texts = [*COMMON, SAVE, *[JAVA] * 5, IDENTIFIERS, MAINTAINED, MAINTAINED]
    whole = counted(*texts)
    edges = [0, *sorted(cuts), 12]
    parts = [counted(*(texts[n] for n in order[a:b])) for a, b in pairwise(edges)]
    merged = Counts()
    for part in parts:
        merged.merge(part)
    assert merged == whole


def test_memory_is_bounded_and_what_is_kept_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"{chr(97 + n // 26 % 26)}{chr(97 + n % 26)}" * 2 for n in range(600)]
    whole, halves = Counts(), (Counts(), Counts())
    monkeypatch.setattr(allow, "MOST_WORDS", 50)
    for number, word in enumerate(random.Random(7).sample(words * 3, len(words) * 3)):
        whole.update(word, [])
        halves[number % 2].update(word, [])
    halves[0].merge(halves[1])
    assert len(whole.lower) <= 63
    assert whole.exact() == halves[0].exact()
    assert set(whole.exact().lower.values()) == {3}


def test_false_positives_are_counted_in_text_of_common_words() -> None:
    text = tagged("Save the files and often them. Ask Wilma Testmann about it.", "Save", PERSON)
    counts = counted(*COMMON, text)
    counts.lower.update({"often": 9, "them": 9, "and": 9, "the": 9, "files": 9, "save": 20})
    measured = false_positives([text], counts, set())
    assert measured == {"words": 6, "share": 0.5455, "before": 166.667, "after": 166.667}
    assert false_positives([text], counts, {"Save"})["after"] == 0
