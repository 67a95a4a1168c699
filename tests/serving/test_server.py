"""`serve` as a process: it drains on SIGTERM, leaves nothing behind however it ends, and refuses a taken address."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.errors import UserError
from pipelines.rollout.store import Route, Store
from pipelines.serving.admin import Admin
from pipelines.serving.server import serve
from tests.serving.site import KEY, spec, until


@contextmanager
def standalone(export: Path, folder: Path) -> Iterator[tuple[Any, str, Store]]:
    """A gateway process with version 1 in production: (process, base URL, store)."""
    given = spec()
    (folder / "spec.json").write_text(given.model_dump_json())
    store = Store(f"sqlite:///{folder}/rollout.db")
    store.create()
    with store.transaction() as connection:
        store.set_route(given.name, Route("1"), connection)
    command = [sys.executable, "-m", "tests.serving.standalone", str(folder / "spec.json"), f"{folder}/rollout.db", str(export)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            until(lambda: httpx.get(f"{url}/healthz").status_code == 200, 60)
            yield process, url, store
        finally:
            process.kill()
            store.engine.dispose()


def children(pid: int) -> set[int]:
    return {int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_sigterm_drains_flushes_and_returns(export: Path, tmp_path: Path) -> None:
    with standalone(export, tmp_path) as (process, url, store):
        below = children(process.pid)
        seen: Counter[str] = Counter()
        dropped: list[Exception] = []

        def send() -> None:
            try:
                ask()
            except Exception as error:
                dropped.append(error)

        def ask() -> None:
            with httpx.Client(base_url=url, timeout=20) as http:
                while True:
                    try:
                        answer = http.post("/v1/generate", json={"inputs": ["a small package"]})
                    except httpx.ConnectError:
                        return  # not taken in any more: nothing was sent
                    assert answer.status_code == 200
                    seen[answer.headers.get("X-Request-Id", answer.text)] += 1

        threads = [threading.Thread(target=send) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: len(seen) > 20)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(30)
        assert process.wait(30) == 0
        assert not dropped
        assert process.stdout.read() == "returned\n"
        events = {e.request for e in store.read("tiny", {}).events}
        assert set(seen) <= events, "every answered request is in the journal"
        until(lambda: not [pid for pid in below if Path(f"/proc/{pid}").exists()])


def test_a_second_sigterm_waits_for_nobody(export: Path, tmp_path: Path) -> None:
    with standalone(export, tmp_path) as (process, url, _store):
        [engine] = httpx.get(f"{url}/healthz").json()["engines"].values()
        os.kill(engine, signal.SIGSTOP)
        came: list[Exception | httpx.Response] = []

        def send() -> None:
            try:
                came.append(httpx.post(f"{url}/v1/generate", json={"inputs": ["a small package"]}, timeout=60))
            except httpx.HTTPError as error:
                came.append(error)

        sending = threading.Thread(target=send)
        sending.start()
        until(lambda: 'seqline_engine_in_flight{model="tiny"} 1.0' in httpx.get(f"{url}/metrics").text)
        process.send_signal(signal.SIGTERM)
        until(lambda: not connects(url))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        sending.join(30)
        assert [type(each) for each in came] in ([httpx.RemoteProtocolError], [httpx.ReadError])
        os.kill(engine, signal.SIGKILL)


def connects(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=0.2).close()
    except OSError:
        return False
    return True


def test_killed_it_leaves_no_process_and_at_most_the_last_moment_unwritten(export: Path, tmp_path: Path) -> None:
    with standalone(export, tmp_path) as (process, url, store):
        below = children(process.pid)
        answered = []
        with httpx.Client(base_url=url, timeout=20) as http:
            for _ in range(20):
                answer = http.post("/v1/generate", json={"inputs": ["a small package"]})
                answered.append((time.monotonic(), answer.headers["X-Request-Id"]))
        killed = time.monotonic()
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        events = {e.request for e in store.read("tiny", {}).events}
        assert {request for at, request in answered if killed - at > 0.5} <= events
        until(lambda: not [pid for pid in below if Path(f"/proc/{pid}").exists()])


def test_a_taken_admin_port_is_told_by_its_own_name(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        store = Store(f"sqlite:///{tmp_path}/rollout.db")
        admin = Admin("an admin key that is long enough", "{}{}".format, port)
        with pytest.raises(UserError, match=rf"serving.admin_port: cannot listen on 127.0.0.1:{port}: "):
            serve(spec(), store, lambda _: tmp_path, KEY, port=0, admin=admin)


def test_a_taken_address_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        store = Store(f"sqlite:///{tmp_path}/rollout.db")
        with pytest.raises(UserError, match=rf"serving.port: cannot listen on 127.0.0.1:{port}: Address already in use"):
            serve(spec(), store, lambda _: tmp_path, KEY, port=port)
