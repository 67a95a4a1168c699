"""Answers to texts of any length: joined for a translation, in levels for a summary, honest about what was read."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.decode import Answer, Decoder, Reading, TooLong, whole
from pipelines.decode.parts import joined, together
from pipelines.decode.windows import cut
from pipelines.errors import UserError
from pipelines.spec import Decoding
from tests.training import line

ROOM = 20
FREE = Decoding(max_tokens=12, no_repeat_ngram=0)


def windows(text: str, language: str) -> list[str]:
    """A model that reads 20 characters."""
    return [text] if len(text) <= ROOM else cut(text, range(len(text)), ROOM, lambda piece: len(piece) <= ROOM, language)


def said(text: str, *, finished: bool = True, seed: int | None = None) -> Answer:
    return Answer(text, -1.0, source_tokens=10, target_tokens=2, truncated=False, finished=finished, seed=seed)


def upper(texts: list[str]) -> list[Answer]:
    assert all(len(text) <= ROOM for text in texts)
    return [said(text.upper()) for text in texts]


def first_words(texts: list[str]) -> list[Answer]:
    return [said(" ".join(text.split()[:1])) for text in texts]


def test_a_text_that_fits_is_answered_as_it_is() -> None:
    (answer,) = together([whole(" short ", windows, Reading("translation"))], upper)
    assert answer == said(" SHORT ")


def test_a_translation_keeps_what_is_between_the_pieces() -> None:
    text = "One two three.\n\nFour five six.  Seven eight nine."
    (answer,) = together([whole(text, windows, Reading("translation"))], upper)
    assert answer.text == text.upper()
    assert (answer.parts, answer.source_tokens, answer.target_tokens) == (3, 30, 6)
    assert answer.logprob is None
    assert not answer.truncated


@given(text=st.text(st.sampled_from("ab. \n"), min_size=1, max_size=200))
def test_a_translator_that_changes_nothing_gives_the_text_back(text: str) -> None:
    (answer,) = together([whole(text, windows, Reading("text2text"))], lambda texts: [said(each) for each in texts])
    assert "".join(answer.text.split()) == "".join(text.split())


def test_where_nothing_is_between_the_pieces_the_answers_say_whether_a_space_belongs() -> None:
    assert (
        joined("日本語です。それで。", ["日本語です。", "それで。"], ["It is Japanese.", "And so."])
        == "It is Japanese. And so."
    )
    assert joined("abcdef", ["abc", "def"], ["ABC", "DEF"]) == "ABCDEF"


def test_a_summary_comes_in_levels() -> None:
    text = " ".join(f"Word{number} and more." for number in range(12))
    levels: list[int] = []

    def decode(texts: list[str]) -> list[Answer]:
        levels.append(len(texts))
        return first_words(texts)

    (answer,) = together([whole(text, windows, Reading("summarization"))], decode)
    assert levels[0] == answer.parts == 12
    assert levels[-1] == 1
    assert levels == sorted(levels, reverse=True)
    assert answer.text == "Word0"
    assert answer.source_tokens == 120
    assert answer.target_tokens == 2


@given(text=st.text(st.sampled_from("ab. "), max_size=300), factor=st.sampled_from([1, 2, 5]))
def test_a_summary_that_does_not_shrink_ends_all_the_same(text: str, factor: int) -> None:
    calls: list[int] = []

    def decode(texts: list[str]) -> list[Answer]:
        calls.append(len(texts))
        return [said(each * factor) for each in texts]

    (answer,) = together([whole(text, windows, Reading("summarization"))], decode)
    assert sum(calls) <= 4 * calls[0] + 1
    assert answer.parts == calls[0]
    assert set("".join(answer.text.split())) == set("".join(text.split()))


def test_one_unfinished_part_is_told_and_so_is_one_seed() -> None:
    text = "One two three. Four five six. Seven eight nine."
    (answer,) = together(
        [whole(text, windows, Reading("translation"))], lambda texts: [said(t, finished=t[0] != "F", seed=3) for t in texts]
    )
    assert not answer.finished
    assert answer.seed == 3


def test_refuse_and_cut() -> None:
    short, long = "fits", "One two three. Four five six."
    refuse, cut_ = Reading("translation", long_inputs="refuse"), Reading("translation", long_inputs="cut")
    with pytest.raises(TooLong, match=r"^inputs\[1\]: longer than the model reads"):
        together([whole(text, windows, refuse) for text in (short, long)], upper)
    assert together([whole(short, windows, refuse)], upper) == [said("FITS")]
    assert next(whole(long, windows, cut_)) == [long]  # the decoder cuts, and says so


def test_many_readings_take_as_few_calls_as_levels() -> None:
    calls: list[list[str]] = []

    def decode(texts: list[str]) -> list[Answer]:
        calls.append(texts)
        return first_words(texts)

    texts = ["Short.", "One two three. Four five six.", " ".join(["Word and more yet."] * 9)]
    answers = together([whole(text, windows, Reading("summarization")) for text in texts], decode)
    assert [answer.parts for answer in answers] == [1, 2, 9]
    assert len(calls) <= 4
    assert len(calls[0]) == 12


def test_the_driver_for_asynchronous_code_in_the_docstring() -> None:
    async def submit(texts: list[str]) -> list[Answer]:
        await asyncio.sleep(0)
        return first_words(texts)

    async def drive(text: str) -> Answer:
        reading = whole(text, windows, Reading("summarization"))
        wanted = next(reading)
        while True:
            answers = await submit(wanted)
            try:
                wanted = reading.send(answers)
            except StopIteration as end:
                return end.value

    assert asyncio.run(drive("One two three. Four five six.")).text == "One"


# ------------------------------------------------------------------------------------------ with a model


LONG = ". ".join(line.pairs(6, 9)["source"])


def test_a_model_answers_long_texts_and_tells_in_how_many_parts(either: Decoder, sources: list[str]) -> None:
    for task in ("summarization", "translation"):
        long, short = either.answer([LONG, sources[0]], FREE, Reading(task))
        assert long.parts == len(either.windows(LONG)) > 1
        assert not long.truncated
        assert long.source_tokens > line.SECTION.max_source
        assert short.text == either.generate(sources[:1], FREE)[0].text
        assert short.parts == 1


def test_cut_says_so_and_refuse_refuses(decoder: Decoder) -> None:
    (answer,) = decoder.answer([LONG], FREE, Reading("translation", long_inputs="cut"))
    assert answer == decoder.generate([LONG], FREE)[0]
    assert answer.truncated
    with pytest.raises(TooLong, match=r"^inputs\[0\]: longer"):
        decoder.answer([LONG], FREE, Reading("translation", long_inputs="refuse"))


def test_an_answer_in_parts_is_drawn_with_one_seed(decoder: Decoder) -> None:
    warm = FREE.model_copy(update={"temperature": 1.5})
    first, second = decoder.answer([LONG, LONG], warm, Reading("translation"))
    assert first.seed != second.seed
    again = decoder.answer([LONG], warm.model_copy(update={"seed": first.seed}), Reading("translation"))
    assert again == [first]


def test_a_lone_surrogate_in_a_long_text_is_named(decoder: Decoder) -> None:
    with pytest.raises(UserError, match=r"^inputs\[1\]: a lone surrogate"):
        decoder.answer(["fine", "no\ud800pe" * 100], FREE, Reading("translation"))
