"""The replay against a real HTTP server."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]


class Server(ThreadingHTTPServer):
    """Answers every tenth request with 503 and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str]] = []
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append((self.headers["X-User"], body["inputs"][0]))
            bad = len(self.server.asked) % 10 == 0
        self.send_response(503 if bad else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "test.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "source": ["Package: a", "Package: b"], "target": ["x", "y"]}), path)
    return path


def start(parquet: Path, url: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipelines.rollout.replay", "--parquet", str(parquet), "--url", url, *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_sends_held_out_requests_until_it_is_told_to_stop(server: Server, parquet: Path) -> None:
    process = start(parquet, f"http://127.0.0.1:{server.server_port}", "--rate", "100", "--users", "7")
    deadline = time.monotonic() + 60
    while len(server.asked) < 50 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert told["sent"] == len(server.asked) >= 50
    assert told["statuses"] == {"200": told["ok"], "503": told["failed"]}
    assert told["failed"] == told["sent"] // 10
    assert 0 < told["p50_ms"] <= told["p99_ms"]
    assert {source for _, source in server.asked} == {"Package: a", "Package: b"}
    assert 1 < len({user for user, _ in server.asked}) <= 7


def test_it_keeps_its_beat_and_counts_what_nobody_answers(parquet: Path) -> None:
    process = start(parquet, "http://127.0.0.1:9", "--rate", "50", "--seconds", "1")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert told["failed"] == told["sent"] > 0
    assert told["ok"] == 0
    assert told["sent"] <= 51


def test_it_ends_with_its_parent(server: Server, parquet: Path) -> None:
    process = start(parquet, f"http://127.0.0.1:{server.server_port}", "--parent", "1")
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_file_it_cannot_read_is_one_line(tmp_path: Path) -> None:
    process = start(tmp_path / "none.parquet", "http://127.0.0.1:9")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(err.strip().splitlines()) == 1
    assert "none.parquet" in err
