"""Text to token ids: a byte-level BPE tokenizer trained on the scrubbed training text (or a base's own), and encoded pairs.

Byte-level, so that no text is unknown; trained by counts alone, so that the same text gives the same bytes. Special tokens
stand in BART's order. Placeholders of personal data are single pieces that decode to themselves. A text's first word is encoded
as any other word (with the space before it), so that a word copied to the head of an answer is the same piece.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import artifact
from pipelines.artifact import Dataset, Tokens
from pipelines.errors import UserError
from pipelines.masking import masked
from pipelines.spec import TokensSection

CODE_VERSION = 2
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
"""Ids 0 to 3, as in BART."""
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "*.model",
    "*.spm",
)
SMALLEST = 256
"""Pieces of the byte alphabet, which every vocabulary holds."""


def encode(dataset: Dataset, section: TokensSection, placeholders: tuple[str, ...], base: Path | None, out: Path) -> Tokens:
    """Encode the train and validation splits by the tokenizer of the `base` folder, or by one trained on the train split.

    Makes tokenizer/ (loads with AutoTokenizer), train.parquet (source_ids, target_ids: list<int32>), validation.parquet
    (these and id, source, target) and tokens.json (shares cut, tokens, pieces a word, share of unknown pieces).

    Raises:
        UserError: the vocabulary is too small for the bytes and placeholders, the train split is empty, or the base has no
            tokenizer that the `tokenizers` library reads.
    """
    key = artifact.digest("encode", CODE_VERSION, dataset, section, placeholders, base and _tokenizer_digest(base))
    return artifact.make(
        Tokens, out / f"tokens-{key[:16]}", lambda folder: _write(folder, dataset, section, placeholders, base)
    )


def _tokenizer_digest(base: Path) -> str:
    files = sorted({path for pattern in TOKENIZER_FILES for path in base.glob(pattern)})
    if not files:
        raise UserError(f"training.base: {base.name}: holds no tokenizer (tokenizer.json)")
    return artifact.digest([(path.name, artifact.file_sha256(path)) for path in files])


def _write(folder: Path, dataset: Dataset, section: TokensSection, placeholders: tuple[str, ...], base: Path | None) -> None:
    import pyarrow.parquet as pq

    train = pq.read_table(dataset.path / "train.parquet", columns=["source", "target"]).to_pydict()
    validation = pq.read_table(dataset.path / "validation.parquet", columns=["id", "source", "target"]).to_pydict()
    if not train["source"]:
        raise UserError("data: the train split is empty: give more data or smaller validation and test splits")
    if base is None:
        tokenizer = _train(train["source"] + train["target"], section, placeholders)
    else:
        tokenizer = _of_base(base, section, placeholders)
    tokenizer.save_pretrained(folder / "tokenizer")
    stand_ins = masked(train["source"], train["target"], placeholders, section.masked)
    train["source"] += [pair.source for pair in stand_ins]
    train["target"] += [pair.target for pair in stand_ins]
    trained, validated = (_pairs(tokenizer, texts, section) for texts in (train, validation))
    _write_ids(folder / "train.parquet", trained, {})
    _write_ids(folder / "validation.parquet", validated, validation)
    facts = {
        "vocabulary": len(tokenizer),
        "placeholders": len(placeholders),
        "masked": len(stand_ins),
        "max_source": section.max_source,
        "max_target": section.max_target,
        "train": trained.facts(train, tokenizer.unk_token_id),
        "validation": validated.facts(validation, tokenizer.unk_token_id),
    }
    (folder / "tokens.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")


# ------------------------------------------------------------------------------------------------------ the tokenizer


def _train(texts: Sequence[str], section: TokensSection, placeholders: tuple[str, ...]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    room = section.vocabulary - len(placeholders)
    if room < SMALLEST + len(SPECIALS):
        least = SMALLEST + len(SPECIALS) + len(placeholders)
        raise UserError(
            f"tokens.vocabulary: must be at least {least} (bytes, special tokens and placeholders), not {section.vocabulary}"
        )
    tokenizer = Tokenizer(models.BPE())
    # Metaspace with a plain space as its mark does one thing here: it puts a space before the text's first word.
    first_space = pre_tokenizers.Metaspace(replacement=" ", prepend_scheme="first", split=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([first_space, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=room,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_without(texts, placeholders), trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in placeholders])
    end = (SPECIALS[2], tokenizer.token_to_id(SPECIALS[2]))
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {end[0]}", special_tokens=[end])
    return _wrapped(tokenizer, section)


def _without(texts: Iterable[str], placeholders: Sequence[str]) -> Iterator[str]:
    """The text between the placeholders: they are pieces already, and would crowd the counts."""
    if not placeholders:
        yield from texts
        return
    between = re.compile("|".join(re.escape(token) for token in placeholders))
    for text in texts:
        yield from between.split(text)


def _wrapped(tokenizer: Any, section: TokensSection) -> Any:
    from transformers import PreTrainedTokenizerFast

    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), SPECIALS, strict=True))
    make: Any = PreTrainedTokenizerFast  # transformers leaves its constructor untyped
    return make(tokenizer_object=tokenizer, model_max_length=section.max_source, clean_up_tokenization_spaces=False, **names)


def _of_base(base: Path, section: TokensSection, placeholders: tuple[str, ...]) -> Any:
    from tokenizers import AddedToken
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"training.base: {base.name}: its tokenizer cannot be read: {str(error).splitlines()[0]}") from None
    if not tokenizer.is_fast or tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
        raise UserError(
            f"training.base: {base.name}: its tokenizer needs a tokenizer.json form, an end token and a padding token"
        )
    known = tokenizer.get_vocab()
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in placeholders if token not in known])
    tokenizer.model_max_length = section.max_source
    return tokenizer


# ------------------------------------------------------------------------------------------------------ the pairs


@dataclass(frozen=True)
class _Pairs:
    source_ids: list[list[int]]
    target_ids: list[list[int]]
    sources_cut: int
    targets_cut: int

    def facts(self, texts: dict[str, list[str]], unknown: int | None) -> dict[str, float | int]:
        pieces = sum(map(len, self.source_ids)) + sum(map(len, self.target_ids))
        words = sum(len(text.split()) for column in ("source", "target") for text in texts[column])
        unknowns = sum(ids.count(unknown) for ids in (*self.source_ids, *self.target_ids)) if unknown is not None else 0
        rows = max(len(self.source_ids), 1)
        return {
            "pairs": len(self.source_ids),
            "source_tokens": sum(map(len, self.source_ids)),
            "target_tokens": sum(map(len, self.target_ids)),
            "sources_cut": self.sources_cut / rows,
            "targets_cut": self.targets_cut / rows,
            "pieces_per_word": pieces / max(words, 1),
            "unknown": unknowns / max(pieces, 1),
        }


def _pairs(tokenizer: Any, texts: dict[str, list[str]], section: TokensSection) -> _Pairs:
    sources, sources_cut = _ids(tokenizer.backend_tokenizer, texts["source"], section.max_source)
    targets, targets_cut = _ids(tokenizer.backend_tokenizer, texts["target"], section.max_target)
    return _Pairs(sources, targets, sources_cut, targets_cut)


def _ids(tokenizer: Any, texts: list[str], longest: int) -> tuple[list[list[int]], int]:
    """Ids of each text in the tokenizer's own frame (end token and the like), at most `longest`; and how many were cut."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    encodings = tokenizer.encode_batch(texts)
    tokenizer.no_truncation()
    return [encoding.ids for encoding in encodings], sum(bool(encoding.overflowing) for encoding in encodings)


def _write_ids(path: Path, pairs: _Pairs, texts: dict[str, list[str]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = pa.list_(pa.int32())
    columns = {name: pa.array(values, pa.string()) for name, values in texts.items()}
    columns |= {"source_ids": pa.array(pairs.source_ids, ids), "target_ids": pa.array(pairs.target_ids, ids)}
    pq.write_table(pa.table(columns), path)
