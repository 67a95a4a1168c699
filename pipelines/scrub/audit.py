"""How much the scrubber misses, measured on values known for certain; and the proof that what it removed is nowhere.

A value counts as missed when it still stands, letter for letter, in any scrubbed text. Recall is given with its exact
(Clopper-Pearson) 95 % interval.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import SeqlineError
from pipelines.scrub.spans import Span, replace, resolve
from pipelines.spec import Privacy

Known = Mapping[str, Sequence[str]]
"""{entity: its distinct values, sorted}."""

MOST = 400  # values of an entity in the audit: an interval of some 2 points' width at 99 %, in seconds
# Running text, without any field's name. The same names and addresses as in the source, so a recall that fell here would show
# that the scrubber had learnt the source's layout.
TEMPLATES = {
    "PERSON": (
        "The idea came from {}, who also wrote the first version of the parser.",
        "Many thanks to {} for the patch that fixes the memory leak.",
        "We met {} last summer and talked about the next release.",
        "According to {}, the old interface will go away next year.",
        "In the end it was {} who found the bug and reported it.",
    ),
    "EMAIL_ADDRESS": (
        "If anything breaks, please write to {} and attach the log.",
        "You can reach us at {} on weekdays.",
        "The patch was sent from {} two weeks ago.",
    ),
    "URL": (
        "The documentation has moved to {} for good.",
        "See {} for a longer explanation of the format.",
        "We downloaded the tables from {} and converted them.",
    ),
}


def known_values(pairs: Iterable[Mapping[str, Any]], privacy: Privacy) -> dict[str, list[str]]:
    """The distinct known values of each entity that the policy removes."""
    values: dict[str, set[str]] = {}
    for pair in pairs:
        for item in pair["known"]:
            if item["entity"] in privacy.entities:
                values.setdefault(item["entity"], set()).add(item["value"])
    return {entity: sorted(found) for entity, found in sorted(values.items())}


def sentences(known: Known) -> list[tuple[str, str, str]]:
    """(entity, value, sentence): each of at most MOST values an entity, chosen by hash, in one sentence of running text."""
    placed = []
    for entity, templates in TEMPLATES.items():
        chosen = sorted(known.get(entity, ()), key=_hash)[:MOST]
        placed += [(entity, value, templates[_hash(value) % len(templates)].format(value)) for value in chosen]
    return placed


def _hash(value: str) -> int:
    return int.from_bytes(hashlib.sha256(value.encode()).digest()[:8])


def split_known(known: Known, texts: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The known values that stand in none of `texts` (removed), and those that still do (missed), by entity."""
    everything = "\0".join(texts)
    missed = {entity: [value for value in values if value in everything] for entity, values in known.items()}
    removed = {entity: sorted(set(values) - set(missed[entity])) for entity, values in known.items()}
    return removed, missed


def missed_sentences(
    placed: Sequence[tuple[str, str, str]], spans: Mapping[str, Sequence[Span]], privacy: Privacy
) -> tuple[dict[str, int], dict[str, list[str]]]:
    """How many values an entity were placed, and which of them stayed in their sentence, given the detector's spans."""
    counts: dict[str, int] = {}
    missed: dict[str, list[str]] = {}
    for entity, value, text in placed:
        counts[entity] = counts.get(entity, 0) + 1
        done = replace([text], [resolve(text, spans[text])], privacy.placeholders)
        missed.setdefault(entity, [])
        if value in done.texts[0]:
            missed[entity].append(value)
    return counts, missed


def recall(counts: Mapping[str, int], missed: Known) -> dict[str, dict[str, Any]]:
    """{entity: {"values", "missed", "recall", "interval": [low, high]}}, by the exact binomial interval of 95 %."""
    from scipy.stats import binomtest

    measured = {}
    for entity, values in sorted(counts.items()):
        found = values - len(missed[entity])
        interval = binomtest(found, values).proportion_ci(0.95, method="exact")
        measured[entity] = {
            "values": values,
            "missed": len(missed[entity]),
            "recall": round(found / values, 4),
            "interval": [round(float(interval.low), 4), round(float(interval.high), 4)],
        }
    return measured


def sweep(values: Sequence[str], roots: Sequence[Path]) -> list[tuple[Path, int]]:
    """The files under `roots` in which any of `values` stands, and how often; [] is the proof that there is none.

    Every file is read as bytes, whatever it is (a database's pages too). What is compressed is unpacked first: Parquet,
    gzip, zstandard, zip. JSON escapes are undone by looking for each value's escaped form as well.
    """
    from rich.progress import track

    files = sorted({path for root in roots for path in ([root] if root.is_file() else root.rglob("*")) if path.is_file()})
    found = []
    # an unnamed file that only this user can open: values belong in no argument list and under no name
    with tempfile.TemporaryFile() as wanted:
        wanted.write(b"\n".join(sorted({form for value in values for form in _forms(value)})))
        wanted.flush()
        for path in track(files, f"sweep: {len(values)} values", transient=True, console=_console()):
            count = sum(_count(content, wanted.fileno()) for content in _contents(path))
            if count:
                found.append((path, count))
    return found


def _console() -> Any:
    from rich.console import Console

    console = Console(stderr=True)
    console.quiet = not console.is_terminal
    return console


def _forms(value: str) -> set[bytes]:
    return {value.encode(), json.dumps(value)[1:-1].encode(), json.dumps(value, ensure_ascii=False)[1:-1].encode()}


def _count(content: bytes, wanted: int) -> int:
    """How often the values in the open file `wanted` stand in `content`: grep -F looks for thousands at once."""
    os.lseek(wanted, 0, os.SEEK_SET)
    command = ["grep", "-aoF", "-f", f"/dev/fd/{wanted}"]
    done = subprocess.run(
        command, input=content, capture_output=True, pass_fds=[wanted], env={**os.environ, "LC_ALL": "C"}, check=False
    )
    if done.returncode > 1:
        raise SeqlineError(f"sweep: grep failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.count(b"\n")


def _contents(path: Path) -> Iterable[bytes]:
    """The bytes of a file, and of what is packed in it."""
    content = path.read_bytes()
    yield content
    if content[:4] == b"PAR1":
        yield from _columns(path)
    elif content[:4] == b"PK\x03\x04":
        import zipfile

        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from (archive.read(name) for name in archive.namelist())
    elif content[:2] == b"\x1f\x8b" or content[:4] == b"\x28\xb5\x2f\xfd":
        import pyarrow as pa

        with pa.CompressedInputStream(str(path), "gzip" if content[:2] == b"\x1f\x8b" else "zstd") as stream:
            yield stream.read()


def _columns(path: Path) -> Iterable[bytes]:
    """The texts of a Parquet file, nested ones as well, as bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def texts(column: Any) -> Iterable[bytes]:
        kind = column.type
        if pa.types.is_dictionary(kind):
            yield from texts(column.dictionary_decode())
        elif pa.types.is_struct(kind):
            yield from (text for index in range(kind.num_fields) for text in texts(column.field(index)))
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            yield from texts(column.flatten())
        elif (
            pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or pa.types.is_binary(kind)
            or pa.types.is_large_binary(kind)
        ):
            yield b"\0".join(column.drop_null().cast(pa.large_binary()).to_pylist())

    for batch in pq.ParquetFile(path).iter_batches():
        for column in batch.columns:
            yield from texts(column)


def expire(quarantine: Path, days: int) -> int:
    """Delete the raw-* and scrub-* folders in `quarantine` that were made more than `days` days ago; returns how many."""
    limit = time.time() - days * 86_400
    old = [
        folder
        for pattern in ("raw-*", "scrub-*", ".raw-*")
        for folder in (quarantine.glob(pattern) if quarantine.is_dir() else ())
        if folder.is_dir() and folder.stat().st_mtime < limit
    ]
    for folder in old:
        shutil.rmtree(folder)
    return len(old)
