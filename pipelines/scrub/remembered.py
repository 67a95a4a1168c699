"""Spans found in earlier runs, by keyed hash of the text: offsets only, in the quarantine."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from pipelines.errors import Transient
from pipelines.scrub.spans import Span

WAIT_SECONDS = 30.0  # for another process that writes
AT_ONCE = 500  # keys in one query


class Remembered:
    """Spans by (text, policy), in a SQLite file of mode 0600.

    Without the key nobody learns from the file whether a text was in the data. A file that is broken is begun anew: all in
    it can be found again.

    Args:
        privacy: digest of all that decides what is found: policy, language, versions.
        key: secret of at most 64 bytes.
    """

    def __init__(self, path: Path, privacy: str, key: bytes) -> None:
        self._path, self._key = path, key
        self._salt = hashlib.blake2b(privacy.encode(), digest_size=16).digest()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._create()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise Transient(f"scrub: the cache of spans is in use or cannot be written ({error})") from None
            path.unlink()
            self._create()

    def get(self, texts: Sequence[str]) -> list[list[Span] | None]:
        """The spans of each text; None where they are not known."""
        keys = [self._hash(text) for text in texts]
        known: dict[bytes, list[Span]] = {}
        try:
            with closing(self._connect()) as database:
                for start in range(0, len(keys), AT_ONCE):
                    some = keys[start : start + AT_ONCE]
                    marks = ",".join("?" * len(some))
                    rows = database.execute(f"SELECT key, spans FROM spans WHERE key IN ({marks})", some)  # noqa: S608
                    known.update((key, [Span(*span) for span in json.loads(spans)]) for key, spans in rows)
        except sqlite3.DatabaseError:
            return [None] * len(texts)
        return [known.get(key) for key in keys]

    def put(self, texts: Sequence[str], spans: Iterable[Sequence[Span]]) -> None:
        """Remember the spans of each text."""
        rows = [(self._hash(text), json.dumps(list(found))) for text, found in zip(texts, spans, strict=True)]
        try:
            with closing(self._connect()) as database, database:
                database.executemany("INSERT OR REPLACE INTO spans VALUES (?, ?)", rows)
        except sqlite3.DatabaseError as error:
            raise Transient(f"scrub: the cache of spans cannot be written ({error})") from None

    def _hash(self, text: str) -> bytes:
        content = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=16, key=self._key, salt=self._salt).digest()

    def _create(self) -> None:
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        with closing(self._connect()) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS spans (key BLOB PRIMARY KEY, spans TEXT NOT NULL) WITHOUT ROWID")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=WAIT_SECONDS)
