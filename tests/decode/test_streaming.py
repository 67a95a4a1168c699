"""Text as it comes: whole characters, and joined the answer, by both engines."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from pipelines.artifact import Export
from pipelines.decode import Decoder
from pipelines.decode.streaming import UNFINISHED, Deltas
from pipelines.spec import Decoding

FREE = Decoding(max_tokens=12, no_repeat_ngram=0)
DRAWN = FREE.model_copy(update={"temperature": 2.0, "seed": 5})


def deltas(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[list[str], str]:
    """The pieces told of, and the whole text."""

    def text_of(some: Sequence[int]) -> str:
        return tokenizer.decode(list(some), skip_special_tokens=True).strip()

    told: list[str] = []
    stream = Deltas(text_of, told.append)
    for token in ids:
        stream.add(token)
    stream.close(ids)
    return told, text_of(ids)


@pytest.fixture(scope="module")
def bytelevel(export: Export) -> Tokenizer:
    return Tokenizer.from_file(str(export.path / "hf" / "tokenizer.json"))


@given(ids=st.lists(st.integers(0, 399), max_size=40))
def test_whatever_tokens_come_the_pieces_joined_are_the_text(bytelevel: Tokenizer, ids: list[int]) -> None:
    told, text = deltas(bytelevel, ids)
    assert "".join(told) == text
    assert all(told)


@given(text=st.text(max_size=30))
def test_no_half_character_is_ever_told(bytelevel: Tokenizer, text: str) -> None:
    """Every text as it would be written byte by byte: of a whole text no piece holds what stands for half a character."""
    ids = bytelevel.encode(text).ids
    told, whole = deltas(bytelevel, ids)
    assert "".join(told) == whole
    if UNFINISHED not in text:
        assert not any(UNFINISHED in piece for piece in told)


@given(words=st.lists(st.sampled_from(["do", "n", "'", "t", "n't", ".", "##s", "##'", "see", "[SEP]"]), max_size=12))
def test_pieces_of_words_too(words: list[str]) -> None:
    """WordPiece, which tidies the spaces before what follows."""
    vocabulary = {word: number for number, word in enumerate(["[UNK]", *dict.fromkeys(words)])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece()
    told, text = deltas(tokenizer, [vocabulary[word] for word in words])
    assert "".join(told) == text


@pytest.mark.parametrize("decoding", [FREE, DRAWN, FREE.model_copy(update={"beam": 3})], ids=["greedy", "drawn", "beams"])
def test_the_pieces_joined_are_the_answer(either: Decoder, sources: list[str], decoding: Decoding) -> None:
    for source in sources[:5]:
        (answer,) = either.generate([source], decoding)
        (encoded,) = either.encode([source])
        told: list[str] = []
        written = either.stream(encoded, decoding, told.append)
        assert "".join(told) == answer.text
        assert either.read([encoded], [written])[0].text == answer.text
        assert (len(told) == 1) == (decoding.beam > 1)
        assert written.logprob == pytest.approx(answer.logprob, abs=1e-3)
        assert (written.finished, written.seed) == (answer.finished, answer.seed)


class GoneAway(Exception):
    pass


@pytest.mark.parametrize("decoding", [FREE, DRAWN], ids=["greedy", "drawn"])
def test_what_the_listener_raises_ends_the_decoding(either: Decoder, sources: list[str], decoding: Decoding) -> None:
    (encoded,) = either.encode(sources[:1])
    told: list[str] = []

    def leave(text: str) -> None:
        told.append(text)
        if len(told) == 2:
            raise GoneAway

    with pytest.raises(GoneAway):
        either.stream(encoded, decoding, leave)
    assert len(told) == 2
    assert either.generate(sources[:1], FREE)[0].finished  # and the decoder goes on
