"""Personal data in one file, by type and place, without saying what it is."""

import csv
import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from pipelines.errors import SeqlineError, UserError
from pipelines.spec.privacy import Privacy

if TYPE_CHECKING:
    from rich.table import Table

PLAIN = (".txt", ".md", ".log", ".rst", ".html", ".json")
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
BATCH = 256  # texts given to the detector at a time
PIECE = 5_000  # characters: a longer text is read in pieces, cut between words
SHOWN = 5  # places of a type in the table


class Text(NamedTuple):
    """A piece of a file: `where` (line 7; row 3 column name), and at which character of it the piece begins."""

    where: str
    offset: int
    text: str


def is_file(target: str) -> bool:
    """Whether `target` means a file of texts, there or not; else it means a model."""
    suffixes = Path(target).suffixes
    return bool(suffixes) and (suffixes[-1] in (*PLAIN, *TABLES, ".gz"))


def audit(path: Path, privacy: Privacy, *, show: bool = False) -> dict[str, Any]:
    """Counts, rates per 1,000 words and places of what the recognizers find, at level `exact` unless the policy has no tagger.

    Args:
        show: with the values.

    Raises:
        UserError: there is no such file, or it cannot be read as what its name says.
    """
    from pipelines.scrub.detect import Detector
    from pipelines.scrub.spans import LITERAL, resolve

    detector = Detector(privacy if privacy.level != "fast" else privacy.model_copy(update={"level": "exact"}))
    counts: Counter[str] = Counter()
    findings: list[dict[str, Any]] = []
    texts = read(path)
    while batch := list(islice(texts, BATCH)):
        counts.update(texts=len(batch), words=sum(len(each.text.split()) for each in batch))
        for (where, offset, text), spans in zip(batch, detector.attempt([each.text for each in batch]), strict=True):
            if isinstance(spans, SeqlineError):
                counts["failed"] += 1
                continue
            for start, end, entity, score in resolve(text, spans):
                if score < LITERAL:  # a placeholder is nobody's data
                    place = {"where": where, "start": offset + start, "end": offset + end}
                    value = {"value": text[start:end]} if show else {}
                    findings.append({"entity": entity, **place, "score": round(score, 2), **value})
    of_type = Counter(finding["entity"] for finding in findings)
    return {
        "file": str(path),
        "words": counts["words"],
        "texts": counts["texts"],
        "failed": counts["failed"],
        "entities": {
            entity: {"spans": of_type[entity], "per_1000_words": round(1_000 * of_type[entity] / max(counts["words"], 1), 2)}
            for entity in privacy.entities
        },
        "findings": findings,
    }


def read(path: Path) -> Iterator[Text]:
    """The texts of a file, as they come.

    Raises:
        UserError: see `audit`; names the line, never what stands in it.
    """
    suffixes = path.suffixes
    kind = suffixes[-2] if suffixes[-1] == ".gz" and len(suffixes) > 1 else suffixes[-1]
    line = 0
    try:
        if kind == ".parquet" and suffixes[-1] != ".gz":
            yield from _parquet(path)
            return
        opener = gzip.open if suffixes[-1] == ".gz" else open
        with opener(path, "rt", encoding="utf-8", newline="") as stream:
            reader = {".csv": _csv, ".tsv": _csv, ".jsonl": _jsonl}.get(kind, _lines)
            for number, where, text in reader(stream, kind):
                line = number
                yield from _pieces(where, text)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: after line {line}: is not UTF-8: convert the file") from None
    except (OSError, EOFError, ValueError, csv.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or f"cannot be read as {kind[1:]}"
        raise UserError(f"{path}: after line {line}: {reason}") from None


def _lines(stream: TextIO, _kind: str) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(stream, 1):
        yield number, f"line {number}", line.rstrip("\r\n")


def _csv(stream: TextIO, kind: str) -> Iterator[tuple[int, str, str]]:
    csv.field_size_limit(sys.maxsize)
    rows = csv.reader(stream, delimiter="\t" if kind == ".tsv" else ",")
    for number, row in enumerate(rows, 1):
        for column, cell in enumerate(row, 1):
            yield rows.line_num, f"row {number} column {column}", cell


def _jsonl(stream: TextIO, _kind: str) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(stream, 1):
        for key, text in _strings(json.loads(line)) if line.strip() else ():
            yield number, f"line {number} key {key}", text
        yield number, "", ""  # read whole, whether or not it held a text


def _strings(content: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(content, str):
        yield key, content
    elif isinstance(content, dict):
        for name, its in content.items():
            yield from _strings(its, f"{key}.{name}" if key else name)
    elif isinstance(content, list):
        for number, its in enumerate(content):
            yield from _strings(its, f"{key}[{number}]")


def _parquet(path: Path) -> Iterator[Text]:
    import pyarrow.parquet as pq

    row = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(1_000):
            for content in batch.to_pylist():
                row += 1
                for key, text in _strings(content):
                    yield from _pieces(f"row {row} column {key}", text)


def _pieces(where: str, text: str) -> Iterator[Text]:
    start = 0
    while len(text) - start > PIECE:
        cut = text.rfind(" ", start + 1, start + PIECE)
        end = cut + 1 if cut > 0 else start + PIECE
        yield Text(where, start, text[start:end])
        start = end
    if text[start:].strip():
        yield Text(where, start, text[start:])


def table(found: dict[str, Any]) -> "Table":
    """For a terminal."""
    from rich.table import Table
    from rich.text import Text as Shown

    table = Table("type", "found", "per 1,000 words", f"first {SHOWN} (characters)", box=None)
    table.title = f"{found['file']}: {found['words']:,} words in {found['texts']:,} texts"
    table.title_justify = table.caption_justify = "left"
    for entity, count in found["entities"].items():
        its = list(islice((each for each in found["findings"] if each["entity"] == entity), SHOWN))
        places = "; ".join(
            f"{each['where']} ({each['start']}-{each['end']}){' ' + each['value'] if 'value' in each else ''}" for each in its
        )
        table.add_row(entity, str(count["spans"]), f"{count['per_1000_words']:.2f}", Shown(places))
    if found["failed"]:
        table.caption = f"{found['failed']} texts on which a recognizer failed: nothing is known of them"
    return table
