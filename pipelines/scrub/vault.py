"""The vault: what was replaced, encrypted, so that who has the key can restore the original bytes, and nobody else.

A Parquet file of one row a pair: id, nonce, sealed (AES-256-GCM). The cipher's key is derived (HKDF) for each vault anew, so
that nonces drawn at random do not meet. A row is authenticated together with its place, its id and the clean texts that it
belongs to, and a last row counts them: none can be changed, moved or taken out unseen.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.artifact import Corrupt
from pipelines.errors import UserError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from pipelines.scrub.spans import Replaced

ROWS = 5_000  # of a row group, and in memory
KEY_BYTES = 32
NONCE_BYTES = 12
VARIABLE = "SEQLINE_VAULT_KEY"
METADATA = b"seqline.vault"


class Row(NamedTuple):
    """A pair as it was, and what was replaced in each of its texts, in order (offsets in the original)."""

    id: str
    texts: Sequence[str]
    replaced: "Sequence[Sequence[Replaced]]"


class Original(NamedTuple):
    """A pair as it was before it was scrubbed."""

    id: str
    texts: tuple[str, ...]


class Vault:
    def __init__(self, key: bytes) -> None:
        """`key`: KEY_BYTES secret bytes."""
        self._key = key

    @contextmanager
    def writer(self, path: Path) -> "Iterator[Writer]":
        """A vault in the file `path` (mode 0600), to which pairs are added in the order of the clean ones.

        Whole only when the block has ended. Two vaults of the same rows differ in their bytes.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        salt, nonce = os.urandom(16), os.urandom(NONCE_BYTES)
        cipher = _cipher(self._key, salt)
        head = {"version": 1, "salt": salt.hex(), "check": (nonce + cipher.encrypt(nonce, b"", METADATA)).hex()}
        schema = pa.schema([("id", pa.string()), ("nonce", pa.binary()), ("sealed", pa.binary())])
        path.unlink(missing_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        noted = schema.with_metadata({METADATA: json.dumps(head)})
        with pq.ParquetWriter(path, noted, compression="none", use_dictionary=False) as file:
            vault = Writer(file, schema, cipher)
            yield vault
            vault.end()

    def write(self, path: Path, rows: Iterable[Row]) -> None:
        """The vault of `rows`, which may be more than memory holds."""
        with self.writer(path) as vault:
            vault.add(rows)

    def restore(self, clean: Path, path: Path) -> Iterator[Original]:
        """Yields the pairs (`source`, `target`) of the Parquet file `clean` as they were, byte for byte, each checked first.

        Both files are read a row group at a time. That no pair was taken out of both is known when the last has been read.

        Raises:
            UserError: this is not the vault's key. Corrupt: a byte of either file changed, or a row is missing; names
                the record.
        """
        cipher, counted = self._opened(path), False
        pairs, sealed = _rows(clean, ("id", "source", "target")), _rows(path, ("id", "nonce", "sealed"))
        for number, (pair, row) in enumerate(zip_longest(pairs, sealed)):
            id_, texts = (pair["id"], (pair["source"], pair["target"])) if pair else ("", ())
            record = f"{path.name}: record {id_}" if pair else f"{path.name}: the last record"
            if row is None:
                raise Corrupt(f"{record}: missing")
            values = _unsealed(cipher, row, _bound(number, id_, texts), record)
            if pair:
                yield Original(id_, tuple(map(_filled, texts, values)))
            else:
                counted = True
        if not counted:
            raise Corrupt(f"{path.name}: its last record is missing")

    def _opened(self, path: Path) -> "AESGCM":
        """The cipher of a vault, if this is its key."""
        import pyarrow.parquet as pq
        from cryptography.exceptions import InvalidTag

        try:
            head = json.loads((pq.read_schema(path).metadata or {})[METADATA])
            check, cipher = bytes.fromhex(head["check"]), _cipher(self._key, bytes.fromhex(head["salt"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Corrupt(f"{path.name}: is no vault that can be read ({type(error).__name__})") from None
        try:
            cipher.decrypt(check[:NONCE_BYTES], check[NONCE_BYTES:], METADATA)
        except (InvalidTag, ValueError):
            raise UserError(f"{VARIABLE}: is not the key of {path.name}: set the one with which it was written") from None
        return cipher


def write_restored(originals: Iterable[Original], path: Path) -> int:
    """Write restored pairs to the Parquet file `path` (mode 0600), whole or not at all; returns how many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in ("id", "source", "target")])
    building, count, rows = path.with_name(f".{path.name}.{os.getpid()}"), 0, iter(originals)
    try:
        os.close(os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with pq.ParquetWriter(building, schema, compression="zstd") as file:
            while some := list(islice(rows, ROWS)):
                pairs = [{"id": each.id, "source": each.texts[0], "target": each.texts[1]} for each in some]
                file.write_table(pa.Table.from_pylist(pairs, schema))
                count += len(pairs)
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)
    return count


class Writer:
    """Seals rows as they come, ROWS of them in memory."""

    def __init__(self, file: Any, schema: Any, cipher: "AESGCM") -> None:
        self._file, self._schema, self._cipher = file, schema, cipher
        self._numbers = count()
        self._waiting: list[dict[str, Any]] = []

    def add(self, rows: Iterable[Row]) -> None:
        for id_, texts, replaced in rows:
            emptied = [_emptied(text, spans) for text, spans in zip(texts, replaced, strict=True)]
            self._seal(id_, [clean for clean, _ in emptied], [values for _, values in emptied])

    def end(self) -> None:
        """Count the rows."""
        self._seal("", (), [])
        self._flush()

    def _seal(self, id_: str, clean: Sequence[str], values: object) -> None:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, json.dumps(values).encode(), _bound(next(self._numbers), id_, clean))
        self._waiting.append({"id": id_, "nonce": nonce, "sealed": sealed})
        if len(self._waiting) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self._file.write_table(pa.Table.from_pylist(self._waiting, self._schema))
        self._waiting.clear()


def _cipher(key: bytes, salt: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, b"seqline vault").derive(key))


def _bound(number: int, id_: str, clean: Sequence[str]) -> bytes:
    """What a row is authenticated with."""
    return hashlib.sha256(json.dumps([number, id_, *clean]).encode()).digest()


def _emptied(text: str, replaced: "Sequence[Replaced]") -> tuple[str, list[tuple[int, int, str]]]:
    """The clean text, and (start and end of the placeholder in it, value) for all that was replaced."""
    parts: list[str] = []
    values: list[tuple[int, int, str]] = []
    position = length = 0
    for span in replaced:
        parts += [text[position : span.start], span.placeholder]
        start = length + span.start - position
        position, length = span.end, start + len(span.placeholder)
        values.append((start, length, text[span.start : span.end]))
    return "".join([*parts, text[position:]]), values


def _filled(clean: str, values: Sequence[tuple[int, int, str]]) -> str:
    parts, position = [], 0
    for start, end, value in values:
        parts += [clean[position:start], value]
        position = end
    return "".join([*parts, clean[position:]])


def _unsealed(cipher: "AESGCM", row: dict[str, Any], bound: bytes, record: str) -> Any:
    from cryptography.exceptions import InvalidTag

    try:
        return json.loads(cipher.decrypt(row["nonce"], row["sealed"], bound))
    except (InvalidTag, ValueError, TypeError):
        raise Corrupt(f"{record}: its bytes, or those of the clean pair, are not the ones that were sealed") from None


def _rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if not set(columns) <= set(file.schema_arrow.names):
                raise Corrupt(f"{path.name}: has not the columns {', '.join(columns)}")
            for batch in file.iter_batches(ROWS, columns=list(columns)):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise Corrupt(f"{path.name}: cannot be read ({type(error).__name__})") from None
