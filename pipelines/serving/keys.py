"""API keys: who may ask, and how often.

A key is `sq_` and 32 random bytes; it is shown once and only its sha256 is kept. A plain hash is right for that: slow and
salted hashes (bcrypt, argon2) are for words that people choose and others can guess; 256 random bits cannot be guessed at any
speed, and no two keys are alike. A plain hash costs a microsecond, so every request can afford it.
"""

import asyncio
import hashlib
import hmac
import logging
import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

import sqlalchemy as sa
from cachetools import LRUCache
from sqlalchemy.exc import SQLAlchemyError

from pipelines.errors import Transient, UserError
from pipelines.rollout.store import Store, api_keys
from pipelines.serving.intake import Refused
from pipelines.spec import Serving

log = logging.getLogger("seqline.serving")
POLL_SECONDS = 0.4
LONGEST_HOLDER = 63  # characters
LONGEST_SECRET = 256  # characters; ours have 46
SHORTEST_ADMIN = 24  # characters of a hand-made admin key
FAILED_LOGINS = 10  # wrong admin keys a minute from one address; then it waits
SCHEMES = ("bearer", "deepl-auth-key")
MEND = "make one with `seqline keys add`"
NO_ADMIN = f"Authorization: must be Bearer and an admin key: SEQLINE_ADMIN_KEY, or {MEND} --admin"


@dataclass(frozen=True)
class Key:
    """What is known of a key. `id` names it to people; times are in seconds since the epoch."""

    sha256: str
    holder: str
    requests_per_minute: int | None
    admin: bool
    created_at: float
    revoked_at: float | None

    @property
    def id(self) -> str:
        return self.sha256[:12]


@dataclass(frozen=True)
class Holder:
    """Who asks. `requests_per_minute` is what the key allows."""

    name: str
    admin: bool = False
    requests_per_minute: int = 0


@dataclass
class TooOften(Refused):
    """Over a rate: `retry_seconds` from now there is room again."""


def add(store: Store, name: str, holder: str, *, rate: int | None = None, admin: bool = False) -> str:
    """Make a key for `holder` to model `name`, and return it: it can never be read again.

    Raises:
        UserError: the holder's name or the rate cannot be.
        Transient: the rollout database does not answer.
    """
    if not holder.isprintable() or not holder.strip() or len(holder) > LONGEST_HOLDER:
        raise UserError(f"HOLDER: must be 1 to {LONGEST_HOLDER} printable characters")
    if rate is not None and rate < 1:
        raise UserError("--rate: must be at least 1 request a minute")
    secret = "sq_" + secrets.token_urlsafe(32)
    values = {"holder": holder, "requests_per_minute": rate, "admin": admin, "created_at": time.time()}
    store.create()
    with store.transaction() as connection:
        connection.execute(sa.insert(api_keys).values(name=name, sha256=_hash(secret).hex(), **values))
    return secret


def listed(store: Store, name: str) -> list[Key]:
    """All keys to model `name`, the oldest first, the revoked ones too.

    Raises:
        Transient: the rollout database does not answer.
    """
    query = sa.select(api_keys).where(api_keys.c.name == name).order_by(api_keys.c.created_at)
    with store.transaction() as connection:
        rows = connection.execute(query).mappings().all()
    return [Key(**{column: value for column, value in row.items() if column != "name"}) for row in rows]


def revoke(store: Store, name: str, which: str) -> list[Key]:
    """Revoke a key by its id, or all keys of a holder; gateways follow within a second. Returns those that were good till now.

    Raises:
        UserError: there is no such key.
        Transient: the rollout database does not answer.
    """
    store.create()
    found = [key for key in listed(store, name) if which in (key.id, key.holder) and key.revoked_at is None]
    if not found:
        raise UserError(f"{which}: no key of {name} in use has this id or holder: see `seqline keys list {name}`")
    chosen = api_keys.c.sha256.in_([key.sha256 for key in found])
    with store.transaction() as connection:
        connection.execute(sa.update(api_keys).where(chosen).values(revoked_at=time.time()))
    return found


class Window:
    """At most `most` in any `seconds`: a moving window.

    (The library `limits` does this too, but its memory storage starts a thread for each hit after a pause: 400 us of CPU, and
    1.3 ms in which the event loop stands still, where this takes less than 1 us.)
    """

    def __init__(self, most: int, seconds: float = 60.0) -> None:
        self._seconds = seconds
        self._times: deque[float] = deque(maxlen=most)

    def take(self, now: float) -> float:
        """Take a place at `now` (any clock, seconds): 0.0, or how long until one is free; then none was taken."""
        left = self.left(now)
        if left <= 0:
            self._times.append(now)  # the oldest, if it was full, drops out
            return 0.0
        return left

    def left(self, now: float) -> float:
        """Seconds until a place is free; 0.0 or less: now."""
        full = len(self._times) == self._times.maxlen
        return self._times[0] + self._seconds - now if full else 0.0


@dataclass(frozen=True)
class _Known:
    sha256: bytes
    holder: Holder
    window: Window


_NOBODY = _Known(bytes(32), Holder(""), Window(1))


class Keys:
    """The keys to one model, as a gateway knows them: read anew every POLL_SECONDS; while the database is away the last stay.

    `admin_key` opens the admin API beside the keys with `admin`. `failed` counts requests with a wrong key.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        serving: Serving,
        *,
        admin_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if admin_key is not None and len(admin_key) < SHORTEST_ADMIN:
            raise UserError(f"SEQLINE_ADMIN_KEY: must have {SHORTEST_ADMIN} characters or more: `openssl rand -hex 32`")
        self.failed = 0
        self._store, self._name, self._clock = store, name, clock
        self._required, self._rate = serving.api_keys == "required", serving.requests_per_minute
        self._master = _hash(admin_key) if admin_key else None
        self._known: Mapping[bytes, _Known] = {}
        self._was_read = False
        self._failures: LRUCache[str, Window] = LRUCache(1_024)

    def holder(self, headers: Mapping[str, str]) -> Holder | None:
        """Whose key stands in the headers (Authorization: Bearer or DeepL-Auth-Key, X-Api-Key); None where none is needed.

        Raises:
            Refused: as `of`.
        """
        return self.of(secret_of(headers)) if self._required else None

    def of(self, secret: str | None) -> Holder | None:
        """Whose key `secret` is; None where no key is needed.

        Raises:
            Refused: 401 for none or a wrong one, 429 over its rate, 503 when the keys could not be read yet.
        """
        if not self._required:
            return None
        if secret is None:
            raise Refused(401, f"Authorization: must be Bearer and an API key: {MEND}")
        known = self._find(secret)
        if known is None:
            self.failed += 1
            self._check_read()
            raise Refused(401, f"Authorization: no such API key, or it was revoked: {MEND}")
        wait = known.window.take(self._clock())
        if wait:
            raise _too_often(f"more than {known.holder.requests_per_minute} requests a minute with this key", wait)
        return known.holder

    def admin(self, headers: Mapping[str, str], address: str) -> Holder:
        """Whose admin key stands in the headers of a request from `address`.

        Raises:
            Refused: 401 for none or a wrong one, 403 for one without `admin`, 429 after too many wrong ones from there.
        """
        now = self._clock()
        failures = self._failures.setdefault(address, Window(FAILED_LOGINS))
        wait = failures.left(now)
        if wait > 0:
            raise _too_often("too many wrong admin keys from this address", wait)
        secret = secret_of(headers)
        if secret is None:
            raise Refused(401, NO_ADMIN)
        if self._master and hmac.compare_digest(self._master, _hash(secret)):
            return Holder("admin", admin=True)
        known = self._find(secret)
        if known and known.holder.admin:
            return known.holder
        if known:
            raise Refused(403, f"Authorization: this key is not for the admin API: {MEND} --admin")
        self.failed += 1
        failures.take(now)
        raise Refused(401, NO_ADMIN)

    def read(self) -> None:
        """Look at the database once.

        Raises:
            Transient: it does not answer.
        """
        found: dict[bytes, _Known] = {}
        for key in listed(self._store, self._name):
            if key.revoked_at is None:
                sha256 = bytes.fromhex(key.sha256)
                rate = key.requests_per_minute or self._rate
                before = self._known.get(sha256[:8])
                window = before.window if before else Window(rate)
                found[sha256[:8]] = _Known(sha256, Holder(key.holder, key.admin, rate), window)
        self._known, self._was_read = found, True

    async def follow(self, tell: Callable[[Set[str]], object]) -> None:
        """Read them again and again, for ever; `tell` is told the holders' names when they change."""
        away, told = False, None
        while True:
            try:
                await asyncio.to_thread(self.read)
                away, names = False, {known.holder.name for known in self._known.values()}
                if names != told:
                    tell(names)
                told = names
            except (Transient, SQLAlchemyError) as error:
                if not away:
                    log.warning("keys: the rollout database is away (%s): the last known keys stay", type(error).__name__)
                away = True
            await asyncio.sleep(POLL_SECONDS)

    def _find(self, secret: str) -> _Known | None:
        """Found by the beginning of its hash, which says nothing of the key, then compared whole in constant time."""
        sha256 = _hash(secret)
        known = self._known.get(sha256[:8], _NOBODY)
        return known if hmac.compare_digest(known.sha256, sha256) else None

    def _check_read(self) -> None:
        if not self._was_read:
            raise Refused(503, "the API keys cannot be read right now: try again")


def secret_of(headers: Mapping[str, str]) -> str | None:
    """The key in a request's headers (their names in small letters), if there is one."""
    given = headers.get("x-api-key")
    if given:
        return given
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    return secret.strip() or None if scheme.lower() in SCHEMES else None


def _hash(secret: str) -> bytes:
    known = secret if len(secret) <= LONGEST_SECRET else ""  # nobody's: a body can bring megabytes
    return hashlib.sha256(known.encode("utf-8", "surrogatepass")).digest()


def _too_often(line: str, wait: float) -> TooOften:
    seconds = math.ceil(wait)
    return TooOften(429, f"{line}: try again in {seconds} s", seconds)
