"""A real gateway with its admin port, on the YAML of a project: when it was drained another one starts, as under supervisor."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.settings import Settings
from pipelines.rollout.store import Store
from pipelines.serving.admin import Admin
from pipelines.serving.gateway import Gateway
from pipelines.serving.keys import Keys
from pipelines.serving.listening import listen
from pipelines.serving.server import Back, run
from pipelines.spec import load

KEY = b"a key for tests"


class Kept:
    """`starts` counts the gateways; `keep` off, the next drain is the last."""

    def __init__(self, yaml: Path, settings: Settings, export: Path) -> None:
        self._yaml, self._settings, self._export = yaml, settings, export
        self.keep, self.starts = True, 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._again, name="kept gateway")
        self._thread.start()
        assert self._ready.wait(120)

    def _again(self) -> None:
        try:
            while self.keep or not self.starts:
                self._once()
        finally:
            self._ready.set()

    def _once(self) -> None:
        spec, store = load(self._yaml), Store(self._settings.database)
        keys = Keys(store, spec.name, spec.serving, admin_key=self._settings.admin_key)
        back = Admin(self._settings.admin_key, lambda _why, _by: "", spec.serving.admin)
        gateway = Gateway(spec, store, fetch=lambda _version: self._export, key=KEY)
        with (
            listen("127.0.0.1", spec.serving.port) as front,
            listen("127.0.0.1", spec.serving.admin) as behind,
            asyncio.Runner() as runner,
        ):
            self._loop, self._stop = runner.get_loop(), asyncio.Event()
            runner.run(run(gateway, front, self._up, self._stop, keys=keys, back=Back(behind, back)))
        store.engine.dispose()

    def _up(self, _url: str) -> None:
        self.starts += 1
        self._ready.set()

    def close(self) -> None:
        self.keep = False
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive()


@contextmanager
def kept(yaml: Path, settings: Settings, export: Path) -> Iterator[Kept]:
    running = Kept(yaml, settings, export)
    try:
        yield running
    finally:
        running.close()
