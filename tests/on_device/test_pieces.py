"""SentencePiece and two patterns against `tokenizers`: the same pieces of every text, the same text of every piece."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipelines.errors import UserError
from pipelines.on_device.pieces import NUL, pieces_of

MIXED = st.lists(
    st.text(max_size=6)
    | st.sampled_from(["<PERSON_1>", "<PERSON_1", "</s>", "<unk>", "'s", "'ll", " ", "  ", "\n", "\0", "ß", "😀", "1", "don't"])
).map("".join)
NUL_PIECE = "\u0100"  # in GPT-2's alphabet
Read = Callable[[str], list[str]]
Write = Callable[[list[str]], str]


@pytest.fixture(scope="module")
def tokenizer(served: Path) -> Tokenizer:
    return Tokenizer.from_file(str(served / "hf" / "tokenizer.json"))


@pytest.fixture(scope="module")
def read(served: Path) -> Read:
    made = pieces_of(served / "hf")
    processor = sentencepiece.SentencePieceProcessor(model_proto=made.source)

    def reading(text: str) -> list[str]:
        words = re.findall(made.words, re.sub(made.start, " ", text.replace("\0", NUL)))
        return [*(piece for word in words for piece in processor.encode(word, out_type=str)), "</s>"]

    return reading


@pytest.fixture(scope="module")
def write(served: Path) -> Write:
    processor = sentencepiece.SentencePieceProcessor(model_proto=pieces_of(served / "hf").target)
    return lambda pieces: str(processor.decode(pieces, out_type=bytes), "utf-8", "replace").strip()


@given(text=MIXED.filter(lambda text: NUL not in text))
@example("Größe 'sample' it's  x!'s <PERSON_1>  <PERSON_1>'s \n\n y\u3000\u00a0z 日本語。12½Ⅷ")
@settings(max_examples=1000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_text_is_read_the_same(tokenizer: Tokenizer, read: Read, text: str) -> None:
    assert read(text) == tokenizer.encode(text).tokens


@given(data=st.data())
@settings(max_examples=500)
def test_any_pieces_are_written_the_same(tokenizer: Tokenizer, write: Write, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.get_vocab_size() - 1)))  # half characters in any order too
    pieces = [tokenizer.id_to_token(number) for number in ids]
    heard = [number for number, piece in zip(ids, pieces, strict=True) if piece != NUL_PIECE]  # SentencePiece has no NUL
    assert write(pieces) == tokenizer.decode(heard, skip_special_tokens=True).strip()


def test_numbers_of_pieces_are_those_of_the_tokenizer(tokenizer: Tokenizer, served: Path) -> None:
    for model in (pieces_of(served / "hf").source, pieces_of(served / "hf").target):
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        assert {processor.id_to_piece(number): number for number in range(tokenizer.get_vocab_size())} == tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("normalizer", {"type": "NFC"}),
        ("pre_tokenizer", {"type": "Whitespace"}),
        ("pre_tokenizer", None),
        ("model", {"type": "WordPiece", "vocab": {}}),
        ("model", {"type": "BPE", "vocab": {"a": 0}, "merges": []}),
        ("added_tokens", [{"id": 0, "content": "<x>", "lstrip": True, "rstrip": False, "single_word": False, "special": True}]),
    ],
)
def test_a_tokenizer_without_an_exact_form_is_refused(served: Path, tmp_path: Path, part: str, value: object) -> None:
    content = json.loads((served / "hf" / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(content | {part: value}))
    with pytest.raises(UserError, match="the tokenizer has no exact SentencePiece form: train with one of seqline's own"):
        pieces_of(tmp_path)


@pytest.mark.parametrize("names", [("spiece.model",), ("source.spm", "target.spm")])
def test_a_bases_own_sentencepiece_is_used(tmp_path: Path, names: tuple[str, ...]) -> None:
    words = [f"{word} {other}" for word in ("small", "files", "games", "Größe") for other in ("reading", "text", "fonts")]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words * 20), model_prefix=str(tmp_path / "made"), vocab_size=23, minloglevel=2
    )
    made = (tmp_path / "made.model").read_bytes()
    hf = tmp_path / "hf"
    hf.mkdir()
    for name in names:
        (hf / name).write_bytes(made)
    added = [{"content": "<PERSON_1>", "special": False}, {"content": "</s>", "special": True}]
    (hf / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    pieces = pieces_of(hf)
    own, ours = (sentencepiece.SentencePieceProcessor(model_proto=model) for model in (made, pieces.source))
    text = " small Größe\n reading"
    assert re.findall(pieces.words, re.sub(pieces.start, " ", text)) == [text]
    assert ours.encode(text) == own.encode(text)
    assert "<PERSON_1>" in ours.encode("files <PERSON_1>", out_type=str)
    target = sentencepiece.SentencePieceProcessor(model_proto=pieces.target)
    assert target.decode([*ours.encode("files <PERSON_1>", out_type=str), "</s>"]) == "files <PERSON_1>"
