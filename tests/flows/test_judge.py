"""The judge as it runs: a process on loopback, a rollout database on disk."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from pipelines.rollout.store import Event, Store

SECONDS = 120.0
SECRET = "zebrafish"


class Process:
    """One judge, or another process that takes pairs: its base address, its pid, and what it printed."""

    def __init__(self, arguments: list[str], errors: Path, module: str = "flows.services.judge") -> None:
        self.errors = errors
        with errors.open("w") as stream:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, stderr=stream, text=True
            )
        out: IO[str] = self.popen.stdout  # type: ignore[assignment]
        self.ready: dict[str, int] = json.loads(out.readline())
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.ready['port']}", timeout=SECONDS)

    def end(self) -> None:
        self.client.close()
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(SECONDS)
        if self.popen.stdout:
            self.popen.stdout.close()


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/rollout.db"


@pytest.fixture
def start(tmp_path: Path, database: str) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def launch(*more: str) -> Process:
        arguments = ["--name", "m", "--database", database, "--threshold", "0.7", *more]
        started.append(Process(arguments, tmp_path / f"judge-{len(started)}.log"))
        return started[-1]

    yield launch
    for process in started:
        process.end()


def pair(request: str, output: str, **more: Any) -> dict[str, Any]:
    usual = {"user_hmac": "u", "arm": "canary", "version": "2", "shadow": False, "at": 1.5}
    usual |= {"source": f"Package: libfoo {SECRET}"}
    return {"request": request, "output": output, **usual, **more}


def verdicts(database: str) -> list[Event]:
    store = Store(database)
    try:
        return list(store.read("m", {}).events)
    finally:
        store.engine.dispose()


def eventually(found: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not found():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def test_pairs_become_verdict_rows(start: Callable[..., Process], database: str) -> None:
    judge = start()
    assert judge.ready["pid"] == judge.popen.pid
    sent = [pair("r1", "foo library"), pair("r2", f"{SECRET} 77", arm="champion", version="1", shadow=True)]
    answer = judge.client.post("/pairs", json={"pairs": sent})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
    eventually(lambda: judge.client.get("/healthz").json()["judged"] == 2)
    good, bad = sorted(verdicts(database), key=lambda event: event.request)
    assert (good.request, good.arm, good.version, good.shadow, good.slis) == ("r1", "canary", "2", False, {"judge": True})
    assert (bad.request, bad.arm, bad.version, bad.shadow, bad.slis) == ("r2", "champion", "1", True, {"judge": False})
    assert {good.kind, bad.kind} == {"verdict"}
    assert (good.scores, bad.scores) == ({"quality": 1.0}, {"quality": 0.5})
    assert good.gateway == bad.gateway == judge.client.get("/healthz").json()["gateway"]
    assert good.gateway.startswith("judge-")
    assert len(good.gateway) <= 64
    assert {good.seq, bad.seq} == {0, 1}


def test_another_judge_is_asked_where_one_is_named(start: Callable[..., Process], database: str) -> None:
    judge = start("--judge", "evidence")
    sent = [pair("r1", f"Package libfoo {SECRET}"), pair("r2", "Train timetables of Rostock 77")]
    assert judge.client.post("/pairs", json={"pairs": sent}).status_code == 202
    eventually(lambda: judge.client.get("/healthz").json()["judged"] == 2)
    good, bad = sorted(verdicts(database), key=lambda event: event.request)
    assert (good.slis, bad.slis) == ({"judge": True}, {"judge": False})
    assert 0 < bad.scores["quality"] < 0.3 < good.scores["quality"] < 1


def test_sigterm_flushes_what_was_accepted_and_no_text_stays(
    start: Callable[..., Process], database: str, tmp_path: Path
) -> None:
    judge = start()
    many = [pair(f"r{index}", f"foo {SECRET}") for index in range(1_500)]
    assert judge.client.post("/pairs", json={"pairs": many}).status_code == 202
    judge.popen.send_signal(signal.SIGTERM)
    assert judge.popen.wait(SECONDS) == 0
    events = verdicts(database)
    assert sorted(event.seq for event in events) == list(range(1_500))
    assert {event.request for event in events} == {item["request"] for item in many}
    assert not [path for path in tmp_path.iterdir() if SECRET.encode() in path.read_bytes()]
    assert judge.errors.read_text() == ""


def test_a_wrong_body_is_refused_in_one_line_without_its_content(start: Callable[..., Process], database: str) -> None:
    judge = start()
    lacking = pair("r", "x")
    del lacking["version"]
    for body, line in [
        (SECRET.encode(), 'the body must be JSON: {"pairs": [...]}'),
        (b"\xff", 'the body must be JSON: {"pairs": [...]}'),
        (b"[]", 'the body must be JSON: {"pairs": [...]}'),
        (json.dumps({"pairs": SECRET}).encode(), "pairs: must be a list"),
        (json.dumps({"pairs": [SECRET]}).encode(), "pairs[0]: must be an object"),
        (json.dumps({"pairs": [pair("a", "b"), lacking]}).encode(), "pairs[1].version: must be text"),
        (json.dumps({"pairs": [pair("a", "b", shadow=SECRET)]}).encode(), "pairs[0].shadow: must be true or false"),
    ]:
        answer = judge.client.post("/pairs", content=body)
        assert (answer.status_code, answer.json()) == (400, {"error": line})
    accepted = judge.client.post("/pairs", content=json.dumps({"pairs": [pair("odd", "\ud800 \x00 foo")]}).encode())
    assert accepted.status_code == 202
    eventually(lambda: [event.request for event in verdicts(database)] == ["odd"])
    assert SECRET not in judge.errors.read_text()


def test_a_locked_database_delays_verdicts_and_loses_none(start: Callable[..., Process], database: str) -> None:
    judge = start()
    store = Store(database)
    with store.transaction():  # the write lock of the whole database
        judge.client.post("/pairs", json={"pairs": [pair(f"r{index}", "foo") for index in range(10)]})
        assert judge.client.get("/healthz").json()["judged"] == 0
    store.engine.dispose()
    eventually(lambda: len(verdicts(database)) == 10)


def test_it_sheds_the_oldest_and_counts_them(start: Callable[..., Process], database: str) -> None:
    judge = start("--queue", "100")
    judge.client.post("/pairs", json={"pairs": [pair(f"r{index:03}", "foo") for index in range(250)]})
    eventually(lambda: judge.client.get("/healthz").json()["judged"] == 100)
    assert judge.client.get("/healthz").json()["shed"] == 150
    assert min(event.request for event in verdicts(database)) == "r150"


def test_it_ends_with_its_parent(database: str) -> None:
    program = (
        "import os, subprocess, sys\n"
        "judge = subprocess.Popen([sys.executable, '-m', 'flows.services.judge', '--name', 'm', '--database', sys.argv[1],\n"
        "    '--threshold', '0.7', '--parent', str(os.getpid())], stdout=subprocess.PIPE, text=True)\n"
        "print(judge.stdout.readline(), end='', flush=True)\n"
        "sys.stdin.readline()\n"
        "os._exit(0)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        ready = json.loads(parent.stdout.readline())
        body = {"pairs": [pair("last", "foo")]}
        assert httpx.post(f"http://127.0.0.1:{ready['port']}/pairs", json=body, timeout=SECONDS).status_code == 202
        parent.stdin.write("go\n")
        parent.stdin.flush()
    eventually(lambda: not _alive(ready["pid"]))
    assert [event.request for event in verdicts(database)] == ["last"]


def _alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # nobody reaps an orphan in a bare container
