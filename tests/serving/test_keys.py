"""API keys: only hashes are kept, a revoked one is refused, rates hold exactly, a database that is away changes nothing."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.rollout.store import Store, api_keys
from pipelines.serving import keys
from pipelines.serving.intake import Refused
from pipelines.serving.keys import FAILED_LOGINS, Holder, Keys, TooOften, Window, secret_of
from pipelines.spec import Serving

NAME = "tiny"
ADMIN = "an admin key that is long enough"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(f"sqlite:///{tmp_path}/rollout.db")
    made.create()
    return made


class Clock:
    """Seconds that a test sets."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def known(store: Store, clock: Clock | None = None, **serving: Any) -> Keys:
    """The keys of a gateway that has looked once."""
    found = Keys(store, NAME, Serving(**{"api_keys": "required", **serving}), admin_key=ADMIN, clock=clock or Clock())
    found.read()
    return found


def refused(ask: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as error:
        ask()
    assert "\n" not in error.value.line
    return error.value


def test_a_key_opens_and_only_its_hash_is_kept(store: Store) -> None:
    secret = keys.add(store, NAME, "ann", rate=7)
    assert len(secret) == 46
    assert known(store).of(secret) == Holder("ann", admin=False, requests_per_minute=7)
    with store.engine.connect() as connection:
        row = connection.execute(sa.select(api_keys)).mappings().one()
    assert row["sha256"] == hashlib.sha256(secret.encode()).hexdigest()
    assert secret[3:] not in repr(row)


def test_without_a_good_key_there_is_one_line_that_says_how_to_get_one(store: Store) -> None:
    secret = keys.add(store, NAME, "ann")
    other = keys.add(store, "another-model", "ann")
    gate = known(store)
    for wrong in (None, "", "sq_", secret[:-1], secret + "x", secret.upper(), other, "x" * 1_000_000):
        error = refused(lambda wrong=wrong: gate.of(wrong))
        assert error.status == 401
        assert "seqline keys add" in error.line
        assert not wrong or wrong[:10] not in error.line
    assert gate.failed == 7, "no key at all is no wrong key"


def test_any_text_may_come_as_a_key(store: Store) -> None:
    gate = known(store)

    @given(st.text(st.characters(exclude_categories=())))
    def is_refused(secret: str) -> None:
        assert refused(lambda: gate.of(secret)).status == 401

    is_refused()


def test_where_none_is_needed_anybody_may_ask(store: Store) -> None:
    gate = known(store, api_keys="none")
    assert gate.of("whatever") is None
    assert gate.holder({"authorization": "Bearer whatever"}) is None


def test_a_revoked_key_is_refused_at_the_next_look_and_the_others_stay(store: Store) -> None:
    mine, yours, old = (keys.add(store, NAME, holder) for holder in ("ann", "bob", "ann"))
    gate = known(store)
    assert [key.holder for key in keys.revoke(store, NAME, "ann")] == ["ann", "ann"]
    assert gate.of(mine)
    gate.read()
    assert {refused(lambda secret=secret: gate.of(secret)).status for secret in (mine, old)} == {401}
    assert gate.of(yours) == Holder("bob", admin=False, requests_per_minute=600)
    [still] = [key for key in keys.listed(store, NAME) if key.revoked_at is None]
    assert [key.holder for key in keys.revoke(store, NAME, still.id)] == ["bob"]
    for nobody in (still.id, "ann", "eve"):
        with pytest.raises(UserError, match="no key of tiny in use"):
            keys.revoke(store, NAME, nobody)


@pytest.mark.parametrize("holder", ["", " ", "a\nb", "a" * 64, "\x1b[31m"])
def test_a_holder_has_a_printable_name(store: Store, holder: str) -> None:
    with pytest.raises(UserError, match="HOLDER"):
        keys.add(store, NAME, holder)


def test_a_rate_of_none_is_no_rate(store: Store) -> None:
    with pytest.raises(UserError, match="--rate"):
        keys.add(store, NAME, "ann", rate=0)


def test_over_its_rate_a_key_waits_exactly_as_long_as_it_is_told(store: Store) -> None:
    clock = Clock()
    secret = keys.add(store, NAME, "ann", rate=2)
    gate = known(store, clock)
    gate.of(secret)
    clock.now += 20.5
    gate.of(secret)
    error = refused(lambda: gate.of(secret))
    assert isinstance(error, TooOften)
    assert (error.status, error.retry_seconds) == (429, 40)
    assert "2 requests a minute" in error.line
    gate.read()  # a look at the database forgets nothing
    clock.now += 39
    assert refused(lambda: gate.of(secret)).status == 429
    clock.now += 1
    assert gate.of(secret)


def test_a_key_without_its_own_rate_has_that_of_the_spec(store: Store) -> None:
    secret = keys.add(store, NAME, "ann")
    gate = known(store, requests_per_minute=1)
    gate.of(secret)
    assert refused(lambda: gate.of(secret)).status == 429


@given(st.integers(1, 5), st.lists(st.integers(0, 40), max_size=60))
def test_a_window_is_never_overfull_and_never_waits_in_vain(most: int, pauses: list[int]) -> None:
    window, taken, now = Window(most, 60), list[int](), 0
    for pause in pauses:
        now += pause
        recent = [at for at in taken if now - at < 60]
        wait = window.take(now)
        assert (wait == 0) == (len(recent) < most)
        if wait:
            assert wait == recent[0] + 60 - now
        else:
            taken.append(now)


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ({}, None),
        ({"authorization": "Bearer sq_a"}, "sq_a"),
        ({"authorization": "bearer  sq_a "}, "sq_a"),
        ({"authorization": "DeepL-Auth-Key sq_a"}, "sq_a"),
        ({"authorization": "Basic sq_a"}, None),
        ({"authorization": "Bearer"}, None),
        ({"authorization": "sq_a"}, None),
        ({"x-api-key": "sq_a"}, "sq_a"),
        ({"x-api-key": "sq_a", "authorization": "Bearer sq_b"}, "sq_a"),
    ],
)
def test_where_a_key_may_stand(headers: dict[str, str], secret: str | None) -> None:
    assert secret_of(headers) == secret


def test_the_admin_api_takes_its_own_key_and_keys_with_admin(store: Store) -> None:
    gate = known(store, api_keys="none")
    plain, admin = keys.add(store, NAME, "ann"), keys.add(store, NAME, "bob", admin=True)
    gate.read()
    ask = lambda secret: lambda: gate.admin({"authorization": f"Bearer {secret}"}, "::1")  # noqa: E731
    assert ask(ADMIN)() == Holder("admin", admin=True)
    assert ask(admin)().name == "bob"
    assert refused(ask(plain)).status == 403
    assert refused(ask("sq_wrong")).status == 401
    assert refused(lambda: gate.admin({}, "::1")).status == 401
    assert refused(lambda: known(store).of(ADMIN)).status == 401, "the admin key is no key to the model"


def test_too_many_wrong_admin_keys_from_an_address_make_it_wait(store: Store) -> None:
    clock = Clock()
    gate = known(store, clock)
    for _ in range(FAILED_LOGINS):
        assert refused(lambda: gate.admin({"x-api-key": "wrong"}, "10.0.0.1")).status == 401
    right = {"x-api-key": ADMIN}
    error = refused(lambda: gate.admin(right, "10.0.0.1"))
    assert (error.status, gate.failed) == (429, FAILED_LOGINS)
    assert gate.admin(right, "10.0.0.2").admin
    clock.now += 60
    assert gate.admin(right, "10.0.0.1").admin


def test_a_short_admin_key_is_refused(store: Store) -> None:
    with pytest.raises(UserError, match="SEQLINE_ADMIN_KEY"):
        Keys(store, NAME, Serving(), admin_key="guess")


def test_while_the_database_is_away_the_last_known_keys_stay(store: Store) -> None:
    first = keys.add(store, NAME, "ann")
    gate = known(store)
    told = asyncio.Queue[set[str]]()

    async def followed() -> None:
        following = asyncio.create_task(gate.follow(told.put_nowait))
        assert await told.get() == {"ann"}
        _broken(store)
        assert await asyncio.to_thread(gate.of, first)
        store.create()
        keys.add(store, NAME, "bob")
        assert await told.get() == {"bob"}, "it follows again once the database is back"
        following.cancel()

    asyncio.run(asyncio.wait_for(followed(), 90))


def test_before_the_first_look_nobody_is_told_that_a_key_is_wrong(store: Store) -> None:
    secret = keys.add(store, NAME, "ann")
    assert refused(lambda: Keys(store, NAME, Serving(api_keys="required")).of(secret)).status == 503


def _broken(store: Store) -> None:
    with store.transaction() as connection:
        api_keys.drop(connection)
