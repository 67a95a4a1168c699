"""The audit log: what was replaced where, without ever saying what it was.

A value is kept as a keyed HMAC, so that who has the key can ask whether a given person was in the data, and nobody can read
from the log who was. The key matters: names and numbers are few enough to be guessed one by one from a plain hash.
"""

import hmac
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.errors import SeqlineError

if TYPE_CHECKING:
    from pipelines.scrub.spans import Replaced

ROWS = 20_000  # of a row group, and in memory
DIGITS = 32  # hexadecimal, of an HMAC: 128 bits
# what people write with spaces, dots or dashes, or without: one value all the same
NUMBERS = (
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "IBAN_CODE",
    "US_SSN",
    "US_ITIN",
    "US_BANK_NUMBER",
    "UK_NHS",
    "UK_NINO",
    "MAC_ADDRESS",
)


class Entry(NamedTuple):
    """A value that was replaced: the record and the side (`source`, `target`) it stood in."""

    id: str
    side: str
    replaced: "Replaced"
    value: str


class Record(NamedTuple):
    """A row of the log: offsets (characters of the original text), type, confidence, placeholder, keyed HMAC of the value."""

    id: str
    side: str
    start: int
    end: int
    entity: str
    score: float
    placeholder: str
    hmac: str


def pseudonym(key: bytes, entity: str, value: str) -> str:
    """The keyed HMAC-SHA256 (32 hexadecimal digits) of a value of this type.

    The same for whatever NFKC, case, runs of spaces and, in numbers, separators make of the value.
    """
    plain = " ".join(unicodedata.normalize("NFKC", value).casefold().split())
    if entity in NUMBERS:
        plain = re.sub(r"[\W_]", "", plain)
    # a value may hold a lone surrogate; the zero byte parts type and value
    content = f"{entity}\0{plain}".encode("utf-8", "surrogatepass")
    return hmac.digest(key, content, "sha256").hex()[:DIGITS]


class Writer:
    """Writes entries as they come, ROWS of them in memory."""

    def __init__(self, file: Any, schema: Any, key: bytes) -> None:
        self._file, self._schema, self._key = file, schema, key
        self._waiting: list[Record] = []

    def add(self, entries: Iterable[Entry]) -> None:
        for id_, side, (start, end, entity, score, placeholder), value in entries:
            hidden = pseudonym(self._key, entity, value)
            self._waiting.append(Record(id_, side, start, end, entity, score, placeholder, hidden))
            if len(self._waiting) >= ROWS:
                self.flush()

    def flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._file.write_table(pa.Table.from_pylist([row._asdict() for row in self._waiting], self._schema))
            self._waiting.clear()


@contextmanager
def writer(path: Path, key: bytes) -> Iterator[Writer]:
    """A log in the Parquet file `path`: the same bytes for the same entries and key. Whole only when the block has ended."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"start": pa.int32(), "end": pa.int32(), "score": pa.float64()}
    names = {"side", "entity", "placeholder"}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in Record._fields])
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=sorted(names)) as file:
        log = Writer(file, schema, key)
        yield log
        log.flush()


def write(path: Path, key: bytes, entries: Iterable[Entry]) -> None:
    """The log of `entries`, which may be more than memory holds."""
    with writer(path, key) as log:
        log.add(entries)


def look_up(path: Path, key: bytes, value: str) -> list[Record]:
    """The records in which `value` was replaced, as whatever type of data it was taken for, in the log's order.

    Raises:
        SeqlineError: the log cannot be read.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    hidden: dict[str, str] = {}
    found: list[Record] = []
    try:
        with pq.ParquetFile(path) as log:
            for batch in log.iter_batches(ROWS):
                for entity in pc.unique(batch.column("entity")).to_pylist():
                    hidden.setdefault(entity, pseudonym(key, entity, value))
                hit = pc.is_in(batch.column("hmac"), pa.array(list(hidden.values()), pa.string()))
                found += [Record(**row) for row in batch.filter(hit).to_pylist()]
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        raise SeqlineError(
            f"{path.parent.name}/{path.name}: is no audit log that can be read ({type(error).__name__})"
        ) from None
    return found
