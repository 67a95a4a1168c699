"""A real gateway on loopback for the tests: real engines, real SQLite, real HTTP; in a thread of the test."""

import asyncio
import socket
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from pipelines.errors import Transient
from pipelines.rollout.store import Event, Route, Store
from pipelines.serving.gateway import Gateway
from pipelines.serving.listening import listen
from pipelines.serving.server import run
from pipelines.serving.supervisor import Launcher
from pipelines.spec import Spec
from tests.faults.proxy import Faults, Proxy, through

KEY = b"a key for tests"
VERSIONS = ("1", "2", "3")
T = TypeVar("T")


def spec(**sections: Any) -> Spec:
    """A spec with short bounds. `sections` replace or join the defaults, section by section."""
    base: dict[str, Any] = {
        "name": "tiny",
        "data": {"source": {"kind": "files", "paths": ["unused.jsonl"]}},
        "privacy": {"entities": ["PERSON", "EMAIL_ADDRESS"]},
        "tokens": {"vocabulary": 320},
        "training": {
            "architecture": {"width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1},
            "steps": 2,
        },
        # without a cache: most tests ask the same again and count what the engines are asked
        "serving": {
            "timeout_ms": 3000,
            "max_inputs": 8,
            "max_chars": 500,
            "decoding": {"max_tokens": 8},
            "cache": {"entries": 0},
        },
    }
    for name, section in sections.items():
        base[name] = {**base.get(name, {}), **section}
    return Spec.model_validate(base)


def until(true: Callable[[], Any], seconds: float = 90.0) -> Any:
    """Poll `true` until it holds, and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.02)
    return found


class Site:
    """The running gateway. `faults[version]` break what passes between it and that version's engine."""

    def __init__(
        self, spec: Spec, database: Path, export: Path, judge_url: str | None = None, faults: Mapping[str, Faults] | None = None
    ) -> None:
        self.spec = spec
        self.store = Store(f"sqlite:///{database}")
        self.store.create()
        self.faults: Mapping[str, Faults] = {version: Faults() for version in VERSIONS} | dict(faults or {})

        def fetch(version: str) -> Path:
            if version not in VERSIONS:
                raise Transient(f"version {version} cannot be fetched")
            return export

        self._launcher = Launcher(spec, fetch)
        self._proxies: list[Proxy] = []
        launch = through(self._launcher, self.faults, self._proxies)
        self.gateway = Gateway(spec, self.store, fetch=fetch, key=KEY, launch=launch, judge_url=judge_url)
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gateway")
        self._thread.start()
        assert self._ready.wait(90)
        self.http = httpx.Client(base_url=self.url, timeout=20)

    def _run(self) -> None:
        with listen("127.0.0.1", 0) as listening, asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            try:
                runner.run(self._serve(listening))
            finally:
                runner.run(self._part())

    async def _part(self) -> None:
        """End the connections that somebody opened while the gateway or a proxy ended: neither knows of them."""
        for _ in range(10):  # one that was accepted just now gets its transport some turns of the loop later
            for transport in list(self._loop._transports.values()):  # type: ignore[attr-defined]  # asyncio's own table of them
                transport.abort()
            await asyncio.sleep(0)

    async def _serve(self, listening: socket.socket) -> None:
        try:
            await run(self.gateway, listening, self._up, self._stop)
        finally:
            for proxy in self._proxies:  # one whose end the gateway's own end cut short would leave its connections open
                await proxy.stop()

    def _up(self, url: str) -> None:
        self.url = url
        self._ready.set()

    def close(self) -> None:
        self.http.close()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        self._launcher.close()
        self.store.engine.dispose()
        assert not self._thread.is_alive()

    def route(self, canary: str | None = None, *, champion: str = "1", wait: bool = True, **fields: Any) -> Route:
        """Set the next route, heal all engines, and (unless told otherwise) wait until the gateway follows it."""
        for faults in self.faults.values():
            faults.fail = faults.drop = faults.delay = faults.replace = 0.0
        with self.store.transaction() as connection:
            before = self.store.route(self.spec.name, connection)
            lease = {"lease_until": time.time() + 600, "salt": uuid.uuid4().hex, **fields}
            wanted = Route(champion, canary, generation=before.generation if before else 0, **lease)
            route = self.store.set_route(self.spec.name, wanted, connection)
        if wait:
            until(lambda: self.health()["generation"] == route.generation)
        return route

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` where the gateway runs, and return what it gives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get("/healthz").json()
        return found

    def ask(self, text: str = "a small package", user: str | None = None, **options: Any) -> httpx.Response:
        headers = {"X-User": user} if user else {}
        return self.http.post("/v1/generate", json={"inputs": [text]}, headers=headers, **options)

    def offsets(self) -> Mapping[str, int]:
        """Where the journal stands once all that was asked so far is in it."""
        busy = ("in_flight", "journal_pending", "engine_in_flight")
        until(lambda: not any(self.metric(f'seqline_{gauge}{{model="{self.spec.name}"}}') for gauge in busy))
        return self.store.read(self.spec.name, {}).offsets

    def events(self, since: Mapping[str, int], count: int) -> list[Event]:
        """The events after `since`, once there are at least `count`."""

        def enough() -> list[Event]:
            found = list(self.store.read(self.spec.name, since).events)
            return found if len(found) >= count else []

        return until(enough) if count else []

    def metric(self, line: str) -> float:
        """The value of one metric line (name and labels as they are printed); 0 when it is not there."""
        for found in self.http.get("/metrics").text.splitlines():
            if found.startswith(line + " "):
                return float(found.rpartition(" ")[2])
        return 0.0


@contextmanager
def site(
    spec: Spec, folder: Path, export: Path, judge_url: str | None = None, faults: Mapping[str, Faults] | None = None
) -> Iterator[Site]:
    """A gateway in `folder`, closed at the end; `faults` replace the proxies' own."""
    running = Site(spec, folder / "rollout.db", export, judge_url, faults)
    try:
        yield running
    finally:
        running.close()
