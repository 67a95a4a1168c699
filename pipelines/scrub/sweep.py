"""The proof that values are nowhere: every file under some folders, searched byte by byte, whatever it is packed in.

Values are matched by Hyperscan, thousands in one pass over blocks, so that neither the size of a file nor the number of values
costs memory or much time. No value is ever printed, nor given to another process.
"""

import base64
import html
import json
import unicodedata
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines.errors import SeqlineError
from pipelines.scrub.packed import contents

LONGEST = 1_000  # bytes of a value that are compared: Hyperscan's patterns hold some 4,000
BASE64 = 8  # characters of base64 below which a find would be chance


def sweep(values: Iterable[str], roots: Sequence[Path]) -> list[tuple[Path, int]]:
    """The files under `roots` in which any of `values` stands, and how often; [] is the proof that there is none.

    Every file is searched as bytes, whatever it is (a database's free pages too). What is packed is unpacked as well, told by
    its first bytes and not by its name, and to any depth up to packed.DEPTH: see packed.contents. What cannot be unpacked is
    searched as it is. A value counts in UTF-8, UTF-16 and Latin-1, composed or decomposed, as an escape of JSON, Python,
    HTML or a URL, and in base64.

    Raises:
        SeqlineError: a file cannot be read.
    """
    from rich.progress import track

    matcher = Matcher([form for value in values for form in _forms(value)])
    files = sorted({path for root in roots for path in ([root] if root.is_file() else root.rglob("*")) if path.is_file()})
    found = []
    for path in track(files, f"sweep: {len(files)} files", transient=True, console=_console()):
        try:
            count = sum(len(list(matcher.find(blocks))) for blocks in contents(path))
        except FileNotFoundError:  # a live database's journal comes and goes
            continue
        except OSError as error:
            raise SeqlineError(f"sweep: {path}: {error.strerror}: what is not read proves nothing") from None
        if count:
            found.append((path, count))
    return found


def _console() -> Any:
    from rich.console import Console

    console = Console(stderr=True)
    console.quiet = not console.is_terminal
    return console


class Matcher:
    """Finds any of many byte strings in a stream of blocks."""

    def __init__(self, wanted: Iterable[bytes]) -> None:
        import hyperscan

        self.wanted = sorted({each[:LONGEST] for each in wanted if each})
        self._longest = max(map(len, self.wanted), default=0)
        # block mode with blocks that overlap: python-hyperscan 0.9.1 dies of long scans in stream mode
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        if self.wanted:  # escaped byte by byte: a literal could hold no zero byte
            patterns = [b"".join(b"\\x%02x" % byte for byte in each) for each in self.wanted]
            self._database.compile(expressions=patterns, ids=list(range(len(patterns))), elements=len(patterns))

    def find(self, blocks: Iterable[bytes]) -> Iterator[int]:
        """Yields the place in `wanted` of each that stands in the `blocks`, as often as it stands there."""
        tail = b""
        for block in blocks if self.wanted else ():
            content, seen = tail + block, len(tail)
            hits: list[tuple[int, int]] = []
            self._database.scan(content, match_event_handler=lambda which, _from, to, *_, hits=hits: hits.append((which, to)))
            yield from (which for which, to in hits if to > seen)
            tail = content[max(0, len(content) - self._longest + 1) :]


def _forms(value: str) -> set[bytes]:
    """The bytes that a value may be written in."""
    texts = {value, unicodedata.normalize("NFC", value), unicodedata.normalize("NFD", value)}
    texts |= {json.dumps(text)[1:-1] for text in texts} | {json.dumps(text, ensure_ascii=False)[1:-1] for text in texts}
    texts |= {ascii(value)[1:-1], html.escape(value), urllib.parse.quote(value), urllib.parse.quote_plus(value)}
    forms = {text.encode() for text in texts} | {value.encode(encoding) for encoding in ("utf-16-le", "utf-16-be")}
    with suppress(UnicodeEncodeError):
        forms.add(value.encode("latin-1"))
    return forms | set(_base64(value.encode()))


def _base64(value: bytes) -> Iterator[bytes]:
    """What base64 makes of a value that begins at byte 0, 1 or 2 of a group of 3, without what its neighbours share."""
    for shift, skipped in ((0, 0), (1, 2), (2, 3)):
        core = base64.b64encode(bytes(shift) + value)[skipped : (shift + len(value)) * 8 // 6]
        if len(core) >= BASE64:
            yield core
