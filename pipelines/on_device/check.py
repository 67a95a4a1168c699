"""The proof before the folder is given out: its own code reads, writes and answers as the decoder that serves does."""

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from types import ModuleType
from typing import Any

from pipelines.decode import Decoder
from pipelines.errors import SeqlineError
from pipelines.spec import Decoding

EXAMPLE = "example.py"
PROBES = (
    "",
    " ",
    "  two  spaces ",
    "a plain sentence, with numbers 12.5 and 2024.",
    "It's we'll they'd 'sample' ' s x's!'s",
    "Größe, Straße, Äpfel und Übermut: „schön“ …",
    "naïve café\u0301 ½ ² Ⅷ ٣",
    "語彙は、日本語。中文\uff0c标点\uff01한국어",
    "Ελληνικά עברית العربية हिन्दी",
    "😀👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈!",
    "tab\tline\nend\r\n\u00a0\u3000 \u200b\u2028x",
    "\0\x01\x1b[0m\x7f\x85",
    "\ufeff\ufffd\ue000\U000e0001",
    "  \n\n  indented\n",
    "http://example.org/a?b=c&d=%20#e",
    "x" * 300,
    "<s> </s> <pad> <unk> <PERSON_1><PERSON_1>'s  <URL_2> !<PERSON_1",
)
ANSWERED = slice(2, 10)  # probes whose answers are compared too: each costs a decoding


def refuse_difference(folder: Path, export_folder: Path, decoding: Decoding) -> None:
    """Raise SeqlineError unless the folder's own example.py reads, writes and answers as the decoder does."""
    from tokenizers import Tokenizer

    example = _loaded(folder / EXAMPLE)
    tokenizer = Tokenizer.from_file(str(export_folder / "hf" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(json.loads((export_folder / "export.json").read_text(encoding="utf-8"))["max_source"])
    probes = [*PROBES, *_pieces_as_texts(tokenizer)]
    expected = [encoding.tokens for encoding in tokenizer.encode_batch(probes)]
    with redirect_stderr(io.StringIO()):  # it says what it cuts
        read = [example.encode(text) for text in probes]
    _refuse("read", read, expected)
    outputs = [[name] for name in tokenizer.get_vocab()] + expected
    _refuse("written", [example.decode(pieces) for pieces in outputs], [_text(tokenizer, pieces) for pieces in outputs])
    if not decoding.temperature:  # drawn answers differ by design
        texts = PROBES[ANSWERED]
        answers = [answer.text.replace("\0", "") for answer in Decoder(export_folder).generate(texts, decoding)]
        _refuse("answered", [example.answer(text) for text in texts], answers)


def _text(tokenizer: Any, pieces: Sequence[str]) -> str:
    """As the decoder writes it; SentencePiece has no NUL."""
    ids = [tokenizer.token_to_id(piece) for piece in pieces]
    return str(tokenizer.decode(ids, skip_special_tokens=True)).replace("\0", "").strip()


def _refuse(done: str, found: Sequence[object], expected: Sequence[object]) -> None:
    differ = sum(ours != theirs for ours, theirs in zip(found, expected, strict=True))
    if differ:
        raise SeqlineError(
            f"on-device export: {differ} of {len(expected)} probes are {done} differently without `tokenizers`: "
            f"this tokenizer has no exact SentencePiece form"
        )


def _pieces_as_texts(tokenizer: Any) -> list[str]:
    """Every piece alone, after a word and before one: each of them must be found, and none beyond its word's end."""
    names = [tokenizer.decode([number], skip_special_tokens=False) for number in range(tokenizer.get_vocab_size())]
    return [f"{before}{name}{after}" for name in names for before, after in (("", ""), ("a ", "1"), ("1", "a"), ("'", " "))]


def _loaded(path: Path) -> Any:
    """The folder's own code, as its users will run it; nothing is written beside it."""
    module = ModuleType("seqline_on_device_example")
    module.__file__ = str(path)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(module))  # noqa: S102
    return module
