"""The data of a judge: true pairs of several models, and the same pairs corrupted; a dataset, versioned like any other.

Rows are (id, source, target, domain, kind, start, end): `kind` is empty for a true pair, else the corruption whose change is
target[start:end], or `people` or `supported`: an answer of the model's, and what people said of it; `domain` is the model
that the pair is of. A corrupted row keeps the id of its pair. train and validation
come from the models' train splits, test from their test splits, which no model and no judge learns from.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipelines import artifact, spec
from pipelines.artifact import Dataset
from pipelines.errors import UserError
from pipelines.scoring.judge.corrupt import KINDS, Kind, Pairs, corrupt
from pipelines.scoring.judge.people import PEOPLE, SUPPORTED, Opinion

CODE_VERSION = 1
INSTEAD: tuple[Kind, ...] = ("inserted", "negation", "stale")
SHOWN, SOURCE_CHARS = 3, 200
LENDERS = 4_000  # pairs whose names, clauses and targets corruptions of held-out pairs are made of


@dataclass(frozen=True)
class Corpus:
    """One model's pairs; `language` is that of its targets, `translated` whether they translate the sources. `people` is what
    was said of its answers in production."""

    domain: str
    pairs: Dataset
    language: str
    translated: bool
    people: tuple[Opinion, ...] = ()


class Row(NamedTuple):
    id: str
    source: str
    target: str
    domain: str
    kind: str
    start: int
    end: int


def corrupted(corpora: Sequence[Corpus], how: spec.Corruptions, out: Path) -> Dataset:
    """The dataset of a judge: train, validation, test .parquet and dataset.json (counts a domain and kind).

    What people said is in test and, where they corrected it, in train.

    Of each train pair there is one corruption, of kinds in turn; so of each validation pair; of each test pair there is one of
    every kind that applies.

    Raises:
        UserError: a corpus has too few pairs.
    """
    told = [(each.domain, each.pairs.sha256, each.language, each.translated, *map(astuple, each.people)) for each in corpora]
    key = artifact.digest("corrupted", CODE_VERSION, told, how)
    return artifact.make(Dataset, out / f"dataset-{key[:16]}", lambda folder: _write(folder, corpora, how))


def read(dataset: Dataset, split: str) -> list[Row]:
    """The rows of `split` (train, validation, test)."""
    import pyarrow.parquet as pq

    table = pq.read_table(dataset.path / f"{split}.parquet", columns=list(Row._fields))
    return list(map(Row, *(table[name].to_pylist() for name in Row._fields)))


def samples(dataset: Dataset) -> str:
    """Markdown: a few corruptions of every kind and domain, each beside its source."""
    rows, lines, shown = read(dataset, "test"), ["# Corruptions", ""], dict[tuple[str, str], int]()
    for row in rows:
        seen = shown.get((row.domain, row.kind), 0)
        if row.kind and seen < SHOWN:
            shown[row.domain, row.kind] = seen + 1
            marked = f"{row.target[: row.start]}**[{row.target[row.start : row.end]}]**{row.target[row.end :]}"
            told = " ".join(row.source.split())[:SOURCE_CHARS]
            lines.append(f"- {row.domain}, {row.kind}: {' '.join(marked.split())} (source: {told})")
    return "\n".join(lines) + "\n"


def _write(folder: Path, corpora: Sequence[Corpus], how: spec.Corruptions) -> None:
    rows: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    for corpus in corpora:
        for split, made in _corpus(corpus, how).items():
            rows[split] += made
    for split, made in rows.items():
        _table(folder / f"{split}.parquet", made)
    facts = {
        "rows": sum(map(len, rows.values())),
        "kept": sum(map(len, rows.values())),
        "splits": {split: len(made) for split, made in rows.items()},
        "corpora": {corpus.domain: corpus.pairs.sha256 for corpus in corpora},
        "kinds": {split: _counts(made) for split, made in rows.items()},
        "held_out": list(how.held_out),
    }
    (folder / "dataset.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _counts(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        kinds = found.setdefault(row.domain, {})
        kinds[row.kind or "true"] = kinds.get(row.kind or "true", 0) + 1
    return found


def _corpus(corpus: Corpus, how: spec.Corruptions) -> dict[str, list[Row]]:
    tested = {each.source for each in corpus.people if each.tests}
    train, test = (_ranked(corpus.pairs, split, how.seed) for split in ("train", "test"))
    train = [text for text in train if text[1] not in tested]
    if len(train) <= how.validation:
        have = f"{corpus.domain} has {len(train)} training pairs"
        raise UserError(f"corruptions.validation: {have}; it must be smaller than that, not {how.validation}")
    validation, train = train[: how.validation], train[how.validation :]
    known, held = train[: max(how.train, LENDERS)], test[: how.test]
    return {
        "train": [*_in_turn(corpus, known, range(min(how.train, len(known))), how), *_corrections(corpus)],
        "validation": list(_in_turn(corpus, validation, range(len(validation)), how)),
        "test": [*_every(corpus, [*held, *known[:LENDERS]], range(len(held)), how.seed), *_labelled(corpus)],
    }


Texts = list[tuple[str, str, str]]


def _ranked(pairs: Dataset, split: str, seed: int) -> Texts:
    """(id, source, target) by the hash of the id: which pairs are taken does not hang on their order, nor on new ones."""
    import pyarrow.parquet as pq

    table = pq.read_table(pairs.path / f"{split}.parquet", columns=["id", "source", "target"]).to_pydict()
    rows = zip(table["id"], table["source"], table["target"], strict=True)
    return sorted(rows, key=lambda row: hashlib.sha256(f"{seed} {row[0]}".encode()).digest())


def _pairs(corpus: Corpus, texts: Texts) -> Pairs:
    sources, targets = [text[1] for text in texts], [text[2] for text in texts]
    return Pairs(sources, targets, corpus.language, translated=corpus.translated)


def _in_turn(corpus: Corpus, texts: Texts, rows: Sequence[int], how: spec.Corruptions) -> Iterator[Row]:
    """Of each pair the true row, then the corrupted one; pairs that nothing can corrupt are left out.

    Where the kind whose turn it is does not apply (no name, no number), a kind that keeps most of the target takes its place:
    whole targets of others are the easy lesson, and would be half of all.
    """
    pairs, kinds = _pairs(corpus, texts), how.learnt
    hard = [kind for kind in (*INSTEAD, *kinds) if kind in kinds]
    for row in rows:
        for kind in (kinds[row % len(kinds)], *hard):
            if made := corrupt(pairs, [row], kind, how.seed):
                yield _row(corpus, texts[row])
                yield _row(corpus, texts[row], kind, made[0].output, made[0].start, made[0].end)
                break


def _every(corpus: Corpus, texts: Texts, rows: Sequence[int], seed: int) -> Iterator[Row]:
    pairs = _pairs(corpus, texts)
    for row in rows:
        yield _row(corpus, texts[row])
    for kind in KINDS:
        for made in corrupt(pairs, rows, kind, seed):
            yield _row(corpus, texts[made.row], kind, made.output, made.start, made.end)


def _corrections(corpus: Corpus) -> Iterator[Row]:
    """Of what people called unsupported and corrected: the correction, then the answer."""
    for each in corpus.people:
        if not each.tests and not each.supported and each.corrected:
            yield Row(each.id, each.source, each.corrected, corpus.domain, "", -1, -1)
            yield Row(each.id, each.source, each.output, corpus.domain, PEOPLE, each.start, each.end)


def _labelled(corpus: Corpus) -> Iterator[Row]:
    for each in corpus.people:
        if each.tests:
            kind = SUPPORTED if each.supported else PEOPLE
            yield Row(each.id, each.source, each.output, corpus.domain, kind, each.start, each.end)


def _row(
    corpus: Corpus, text: tuple[str, str, str], kind: Kind | None = None, output: str = "", start: int = -1, end: int = -1
) -> Row:
    return Row(text[0], text[1], output if kind else text[2], corpus.domain, kind or "", start, end)


def _table(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in Row._fields}
    kinds = {name: pa.int64() if name in ("start", "end") else pa.string() for name in Row._fields}
    arrays = [pa.array(column, kinds[name]) for name, column in columns.items()]
    pq.write_table(pa.table(arrays, names=list(columns)), path, compression="zstd")
