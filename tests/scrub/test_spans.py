"""The pure half: spans to placeholders and back."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipelines.scrub.spans import Lookup, Span, agree, lookalikes, placeholders, put_back, replace, resolve, restore
from pipelines.spec import Privacy

ENTITIES = ("PERSON", "EMAIL_ADDRESS", "URL", "LOCATION")
TEXTS = st.text(st.sampled_from("ab <>_1P@.\n(ERSON)é"), max_size=40) | st.just("<PERSON_1> and <PERSON_12>")


@st.composite
def marked(draw: st.DrawFn) -> tuple[str, list[Span]]:
    text = draw(TEXTS)
    edges = st.integers(0, len(text))
    spans = draw(
        st.lists(st.builds(Span, edges, edges, st.sampled_from(ENTITIES), st.sampled_from([0.4, 0.85, 1.0])), max_size=6)
    )
    return text, [span for span in spans if span.start < span.end] + lookalikes(text, ENTITIES)


@given(marked())
def test_resolved_spans_are_disjoint_and_hide_every_letter(case: tuple[str, list[Span]]) -> None:
    text, spans = case
    resolved = resolve(text, spans)
    assert all(one.end <= other.start for one, other in pairwise(resolved))
    covered = {index for span in resolved for index in range(span.start, span.end)}
    assert {index for span in spans for index in range(span.start, span.end) if text[index].isalnum()} <= covered


@given(st.lists(marked(), min_size=1, max_size=3))
def test_restore_undoes_replace(cases: list[tuple[str, list[Span]]]) -> None:
    texts = [text for text, _ in cases]
    scrubbed = replace(texts, agree(texts, [spans for _, spans in cases]), limit=1_000)
    assert [restore(text, scrubbed.values) for text in scrubbed.texts] == texts


@given(st.lists(marked(), min_size=1, max_size=3))
def test_a_value_has_one_placeholder_in_all_texts(cases: list[tuple[str, list[Span]]]) -> None:
    texts = [text for text, _ in cases]
    scrubbed = replace(texts, agree(texts, [spans for _, spans in cases]), limit=1_000)
    originals = [(placeholder.rsplit("_", 1)[0], value) for placeholder, value in scrubbed.values.items()]
    assert len(originals) == len(set(originals))
    assert len(set(scrubbed.found)) == len(originals)


def test_numbers_follow_first_appearance_and_the_last_is_shared() -> None:
    text = "A1 B1 C1 A1"
    spans = [Span(start, start + 2, "PERSON", 0.85) for start in (0, 3, 6, 9)]
    scrubbed = replace([text], [spans], limit=2)
    assert scrubbed.texts == ("<PERSON_1> <PERSON_2> <PERSON_2> <PERSON_1>",)
    assert scrubbed.values == {"<PERSON_1>": "A1"}, "a shared placeholder must not be restored as one of its values"


def test_a_pattern_cuts_the_tagger_and_an_email_contains_its_url() -> None:
    text = "Ann Lee <ann@x.org> ok"
    spans = [Span(0, 18, "PERSON", 0.85), Span(9, 18, "EMAIL_ADDRESS", 1.0), Span(13, 18, "URL", 0.5)]
    assert resolve(text, spans) == [Span(0, 7, "PERSON", 0.85), Span(9, 18, "EMAIL_ADDRESS", 1.0)]


def test_names_end_at_the_line_and_words_stay_whole() -> None:
    assert resolve("Ann\nLee", [Span(0, 7, "PERSON", 0.85)]) == [Span(0, 3, "PERSON", 0.85), Span(4, 7, "PERSON", 0.85)]
    assert resolve("node.bootstrap", [Span(0, 7, "URL", 0.5)]) == [Span(0, 14, "URL", 0.5)]


def test_what_looks_like_a_placeholder_is_a_value_like_another() -> None:
    texts = ["<PERSON_7> met Ann", "Ann met <PERSON_7>"]
    spans = [[*lookalikes(text, ENTITIES), Span(text.index("Ann"), text.index("Ann") + 3, "PERSON", 0.85)] for text in texts]
    scrubbed = replace(texts, agree(texts, spans), limit=8)
    assert scrubbed.texts == ("<PERSON_1> met <PERSON_2>", "<PERSON_2> met <PERSON_1>")
    assert scrubbed.values == {"<PERSON_1>": "<PERSON_7>", "<PERSON_2>": "Ann"}


def test_found_on_one_side_is_hidden_on_the_other() -> None:
    texts = ["written by Ada", "Ada wrote it, not Adalbert"]
    scrubbed = replace(texts, agree(texts, [[Span(11, 14, "PERSON", 0.85)], []]), limit=8)
    assert scrubbed.texts == ("written by <PERSON_1>", "<PERSON_1> wrote it, not Adalbert")


@given(
    st.lists(st.text(st.sampled_from("ab .@-é"), min_size=1, max_size=6), max_size=5),
    st.text(st.sampled_from("ab .@-é"), max_size=30),
)
def test_lookup_finds_what_a_plain_search_finds(values: list[str], text: str) -> None:
    def inside_word(index: int) -> bool:
        return 0 < index < len(text) and text[index - 1].isalnum() and text[index].isalnum()

    expected = {
        (start, start + len(value))
        for value in values
        if any(character.isalnum() for character in value)
        for start in range(len(text))
        if text.startswith(value, start) and not inside_word(start) and not inside_word(start + len(value))
    }
    assert {(span.start, span.end) for span in Lookup(dict.fromkeys(values, "PERSON"), 0.8).find(text)} == expected


def test_placeholders_of_a_policy() -> None:
    assert placeholders(Privacy(entities=("PERSON", "URL"), placeholders=2)) == (
        "<PERSON_1>",
        "<PERSON_2>",
        "<URL_1>",
        "<URL_2>",
    )


@given(st.lists(marked(), min_size=1, max_size=3), st.integers(1, 3))
def test_what_was_replaced_can_be_put_back_from_offsets_and_values(cases: list[tuple[str, list[Span]]], limit: int) -> None:
    texts = [text for text, _ in cases]
    scrubbed = replace(texts, agree(texts, [spans for _, spans in cases]), limit)
    for text, clean, replaced in zip(texts, scrubbed.texts, scrubbed.replaced, strict=True):
        assert put_back(clean, replaced, [text[each.start : each.end] for each in replaced]) == text


def test_keys_say_which_spans_are_forms_of_one_value() -> None:
    texts = ["Ann", "ANN"]
    scrubbed = replace(texts, [[Span(0, 3, "PERSON", 0.85)]] * 2, 8, keys=[[0], [0]])
    assert scrubbed.texts == ("<PERSON_1>", "<PERSON_1>")
    assert scrubbed.values == {"<PERSON_1>": "Ann"}
    assert [[each.placeholder for each in its] for its in scrubbed.replaced] == [["<PERSON_1>"], ["<PERSON_1>"]]


def test_an_accent_of_its_own_belongs_to_its_word() -> None:
    text = "Rene\u0301 Lee"
    assert resolve(text, [Span(0, 4, "PERSON", 0.85)]) == [Span(0, 5, "PERSON", 0.85)]
