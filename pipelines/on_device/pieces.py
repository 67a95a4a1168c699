"""A tokenizer.json as SentencePiece models and two patterns that together read and write exactly as it does.

Byte-level BPE has pieces that are not whole characters, and SentencePiece knows characters only. So each byte is read as the
character that stands for it in tokenizer.json (GPT-2's alphabet): a charsmap of 256 rules on single bytes rewrites the text,
and the opposite one in the denormaliser gives the bytes back. Every piece then has the very name that it has in tokenizer.json
and in CTranslate2's vocabulary. A piece's score is minus the rank of its merge. SentencePiece merges whatever makes a piece,
and BPE only the pair it learnt; both do the same inside a word where every piece, read alone, is that piece (check.py reads
those that are whole characters).

What SentencePiece has not is BPE's cut into words first. `words` does that: GPT-2's pattern, with placeholders kept whole and
classes of characters spelt out (Python's `re` has no \\p{L}; which characters they are is asked of `tokenizers` itself).
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.errors import UserError
from pipelines.on_device.charsmap import charsmap

NUL = "\U0010ffff"
"""Stands for the character NUL, which SentencePiece cannot take: a noncharacter, in no text that is meant for others."""
NO_PIECE = "<no piece>"
ANYTHING, NEVER = "(?s).+", "(?!)"
FIRST_SPACE = {"type": "Metaspace", "replacement": " ", "prepend_scheme": "first", "split": False}
PLAIN_BPE = {
    **dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")),
    **dict.fromkeys(("byte_fallback", "ignore_merges"), False),
}
SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True)
class Pieces:
    """Serialised models; `start` matches where a text wants a space put before it, `words` each word of it."""

    source: bytes
    target: bytes
    start: str
    words: str


def pieces_of(hf: Path) -> Pieces:
    """The SentencePiece form of the tokenizer in `hf`: its own *.model or *.spm files, or one made of tokenizer.json.

    Raises:
        UserError: its tokenizer has no exact SentencePiece form that is known here.
    """
    content = json.loads((hf / "tokenizer.json").read_text(encoding="utf-8"))
    own = _own(hf)
    if own:
        source, target = (_with_added(path, content, read=path == own[0]) for path in own)
        if own[0] == own[1]:
            target = _with_added(own[1], content, read=False)
        return Pieces(source, target, NEVER, ANYTHING)
    return _of_bytes(content)


# ------------------------------------------------------------------------------------------------------ a base's own


def _own(hf: Path) -> tuple[Path, Path] | None:
    if (hf / "source.spm").is_file() and (hf / "target.spm").is_file():
        return hf / "source.spm", hf / "target.spm"
    found = sorted([*hf.glob("*.model"), *hf.glob("*.spm")])
    return (found[0], found[0]) if len(found) == 1 else None


def _with_added(path: Path, content: Any, *, read: bool) -> bytes:
    """The model in `path` with the pieces that training added (placeholders)."""
    form = _form()
    model = form.ModelProto.FromString(path.read_bytes())
    known = {piece.piece for piece in model.pieces}
    for token in content["added_tokens"]:
        if token["content"] not in known:
            model.pieces.add(piece=token["content"], type=_kind(token, read=read))
    return bytes(model.SerializeToString())


def _kind(token: Any, *, read: bool) -> int:
    """Special tokens count where they stand in a text that is read, and are left out of what is written."""
    form = _form()
    kinds = form.ModelProto.SentencePiece
    return int(kinds.CONTROL if token["special"] and not read else kinds.USER_DEFINED)


def _form() -> Any:
    """SentencePiece's own file format, as protobuf classes (without types)."""
    from sentencepiece import sentencepiece_model_pb2

    return sentencepiece_model_pb2


# ------------------------------------------------------------------------------------------------------ byte-level BPE


def _of_bytes(content: Any) -> Pieces:
    first_space = _checked(content)
    added = [token["content"] for token in content["added_tokens"]]
    start = rf"\A(?! |{_any_of(added)}|\Z)" if first_space else NEVER
    source, target = (_model(content, read=read) for read in (True, False))
    return Pieces(source, target, start, _words(added))


def _checked(content: Any) -> bool:
    """Whether a space is put before the first word. Raises UserError if the tokenizer is not as this module knows them."""
    steps = content["pre_tokenizer"] or {}
    steps = steps["pretokenizers"] if steps.get("type") == "Sequence" else [steps]
    bytes_only = [step for step in steps if step != FIRST_SPACE]
    model = content["model"]
    known = (
        model["type"] == "BPE"
        and all((model.get(key) or None) == (value or None) for key, value in PLAIN_BPE.items())
        and content["normalizer"] is None
        and len(bytes_only) == 1
        and bytes_only[0].get("type") == "ByteLevel"
        and bytes_only[0]["use_regex"]
        and steps[-1] == bytes_only[0]
        and not any(token[flag] for token in content["added_tokens"] for flag in ("lstrip", "rstrip", "single_word"))
        and all(token["content"].isascii() and token["content"].isprintable() for token in content["added_tokens"])
        and set(_alphabet().values()) <= model["vocab"].keys()
    )
    if not known:
        raise UserError(
            "on-device export: the tokenizer has no exact SentencePiece form: train with one of seqline's own "
            "(training.base: scratch), or put the base's *.model or *.spm file beside its tokenizer.json"
        )
    return len(steps) > 1 or bool(bytes_only[0]["add_prefix_space"])


def _alphabet() -> dict[int, str]:
    """Byte -> the character that stands for it: itself where it can be seen, else the next from U+0100 on."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    unseen = (byte for byte in range(256) if byte not in seen)
    return {byte: chr(byte) for byte in seen} | {byte: chr(256 + place) for place, byte in enumerate(unseen)}


def _model(content: Any, *, read: bool) -> bytes:
    form = _form()
    ranks = {"".join(pair): rank for rank, pair in reversed([*enumerate(_merges(content["model"]))])}
    added = {token["id"]: token for token in content["added_tokens"]}
    names = {number: piece for piece, number in content["model"]["vocab"].items()}
    names |= {number: token["content"] for number, token in added.items()}
    model = form.ModelProto()
    for number in range(max(names) + 1):
        name = names.get(number, f"<hole {number}>")
        kind = _kind(added[number], read=read) if number in added else form.ModelProto.SentencePiece.NORMAL
        kind = kind if number in names else form.ModelProto.SentencePiece.CONTROL
        model.pieces.add(piece=name, score=-1.0 - ranks[name] if name in ranks else 0.0, type=kind)
    model.pieces.add(piece=NO_PIECE, type=form.ModelProto.SentencePiece.UNKNOWN)  # SentencePiece wants one
    trained = model.trainer_spec
    trained.model_type, trained.vocab_size = form.TrainerSpec.BPE, len(model.pieces)
    trained.unk_id, trained.unk_piece = len(model.pieces) - 1, NO_PIECE
    trained.bos_id = trained.eos_id = trained.pad_id = -1
    letters = [(bytes([byte]), letter.encode()) for byte, letter in _alphabet().items()]
    reading = {byte: letter for byte, letter in letters if byte not in (b"\0", letter)}
    writing = {letter: byte.strip(b"\0") for byte, letter in letters if byte != letter}
    nul = {NUL.encode(): _alphabet()[0].encode()}
    for spec, rules in ((model.normalizer_spec, reading | nul), (model.denormalizer_spec, writing)):
        spec.precompiled_charsmap = charsmap(rules)
        spec.add_dummy_prefix = spec.remove_extra_whitespaces = spec.escape_whitespaces = False
    return bytes(model.SerializeToString())


def _merges(model: Any) -> list[tuple[str, str]]:
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]  # a text in older files
    return [(left, right) for left, right in pairs]


def _any_of(added: Iterable[str]) -> str:
    """The longest that fits, as `tokenizers` looks for them."""
    return "|".join(re.escape(each) for each in sorted(added, key=len, reverse=True)) or NEVER


def _words(added: Iterable[str]) -> str:
    """GPT-2's pattern of words, where what was added is a word of its own and ends the text before it."""
    whole = _any_of(added)
    letter, number, space = (_characters(each) for each in (r"\p{L}", r"\p{N}", r"\s"))
    runs = "|".join(f" ?(?:(?!{whole})[{each}])+" for each in (letter, number, f"^{space}{letter}{number}"))
    endings = "|".join(f"'{ending}" for ending in ("s", "t", "re", "ve", "m", "ll", "d"))
    return f"{whole}|{endings}|{runs}|[{space}]+(?={whole})|[{space}]+(?![^{space}])|[{space}]+"


@cache
def _characters(kind: str) -> str:
    """The characters of a class (`\\p{L}`) as `tokenizers` has them, for use inside brackets."""
    from tokenizers import Regex, pre_tokenizers

    characters = "".join(chr(code) for code in range(0x110000) if code not in SURROGATES)
    split: Any = pre_tokenizers.Split(Regex(f"{kind}+"), "removed", invert=True)
    # No class runs across the surrogates: private use characters follow them.
    return "".join(f"{re.escape(run[0])}-{re.escape(run[-1])}" for run, _ in split.pre_tokenize_str(characters))
