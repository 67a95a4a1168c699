"""The real Prometheus and Alertmanager, as flows/stack/observing.py starts them, and a webhook that keeps what it is told."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.stack import observing
from tests.serving.site import until

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
missing = [program for program in PROGRAMS if not observing.found(program)]
needed = pytest.mark.skipif(
    bool(missing), reason=f"no {', '.join(missing)}: `make setup` brings Debian's by apt, or put them on the PATH"
)


def told(*command: str | Path) -> str:
    """What one of the tools says, both streams; it must end well."""
    name, *arguments = map(str, command)
    program = observing.found(name)
    assert program, name
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


@contextmanager
def running(what: str, config: Path, folder: Path, *more: str) -> Iterator[str]:
    """The address of a server, once it is ready. It cannot take a port of its own choice, so a taken one is tried anew."""
    folder.mkdir(exist_ok=True)
    log = folder / "log"
    for _ in range(5):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [*observing.command(what, config, folder / "data", INFRA / "runbooks", port), *more]
        with log.open("w") as stream:
            process = subprocess.Popen(command, cwd=observing.folder(), stdout=stream, stderr=stream)
        try:
            if until(lambda process=process, url=url: process.poll() is not None or _ready(url)) and process.poll() is None:
                yield url
                return
        finally:
            process.terminate()
            process.wait(60)
    raise AssertionError(log.read_text())


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=5, trust_env=False, verify=False).status_code == 200
    except httpx.TransportError:
        return False


def client(url: str) -> httpx.Client:
    """A client of one server; without certificates, whose reading costs more than all that is asked."""
    return httpx.Client(base_url=url, timeout=30, trust_env=False, verify=False, follow_redirects=True)


def ask(prometheus: httpx.Client, query: str) -> list[dict[str, Any]]:
    """The samples of an instant query that are numbers.

    Raises:
        AssertionError: Prometheus does not understand it.
    """
    answer = prometheus.post("/api/v1/query", data={"query": query}).json()
    assert answer["status"] == "success", f"{query}: {answer}"
    return [sample for sample in answer["data"]["result"] if sample["value"][1] != "NaN"]


@contextmanager
def metrics(text: bytes) -> Iterator[str]:
    """The address of something that is scraped: every GET is answered with `text`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Hook:
    """A webhook: `messages` are (path, content), in order, each come at the second since the epoch in `came`."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.came: list[float] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.came.append(time.time())
                hook.messages.append((self.path, content))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def alerts(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        """(path, alert) of each time that an alert so named was told as firing."""
        return [
            (path, alert)
            for path, content in list(self.messages)
            for alert in content["alerts"]
            if alert["labels"]["alertname"] == name and alert["status"] == "firing"
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
