"""The admin API of a real gateway, and the public one of a spec that requires keys."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.errors import UserError
from pipelines.rollout.store import Store
from pipelines.serving import keys
from pipelines.serving.admin import Admin
from pipelines.serving.keys import FAILED_LOGINS, Keys
from pipelines.serving.listening import listen
from pipelines.serving.server import Back, run
from tests.serving.site import Site, spec, until

ADMIN = "an admin key that is long enough"


class Governed(Site):
    """A site whose public port requires keys, with an admin port. `undone` are the rollbacks asked for."""

    def __init__(self, folder: Path, export: Path) -> None:
        self.undone: list[tuple[str, str]] = []
        self.drawn: str | None = None
        self._behind = threading.Event()
        super().__init__(spec(serving={"api_keys": "required"}), folder / "rollout.db", export)
        assert self._behind.wait(30)
        self.http.headers["Authorization"] = "Bearer " + keys.add(self.store, "tiny", "tests", rate=100_000)
        until(lambda: self.ask().status_code == 503)
        self.admin = httpx.Client(base_url=self.admin_url, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=20)

    def _run(self) -> None:
        admin = Admin(ADMIN, self._roll_back, 0, self._admin_up, self._drawn)
        known = Keys(self.store, self.spec.name, self.spec.serving, admin_key=ADMIN)
        with listen("127.0.0.1", 0) as listening, listen("127.0.0.1", 0) as behind, asyncio.Runner() as running:
            self._loop = running.get_loop()
            running.run(run(self.gateway, listening, self._up, self._stop, keys=known, back=Back(behind, admin)))

    def _admin_up(self, url: str) -> None:
        self.admin_url = url
        self._behind.set()

    def _drawn(self) -> str:
        if self.drawn is None:
            raise UserError("tiny: there was no rollout yet")
        return self.drawn

    def _roll_back(self, why: str, by: str) -> str:
        if not why:
            raise UserError("tiny: nothing to roll back")
        self.undone.append((why, by))
        return "version 1 serves everybody"

    def join(self) -> None:
        """Wait for its end; the pooled connections go first."""
        self.http.close()
        self.admin.close()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.admin.close()
        if self._thread.is_alive():
            super().close()
        self._launcher.close()
        self.store.engine.dispose()

    def tried(self, headers: dict[str, str]) -> httpx.Response:
        """A request to the public port with these headers."""
        return self.http.post("/v1/generate", json={"inputs": ["a small package"]}, headers=headers)


@contextmanager
def site(folder: Path, export: Path) -> Iterator[Governed]:
    running = Governed(folder, export)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def governed(tmp_path_factory: pytest.TempPathFactory, export: Path) -> Iterator[Governed]:
    with site(tmp_path_factory.mktemp("governed"), export) as running:
        running.route()
        running.route("2", weight=0.0)
        yield running


def made(store: Store, holder: str, **given: Any) -> dict[str, str]:
    return {"Authorization": "Bearer " + keys.add(store, "tiny", holder, **given)}


def test_a_key_opens_the_public_port_within_a_second_and_not_after_it_was_revoked(governed: Governed) -> None:
    headers = made(governed.store, "ann")
    until(lambda: governed.tried(headers).status_code == 200, 2)
    keys.revoke(governed.store, "tiny", "ann")
    until(lambda: governed.tried(headers).status_code == 401, 2)
    bare = httpx.post(f"{governed.url}/v1/generate", json={"inputs": ["a small package"]})
    assert bare.status_code == 401
    assert bare.json()["error"].startswith("Authorization: ")


def test_over_its_rate_a_key_is_told_when_to_come_again(governed: Governed) -> None:
    headers = made(governed.store, "bob", rate=2)
    until(lambda: governed.tried(headers).status_code == 200, 2)
    governed.tried(headers)
    refused = governed.tried(headers)
    assert refused.status_code == 429
    assert 50 < int(refused.headers["Retry-After"]) <= 60


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/status"),
        ("GET", "/metrics"),
        ("POST", "/rollback"),
        ("GET", "/rollout"),
        ("POST", "/drain"),
        ("POST", "/compare"),
    ],
)
def test_nothing_behind_without_the_admin_key(governed: Governed, method: str, path: str) -> None:
    bare = httpx.request(method, governed.admin_url + path)
    plain = httpx.request(method, governed.admin_url + path, headers={"Authorization": governed.http.headers["Authorization"]})
    assert (bare.status_code, plain.status_code) == (401, 403)
    assert bare.json()["error"].startswith("Authorization: ")
    assert governed.health()["ok"]


def test_the_admin_key_and_keys_with_admin_open_it(governed: Governed) -> None:
    headers = made(governed.store, "eve", admin=True)
    until(lambda: governed.tried(headers).status_code == 200, 2)
    assert governed.admin.get("/status", headers=headers).status_code == 200
    found = governed.admin.get("/status").json()
    assert (found["ok"], found["champion"], found["canary"]) == (True, "1", "2")
    assert found["failed_logins"] >= 1
    assert b"seqline_requests" in governed.admin.get("/metrics").content
    assert 'seqline_failed_logins{model="tiny"}' in governed.admin.get("/metrics").text


def test_a_rollback_is_that_of_the_rollout_and_names_who_asked(governed: Governed) -> None:
    assert governed.admin.post("/rollback", json={"why": "it rhymes"}).json() == {"done": "version 1 serves everybody"}
    assert governed.undone == [("it rhymes", "admin")]
    nothing = governed.admin.post("/rollback")
    assert (nothing.status_code, nothing.json()) == (409, {"error": "tiny: nothing to roll back"})


def test_the_page_of_the_rollout_is_served_as_it_is(governed: Governed) -> None:
    none = governed.admin.get("/rollout")
    assert (none.status_code, none.json()) == (404, {"error": "tiny: there was no rollout yet"})
    governed.drawn = "<!doctype html><p>version 2 against version 1"
    page = governed.admin.get("/rollout")
    assert (page.status_code, page.text) == (200, governed.drawn)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "body", [b'{"why": 3}', b'{"why": "a\\nb"}', b'{"because": "a"}', b"[]", b"{", b'{"why":"' + b"a" * 501 + b'"}']
)
def test_a_bad_reason_is_refused_in_one_line(governed: Governed, body: bytes) -> None:
    refused = governed.admin.post("/rollback", content=body)
    assert refused.status_code == 400
    assert "\n" not in refused.json()["error"]


def test_champion_and_canary_side_by_side_leave_no_evidence(governed: Governed) -> None:
    since = governed.offsets()
    found = governed.admin.post("/compare", json={"inputs": ["a small package"]}).json()
    assert {arm: each["version"] for arm, each in found.items()} == {"champion": "1", "canary": "2"}
    for each in found.values():
        [output] = each["outputs"]
        assert output["flags"] is not None
        assert each["milliseconds"] > 0
    asked = governed.ask()
    [event] = governed.events(since, 1)
    assert event.request == asked.headers["X-Request-Id"]


def test_a_side_that_fails_says_why(governed: Governed) -> None:
    governed.faults["2"].fail = 1.0
    found = governed.admin.post("/compare", json={"inputs": ["a small package"]}).json()
    governed.faults["2"].fail = 0.0
    assert "outputs" in found["champion"]
    assert found["canary"]["version"] == "2"
    assert "error" in found["canary"]


def test_bad_inputs_are_refused_as_by_the_public_port(governed: Governed) -> None:
    refused = governed.admin.post("/compare", json={"inputs": [""]})
    assert (refused.status_code, refused.json()) == (400, {"error": "inputs[0]: must not be empty"})


def test_the_page_holds_nothing_and_needs_no_key(governed: Governed) -> None:
    page = httpx.get(governed.admin_url + "/")
    assert page.status_code == 200
    assert ADMIN not in page.text


def test_too_many_wrong_keys_make_their_address_wait(export: Path, tmp_path: Path) -> None:
    with site(tmp_path, export) as running:
        counted = 'seqline_failed_logins{model="tiny"}'
        before = running.metric(counted)
        answers = [running.admin.get("/status", headers={"X-Api-Key": "guess"}) for _ in range(FAILED_LOGINS + 1)]
        assert [answer.status_code for answer in answers] == [401] * FAILED_LOGINS + [429]
        assert 50 < int(answers[-1].headers["Retry-After"]) <= 60
        assert running.metric(counted) == before + FAILED_LOGINS


def test_a_drain_finishes_and_ends_the_server(export: Path, tmp_path: Path) -> None:
    with site(tmp_path, export) as running:
        running.route()
        assert running.admin.post("/drain").json() == {"draining": True}
        until(lambda: running.ask().headers.get("Connection") == "close")
        running.join()
