"""Long looks at the rollout database: the gateways, which write into it meanwhile, do not wait for them."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from pipelines.errors import Transient


@contextmanager
def reading(url: str) -> Iterator[sa.Connection]:
    """A connection to read by: a store's own transactions take SQLite's one lock for writing, this takes none.

    Raises:
        Transient: the database does not answer, or is broken.
    """
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    except sa.exc.DatabaseError as error:
        raise Transient(f"rollout database: {error.orig}") from error
    finally:
        engine.dispose()
