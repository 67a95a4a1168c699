"""Both sides of a pair: one value, one placeholder, each side's own bytes back."""

import re
import unicodedata
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.scrub import align
from pipelines.scrub.forms import folds, words
from pipelines.scrub.pairs import COUNTS, ONE_SIDED, Disagreed, scrub_pair
from pipelines.scrub.spans import CARRIED, Lookup, Scrubbed, Span, lookalikes, placeholders, put_back
from pipelines.spec import Privacy

ENTITIES = ("PERSON", "LOCATION", "EMAIL_ADDRESS", "URL", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE")
SUMMARY = Privacy(entities=ENTITIES)
TRANSLATION = Privacy(entities=ENTITIES, target_language="de")


def spans(text: str, *found: tuple[str, str]) -> list[Span]:
    """The first place of each (value, entity) in `text`."""
    return [Span(text.index(value), text.index(value) + len(value), entity, 0.85) for value, entity in found]


def translated(source: str, target: str, *found: tuple[str, str]) -> Scrubbed | Disagreed:
    return scrub_pair((source, target), (spans(source, *found), []), None, TRANSLATION)


@pytest.mark.parametrize(
    ("entity", "value", "other"),
    [
        ("PERSON", "Ann Lee", "Ann Lee"),
        ("PERSON", "Ann Lee", "ANN LEE"),
        ("PERSON", "Ann Lee", "Ann-Lee"),
        ("PERSON", "Jörg Müller", "Joerg Mueller"),
        ("PERSON", "Jörg Müller", "Jorg Muller"),
        ("PERSON", "José Núñez", unicodedata.normalize("NFD", "José Núñez")),
        ("PERSON", "Dem'ian Sobolev", "Демьян Соболев"),
        ("PERSON", "Yuri Gorbachev", "Юрий Горбачёв"),
        ("PERSON", "Nikos Papadopoulos", "Νίκος Παπαδόπουλος"),
        ("PERSON", "Ann Lee's", "Ann Lees"),
        ("PERSON", "Peter", "Peters"),
        ("PERSON", "the Peter Schmidt", "Peter-Schmidt"),
        ("PERSON", "Running Sphinx", "Sphinx"),
        ("PERSON", "Fourier", "Fourieranalyse"),
        ("EMAIL_ADDRESS", "ann@example.org", "Ann@Example.org"),
        ("URL", "https://example.org/en/", "https://example.org/EN/"),
        ("CREDIT_CARD", "4111111111111111", "4111 1111 1111 1111"),
        ("IBAN_CODE", "DE89370400440532013000", "DE89 3704 0044 0532 0130 00"),
        ("PHONE_NUMBER", "+49 30 1234567", "030/123 45 67"),
        ("PHONE_NUMBER", "030 1234567", "+49 (0)30 123-4567"),
    ],
)
def test_each_side_has_its_own_form_of_one_value(entity: str, value: str, other: str) -> None:
    source, target = f"we saw {value} there", f"dort sahen wir {other}, ja"
    done = translated(source, target, (value, entity))
    assert isinstance(done, Scrubbed)
    assert done.texts == (f"we saw <{entity}_1> there", f"dort sahen wir <{entity}_1>, ja")
    assert [source[each.start : each.end] for each in done.replaced[0]] == [value]
    assert [target[each.start : each.end] for each in done.replaced[1]] == [other]
    assert done.values == {f"<{entity}_1>": value}


def test_a_word_in_lower_case_is_not_the_name_that_is_written_like_it() -> None:
    done = scrub_pair(("Rose saw a rose", "the rose of Rose"), ([Span(0, 4, "PERSON", 0.85)], []), None, SUMMARY)
    assert isinstance(done, Scrubbed)
    assert done.texts == ("<PERSON_1> saw a rose", "the rose of <PERSON_1>")


def test_a_value_of_a_translation_that_is_nowhere_on_the_other_side_spoils_the_pair() -> None:
    assert translated("we saw Zyx there", "dort war nichts", ("Zyx", "PERSON")) == Disagreed(ONE_SIDED)
    assert translated("see http://a.org", "siehe oben", ("http://a.org", "URL")) == Disagreed(ONE_SIDED)
    assert translated("Zyx and Zyx", "nur Zyx", ("Zyx", "PERSON")) == Disagreed(COUNTS)


def test_a_value_of_a_summary_may_be_left_out_of_it() -> None:
    done = scrub_pair(("by Ann Lee", "a tool"), (spans("by Ann Lee", ("Ann Lee", "PERSON")), []), None, SUMMARY)
    assert isinstance(done, Scrubbed)
    assert done.texts == ("by <PERSON_1>", "a tool")


def test_what_alone_is_left_on_both_sides_is_one_value() -> None:
    source, target = "from Moscow, see http://x.org/en", "aus Moskau, siehe http://x.org/de"
    found = (
        spans(source, ("Moscow", "LOCATION"), ("http://x.org/en", "URL")),
        spans(target, ("Moskau", "LOCATION"), ("http://x.org/de", "URL")),
    )
    done = scrub_pair((source, target), found, None, TRANSLATION)
    assert isinstance(done, Scrubbed)
    assert done.texts == ("from <LOCATION_1>, see <URL_1>", "aus <LOCATION_1>, siehe <URL_1>")


def test_the_sides_may_cut_a_name_differently() -> None:
    source, target = "Mr Ann Lee wrote", "Frau Ann Lee schrieb"
    found = (spans(source, ("Ann Lee", "PERSON")), spans(target, ("Frau Ann Lee", "PERSON")))
    done = scrub_pair((source, target), found, None, TRANSLATION)
    assert isinstance(done, Scrubbed)
    assert done.texts == ("Mr <PERSON_1> wrote", "<PERSON_1> schrieb")


def test_what_joins_a_longer_value_is_looked_for_on_its_own_too() -> None:
    source, target = "Ann and Ann Lee", "Ann Lee"
    found = (spans(source, ("Ann Lee", "PERSON")), [Span(0, 3, "PERSON", 0.85)])
    done = scrub_pair((source, target), found, None, SUMMARY)
    assert isinstance(done, Scrubbed)
    assert "Ann" not in done.texts[0] + done.texts[1]


def test_names_found_elsewhere_in_the_slice_are_hidden_on_both_sides() -> None:
    done = scrub_pair(("Ann Lee", "von Ann Lee"), ([], []), Lookup({"Ann Lee": "PERSON"}, CARRIED), TRANSLATION)
    assert isinstance(done, Scrubbed)
    assert done.texts == ("<PERSON_1>", "von <PERSON_1>")


def test_an_aligner_learns_what_a_word_is_translated_by() -> None:
    slice_ = [("Draft", "Entwurf"), ("a Draft here", "hier ein Entwurf"), ("a text", "ein Text"), ("here", "hier")]
    learnt = align.learn(slice_, ({"draft"}, set()))
    assert learnt == align.learn(slice_[::-1], ({"draft"}, set()))
    source, target = "to Draft now", "jetzt zum Entwurf"
    pair = scrub_pair((source, target), (spans(source, ("Draft", "PERSON")), []), None, TRANSLATION, learnt)
    assert isinstance(pair, Scrubbed)
    assert pair.texts == ("to <PERSON_1> now", "jetzt zum <PERSON_1>")


WORDS = st.sampled_from(
    ["Ann", "Lee", "ANN", "lee", "Müller", "Mueller", "Юрий", "Iurii", "e\u0301", "O'Neil", "Lee's", "<PERSON_1>", "<PERSON_",
     "_1>", "<URL_12>", "a@b.org", "http://x.org", "4111 1111", "41111111", "the", "der", "田中", "\u200b", "🙂", "(", "x"]
)  # fmt: skip
TEXTS = st.lists(st.tuples(WORDS, st.sampled_from([" ", "", "\n", "\r\n", ", ", "-", "\t"])), max_size=9).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[tuple[str, str], tuple[list[Span], list[Span]]]:
    texts, found = (draw(TEXTS), draw(TEXTS)), []
    for text in texts:
        edges = st.integers(0, len(text))
        some = st.builds(Span, edges, edges, st.sampled_from(ENTITIES), st.sampled_from([0.4, 0.85, 1.0]))
        its = draw(st.lists(some, max_size=5))
        found.append([span for span in its if span.start < span.end] + lookalikes(text, ENTITIES))
    return texts, (found[0], found[1])


TOKEN = re.compile("|".join(placeholders(Privacy(entities=ENTITIES, placeholders=3))))


@given(pairs(), st.booleans())
@example((("<PERSON_1>\r\nAnn", "Ann<PERSON_1>"), ([Span(0, 15, "PERSON", 0.85)], [])), True)
def test_the_original_bytes_come_back(case: tuple[tuple[str, str], tuple[list[Span], list[Span]]], translation: bool) -> None:
    texts, found = case
    policy = (TRANSLATION if translation else SUMMARY).model_copy(update={"placeholders": 3})
    found = (found[0] + lookalikes(texts[0], ENTITIES), found[1] + lookalikes(texts[1], ENTITIES))
    done = scrub_pair(texts, found, None, policy)
    if isinstance(done, Disagreed):
        assert translation
        return
    for text, clean, replaced in zip(texts, done.texts, done.replaced, strict=True):
        values = [text[each.start : each.end] for each in replaced]
        assert put_back(clean, replaced, values) == text
        assert TOKEN.findall(clean) == [each.placeholder for each in replaced], "what looks like a placeholder is one of ours"
    assert done.found == tuple(
        (each.entity, text[each.start : each.end]) for text, its in zip(texts, done.replaced, strict=True) for each in its
    )


@given(pairs())
def test_a_translation_has_the_same_placeholders_on_both_sides(
    case: tuple[tuple[str, str], tuple[list[Span], list[Span]]],
) -> None:
    done = scrub_pair(*case, None, TRANSLATION)
    if isinstance(done, Scrubbed):
        assert Counter(TOKEN.findall(done.texts[0])) == Counter(TOKEN.findall(done.texts[1]))


@given(pairs(), st.booleans())
def test_every_letter_that_was_found_is_hidden(
    case: tuple[tuple[str, str], tuple[list[Span], list[Span]]], translation: bool
) -> None:
    texts, found = case
    done = scrub_pair(texts, found, None, TRANSLATION if translation else SUMMARY)
    if isinstance(done, Scrubbed):
        for text, its, replaced in zip(texts, found, done.replaced, strict=True):
            hidden = {index for each in replaced for index in range(each.start, each.end)}
            assert {index for span in its for index in range(span.start, span.end) if text[index].isalnum()} <= hidden


@given(pairs(), st.booleans())
@example((("Ann Ann", "Ann Ann"), ([Span(0, 1, "LOCATION", 0.85)], [Span(0, 1, "LOCATION", 0.85)])), False)
def test_what_is_hidden_on_one_side_stands_clear_on_neither(
    case: tuple[tuple[str, str], tuple[list[Span], list[Span]]], translation: bool
) -> None:
    done = scrub_pair(*case, None, TRANSLATION if translation else SUMMARY)
    if isinstance(done, Disagreed):
        assert translation
        return
    for _, value in done.found:
        if not TOKEN.search(value):
            assert all(not Lookup({value: "PERSON"}, CARRIED).find(TOKEN.sub(" \0 ", text)) for text in done.texts)


def test_a_form_found_by_weak_means_is_hidden_wherever_it_stands() -> None:
    learnt = align.learn([("Draft", "Entwurf"), ("a Draft", "ein Entwurf")], ({"draft"}, set()))
    source, target = "to Draft now", "Entwurf, und danach noch ein Entwurf"
    assert scrub_pair((source, target), (spans(source, ("Draft", "PERSON")), []), None, TRANSLATION, learnt) == Disagreed(
        COUNTS
    )


def test_folds_of_a_word() -> None:
    assert folds("Müller") == ("mueller", "muller")
    assert folds("O\u2019Neil") == folds("O'Neil") == ("oneil",)
    assert [word.folds for word in words("Lee's d'Lee L\u2019Oréal")] == [("lee",), ("lee", "dlee"), ("oreal", "loreal")]


def test_a_placeholder_is_one_token_and_survives_decoding() -> None:
    from pipelines.encode import _train
    from pipelines.spec import TokensSection

    tokens = placeholders(TRANSLATION)
    texts = ["we saw <PERSON_1> and <URL_8>, then left"] * 3
    tokenizer = _train(texts, TokensSection(vocabulary=400, max_source=32, max_target=32), tokens)
    for token in tokens:
        assert len(tokenizer(token, add_special_tokens=False)["input_ids"]) == 1
        text = f"we saw {token}, ({token}) and{token}then"
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
        assert ids.count(tokenizer.convert_tokens_to_ids(token)) == 3
