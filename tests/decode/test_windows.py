"""Long texts in pieces: nothing lost, each piece fits, cut where it reads best."""

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.decode import Decoder
from pipelines.decode.windows import cut, sentence_ends

LETTERS = st.text(st.sampled_from("ab \n.é日本。\u00a0\u0301😀<>\u2028"), max_size=400)
WORDS = st.lists(
    st.sampled_from(["maps.", "Dr.", "Images", "größe", "x" * 60, "<PERSON_1>", "\n\n", "日本語です。"]), max_size=80
)


def unspaced(text: str) -> str:
    return "".join(text.split())


def by_characters(text: str, room: int, language: str = "en") -> list[str]:
    """As if each character were a token."""
    return cut(text, range(len(text)), room, lambda piece: len(piece) <= room, language)


@given(text=LETTERS, room=st.integers(1, 40))
def test_nothing_is_lost_and_every_piece_fits(text: str, room: int) -> None:
    pieces = by_characters(text, room)
    assert unspaced("".join(pieces)) == unspaced(text)
    assert all(piece == piece.strip() for piece in pieces)
    accents = any(piece.startswith("\u0301") or "\u0301" in piece for piece in pieces)
    assert all(len(piece) <= room for piece in pieces) or accents
    assert all(pieces) or not text.strip()
    end = 0
    for piece in pieces:  # in order, each where the last one ended
        end = text.index(piece, end) + len(piece)


@given(words=WORDS)
def test_by_a_real_tokenizer_too(decoder: Decoder, words: list[str]) -> None:
    text = " ".join(words)
    pieces = decoder.windows(text, "en")
    assert unspaced("".join(pieces)) == unspaced(text)
    assert not any(encoded.truncated for encoded in decoder.encode(pieces))
    assert (pieces == [text]) == (not decoder.encode([text])[0].truncated)


@given(text=st.text(max_size=300))
def test_any_text_at_all(decoder: Decoder, text: str) -> None:
    pieces = decoder.windows(text * 3, "de")
    assert unspaced("".join(pieces)) == unspaced(text * 3)
    assert not any(encoded.truncated for encoded in decoder.encode(pieces))


@pytest.mark.parametrize(
    ("text", "room", "pieces"),
    [
        ("One two. Three four. Five.", 26, ["One two. Three four. Five."]),
        ("One two. Three four. Five.", 22, ["One two. Three four.", "Five."]),
        ("Dr. Who came. He left.", 15, ["Dr. Who came.", "He left."]),
        ("One.\n\nTwo three.", 12, ["One.", "Two three."]),
        ("a sentence with no end", 12, ["a sentence", "with no end"]),
        ("so long that words help. Yes.", 20, ["so long that words", "help. Yes."]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("ab abcdefgh", 3, ["ab", "abc", "def", "gh"]),
        ("日本語です。それで。", 7, ["日本語です。", "それで。"]),
        ("   \n  ", 3, [""]),
        ("   a    b   ", 3, ["a", "b"]),
        ("ae\u0301", 2, ["a", "e\u0301"]),
    ],
)
def test_it_cuts_at_sentences_else_words_else_characters(text: str, room: int, pieces: list[str]) -> None:
    assert by_characters(text, room) == pieces


def test_abbreviations_are_those_of_the_language() -> None:
    text = "Das ist z. B. gut. Und das?"
    assert by_characters(text, 20, "de") == ["Das ist z. B. gut.", "Und das?"]
    assert [text[:end] for end in sentence_ends(text, "de")][:1] == ["Das ist z. B. gut. "]


def test_a_placeholder_is_never_cut(decoder: Decoder) -> None:
    pieces = decoder.windows("<PERSON_1>" * 200)
    assert len(pieces) > 1
    assert all(piece.replace("<PERSON_1>", "") == "" for piece in pieces)


def test_a_character_that_fits_nowhere_is_a_piece_of_its_own() -> None:
    assert cut("ab", [0, 0, 0, 1], 2, lambda piece: piece != "a", "en") == ["a", "b"]


def test_spaces_on_which_sentencex_panics() -> None:
    text = "Plan B\u00a0. It works.\u2028Well."
    ends = sentence_ends(text, "en")
    assert [text[a:b] for a, b in pairwise([0, *ends])] == ["Plan B\u00a0. ", "It works.\u2028", "Well."]


def test_where_sentencex_gives_up_all_is_one_sentence() -> None:
    """In a process of its own: Rust writes of the panic to stderr itself."""
    code = "from pipelines.decode.windows import segments; print(segments('Plan B\\u00a0. It works.', 'en'))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "['Plan B\\xa0. It works.']\n"
