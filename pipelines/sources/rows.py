"""What every source gives: rows as read, and what becomes of those that are wrong. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pipelines.registry.labels import Correction

LONGEST = 100_000  # characters; a longer text would stall the tagger, and no model here reads it

Known = tuple[tuple[str, str], ...]
"""Values in the source that are personal for certain, as (entity, value)."""


class Cells(NamedTuple):
    """A row as read: its number from 1 (a header not counted) and its two values, whatever their type."""

    row: int
    values: tuple[object, object]
    known: Known = ()


class Row(NamedTuple):
    """A pair of texts that can be stored and scrubbed."""

    source: str
    target: str
    known: Known


class Bad(NamedTuple):
    """A row that cannot be used. `field` is empty when the whole row is wrong; neither `reason` nor `mend` holds its text."""

    row: int
    field: str
    reason: str
    mend: str


@dataclass(frozen=True)
class Part:
    """What is read, and kept, in one piece: a file, a wheel, the rows of a query above a cursor.

    `key` stands for all that decides its rows; `name` is the input it belongs to, as facts and messages call it;
    `read(dropped)` counts in `dropped` what it leaves out by rule; `size` is about how many bytes of text it holds.
    """

    key: str
    name: str
    read: Callable[[Counter[str]], Iterable[Cells | Bad]]
    fields: tuple[str, str] = ("source", "target")
    unit: str = "row"
    note: str = ""
    size: int = 0

    def said(self, bad: Bad) -> str:
        """The line that tells a person about `bad`."""
        return f"{self.name}: {self.unit} {bad.row}{self.note}: {bad.reason}{bad.mend}"


class Reading(NamedTuple):
    """What a source would give now: {input: version} for the facts, and the parts to read.

    Of `corrections`, the part is made once all others are read: they are compared with these.
    """

    inputs: Mapping[str, str]
    parts: list[Part]
    corrections: "Sequence[Correction] | None" = None


def screen(cells: Cells, fields: tuple[str, str]) -> Row | Bad:
    """The row if both its values are texts that UTF-8, Parquet and the scrubber can take."""
    for name, value in zip(fields, cells.values, strict=True):
        if not isinstance(value, str):
            kind = "null" if value is None else type(value).__name__
            return Bad(cells.row, name, f"field `{name}` must be text, not {kind}", ": mend the row or remove it")
        if len(value) > LONGEST:
            return Bad(cells.row, name, f"field `{name}` is longer than {LONGEST} characters", ": split it, or remove the row")
        if "\0" in value:
            return Bad(cells.row, name, f"field `{name}` holds a NUL character", ": mend the row or remove it")
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            return Bad(
                cells.row, name, f"field `{name}` holds half a surrogate pair", ": write the whole character, or remove it"
            )
    source, target = cells.values
    return Row(str(source), str(target), cells.known)


def not_utf8(row: int, error: UnicodeError) -> Bad:
    where = f"byte {error.start + 1} of it" if isinstance(error, UnicodeDecodeError) else "a byte of it"
    return Bad(row, "", "not valid UTF-8", f" ({where}): save the file as UTF-8 (iconv -f LATIN1 -t UTF-8, say)")


def columns_shown(columns: Iterable[str]) -> str:
    """The columns there are, for a message. Only what looks like a column's name: a file without header has data there."""
    names = list(columns)
    plain = [f"`{name}`" for name in names if name.isidentifier() and len(name) <= 40]
    hidden = len(names) - len(plain)
    return ", ".join([*plain, *([f"{hidden} that {'is' if hidden == 1 else 'are'} no plain name"] if hidden else [])]) or "none"


def missing_column(columns: Iterable[str], wanted: Iterable[str]) -> tuple[str, str] | None:
    """(what is wrong, how to mend it) if `columns` lack one of `wanted`."""
    names = list(columns)
    for name in wanted:
        if name not in names:
            return f"no column `{name}`", f" (there are: {columns_shown(names)}): set data.source.source and data.source.target"
    return None
