"""Pairs from a query, streamed from any database that SQLAlchemy speaks to.

With a cursor the rows that were taken are kept in parts and only those above the largest value are read. The parts' bounds
stand in `cache`/parts/cursor-KEY.json. What was taken is counted again in the database: if rows were deleted there, or came
late below the bound, everything is read anew.
"""

import datetime
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from pipelines.artifact import digest
from pipelines.errors import Transient, UserError
from pipelines.sources import parts
from pipelines.sources.rows import Cells, Part, Reading, columns_shown
from pipelines.spec import SqlSource

FETCH = 1_000  # rows that a database sends at once
SECRETS = {"password", "passwd", "pwd"}
TYPES: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (int, float, str, Decimal, datetime.datetime, datetime.date)
}  # of cursors


def reading(source: SqlSource, base: Path, cache: Path, urls: Mapping[str, str]) -> Reading:
    """Without a cursor one part, by the digest of all rows; with one, the parts taken before and one of what is new.

    Raises:
        UserError: no such variable, column, table; a password in the spec. Transient: the database does not answer.
    """
    engine = _engine(source, base, urls)
    name = _named(engine)
    identity = digest("sql", source, engine.url.render_as_string(hide_password=True))
    with _open(engine) as connection:
        _check(source, connection)
        if source.cursor is None:
            version = _rows_digest(source, connection)
            read = partial(_unchanged, source, engine, version)
            return Reading({name: version}, [_part(source, digest(identity, version), name, read)])
        return _by_cursor(source, engine, connection, name, cache / "parts" / f"cursor-{identity[:16]}.json")


def counted(source: SqlSource, base: Path, urls: Mapping[str, str]) -> Mapping[str, str] | None:
    """The inputs that `reading` would tell, by the cursor, from a count and a maximum; None without a cursor.

    Unlike `reading` it marks nothing as about to be taken. Raises as `reading`.
    """
    if source.cursor is None:
        return None
    engine = _engine(source, base, urls)
    with _open(engine) as connection:
        _check(source, connection)
        rows, high = _state(source, connection)
    return {_named(engine): _version(rows, high)}


def _state(source: SqlSource, connection: sa.Connection) -> tuple[int, Any]:
    """How many rows there are, and the largest value of the cursor."""
    pairs = _from(source).subquery("pairs")
    cursor = pairs.c[str(source.cursor)]
    rows, valued, high = connection.execute(sa.select(sa.func.count(), sa.func.count(cursor), sa.func.max(cursor))).one()
    if rows != valued:
        raise UserError(
            f"data.source.cursor: `{source.cursor}` is null in {rows - valued:,} rows: choose a column that never is"
        )
    return rows, high


def _version(rows: int, high: Any) -> str:
    return f"{rows} rows, {digest(str(high))}" if rows else "0 rows"


def _named(engine: sa.Engine) -> str:
    return f"sql:{Path(engine.url.database or engine.url.host or engine.url.drivername).name}"


def _part(source: SqlSource, key: str, name: str, read: Any) -> Part:
    return Part(key=key, name=name, read=read, fields=(source.source, source.target))


def _engine(source: SqlSource, base: Path, urls: Mapping[str, str]) -> sa.Engine:
    name = source.url.removeprefix("env:")
    if name != source.url and name not in urls:
        raise UserError(f"data.source.url: env:{name}: set SEQLINE_SQL_{name} to the database's SQLAlchemy URL")
    where = "data.source.url" if name == source.url else f"SEQLINE_SQL_{name}"
    try:
        url = sa.make_url(urls.get(name, "") if name != source.url else source.url)
        if name == source.url and (url.password or SECRETS & {key.lower() for key in url.query}):
            raise UserError("data.source.url: holds a password: write `env:NAME` and set SEQLINE_SQL_NAME to the URL")
        if url.drivername.startswith("sqlite") and url.database:
            url = url.set(database=str(base.resolve() / url.database))
            if not Path(str(url.database)).is_file():  # SQLite would make an empty one
                raise UserError(f"{where}: no such file (looked from the spec's folder)")
        return sa.create_engine(url, hide_parameters=True, poolclass=sa.NullPool)
    except (exc.NoSuchModuleError, ModuleNotFoundError) as error:
        raise UserError(f"{where}: its driver is not installed: {error}") from None
    except exc.ArgumentError:
        raise UserError(f"{where}: not an SQLAlchemy URL, such as postgresql+psycopg://user@host/database") from None


@contextmanager
def _open(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection; its faults as ours. A driver's message may quote a row, so that only its class is told."""
    shown = engine.url.host or Path(engine.url.database or "").name
    try:
        connection = engine.connect()
    except exc.DBAPIError as error:
        raise Transient(f"sql: {shown} does not answer ({type(error.orig).__name__})") from None
    with connection:
        try:
            yield connection.execution_options(stream_results=True, yield_per=FETCH)
        except exc.OperationalError as error:
            raise Transient(f"sql: {shown} failed in mid-query ({type(error.orig).__name__})") from None
        except exc.DBAPIError as error:
            raise UserError(f"data.source.query: {shown} refuses it: {type(error.orig).__name__}") from None


def _query(source: SqlSource) -> str:
    return source.query.strip().rstrip(";").replace(":", r"\:")  # a colon is no parameter here


def _from(source: SqlSource) -> sa.TextualSelect:
    names = [source.source, source.target, *([source.cursor] if source.cursor else [])]
    return sa.text(_query(source)).columns(*(sa.column(name) for name in dict.fromkeys(names)))


def _check(source: SqlSource, connection: sa.Connection) -> None:
    """Raises UserError when the query does not run or lacks a column; no row is read."""
    query = sa.text(f"SELECT * FROM ({_query(source)}) AS pairs WHERE 1 = 0")  # noqa: S608  (the user's own query)
    try:
        there = list(connection.execute(query).keys())
    except exc.DBAPIError as error:
        reason = (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0][:200]
        if error.connection_invalidated or "locked" in reason:
            raise Transient(f"sql: the database does not answer: {reason}") from None
        raise UserError(f"data.source.query: {reason}: mend the query") from None
    for field in ("source", "target", "cursor"):
        name = getattr(source, field)
        if name and name not in there:
            shown = columns_shown(there)
            raise UserError(f"data.source.query: no column `{name}` (it gives: {shown}): set data.source.{field}")


def _rows(source: SqlSource, connection: sa.Connection, low: Any = None, high: Any = None) -> Iterator[tuple[object, object]]:
    pairs = _from(source).subquery("pairs")
    wanted = sa.select(pairs.c[source.source], pairs.c[source.target].label("target_"))
    if source.cursor is not None:
        wanted = wanted.where(pairs.c[source.cursor] <= high)
        wanted = wanted if low is None else wanted.where(pairs.c[source.cursor] > low)
        wanted = wanted.order_by(pairs.c[source.cursor])
    for values in connection.execute(wanted):
        yield values[0], values[1]


def _rows_digest(source: SqlSource, connection: sa.Connection, rows: Iterator[tuple[object, object]] | None = None) -> str:
    """A digest of the rows as a multiset: a database owes no order."""
    total = count = 0
    for values in rows if rows is not None else _rows(source, connection):
        total += _weight(values)
        count += 1
    return _multiset(total, count)


def _weight(values: tuple[object, object]) -> int:
    content = repr(values).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=32).digest())


def _multiset(total: int, count: int) -> str:
    return f"{count} rows, {total % 2**256:064x}"


def _unchanged(source: SqlSource, engine: sa.Engine, version: str, _dropped: Counter[str]) -> Iterator[Cells]:
    total = count = 0
    with _open(engine) as connection:
        for count, values in enumerate(_rows(source, connection), 1):
            total += _weight(values)
            yield Cells(count, values)
    if _multiset(total, count) != version:
        raise Transient("sql: the rows changed while they were read")


def _by_cursor(source: SqlSource, engine: sa.Engine, connection: sa.Connection, name: str, state: Path) -> Reading:
    pairs = _from(source).subquery("pairs")
    cursor = pairs.c[str(source.cursor)]
    rows, high = _state(source, connection)
    if not rows:
        return Reading({name: _version(0, None)}, [])
    if type(high).__name__ not in TYPES:
        raise UserError(
            f"data.source.cursor: `{source.cursor}` is {type(high).__name__}: it must be a number, a text or a time"
        )
    taken = _taken(state)
    if taken:
        below = connection.execute(
            sa.select(sa.func.count()).select_from(pairs).where(cursor <= _value(taken[-1]["high"]))
        ).scalar()
        if below != sum(each["rows"] for each in taken):
            taken = []
    before = sum(each["rows"] for each in taken)
    if before < rows:
        low = taken[-1]["high"] if taken else None
        bounds = {"low": low, "high": [type(high).__name__, str(high)], "rows": rows - before}
        taken.append({**bounds, "key": digest(state.name, bounds, before)})
    _keep(taken, state)
    found = [
        _part(source, each["key"], name, partial(_between, source, engine, each["low"], each["high"], each["rows"]))
        for each in taken
    ]
    return Reading({name: _version(rows, high)}, found)


def _between(source: SqlSource, engine: sa.Engine, low: Any, high: Any, rows: int, _dropped: Counter[str]) -> Iterator[Cells]:
    number = 0
    with _open(engine) as connection:
        for number, values in enumerate(_rows(source, connection, _value(low), _value(high)), 1):
            yield Cells(number, values)
    if number != rows:
        raise Transient("sql: the rows changed while they were read")


def _value(written: Any) -> Any:
    if written is None:
        return None
    kind, text = TYPES[written[0]], written[1]
    return kind.fromisoformat(text) if kind in (datetime.datetime, datetime.date) else kind(text)


def _taken(state: Path) -> list[dict[str, Any]]:
    """The parts taken so far, in order; none if one of them is gone (expired, say)."""
    if not state.is_file():
        return []
    taken: list[dict[str, Any]] = json.loads(state.read_text())
    cache = state.parent.parent
    return taken if all(parts.folder(each["key"], cache).is_dir() for each in taken) else []


def _keep(taken: list[dict[str, Any]], state: Path) -> None:
    state.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = state.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(taken))
    fresh.replace(state)
