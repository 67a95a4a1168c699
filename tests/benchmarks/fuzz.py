"""Whatever is sent: no 5xx, no traceback in what the gateway's processes print, no refusal that repeats what was sent.

CASES (10,000) drawn by schemathesis from the gateway's own /openapi.json, as it is and broken, and some 12,000 written by hand
(hostile.py) as raw bytes. The gateway has room: an answer of 503 counts as failed too, unless the case itself set a deadline of
less than five seconds. The model is a tiny one.
"""

import os
import socket
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
import requests

from tests.benchmarks import hostile, results, served, started

CASES = int(os.environ.get("CASES", "10000"))
FEWEST = 6  # characters of a text that could be found in an answer by more than chance
PATIENCE = 20.0  # seconds for an answer
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TRACES = (b"Traceback (most recent call last)", b"Exception in ", b"Task exception was never retrieved", b"Fatal Python error")


@dataclass
class Found:
    """What was seen; each list holds the names of the first few cases."""

    statuses: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    echoed: list[str] = field(default_factory=list)
    hasty: int = 0  # 503 to a deadline of the case's own

    def note(self, name: str, status: int, sent: set[str], answer: str, *, hasty: bool = False) -> None:
        self.statuses[f"{status // 100}xx" if status != 503 else "503"] += 1
        if hasty and status in (503, 504):
            self.hasty += 1
        elif status >= 500:
            self.broken.append(f"{status} {name}")
        if status >= 400 and any(each in answer for each in sent):
            self.echoed.append(f"{status} {name}")


def strings(value: Any) -> Iterator[str]:
    """All texts in a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from strings(key)
            yield from strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each)


def drawn(url: str, count: int) -> Found:
    """Cases of schemathesis, half of them to the schema, half against it; operations that take a body get the most."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis.errors import Unsatisfiable

    text = httpx.get(f"{url}/openapi.json").text
    operations = [
        cast(Any, result).ok() for result in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations()
    ]
    posts = [operation.method.upper() == "POST" for operation in operations]
    found, quiet = (
        Found(),
        settings(database=None, deadline=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]),
    )
    with requests.Session() as session:

        def send(case: Any) -> None:
            answer = case.call(base_url=url, session=session, timeout=PATIENCE)
            body = case.body if not isinstance(case.body, bytes) else ""
            sent = strings([body, dict(case.query or {}), dict(case.headers or {})])
            deadline = body.get("deadline_ms") if isinstance(body, dict) else None
            found.note(
                f"{case.method} {case.path}: {case.body!r:.200}", answer.status_code,
                {each for each in sent if len(each) >= FEWEST and each not in text}, answer.text,
                hasty=isinstance(deadline, int | float) and deadline < 5_000,
            )  # fmt: skip

        for operation, post in zip(operations, posts, strict=True):
            most = count // (2 * sum(posts)) + 1 if post else 20
            for mode in schemathesis.GenerationMode:
                cases = given(operation.as_strategy(generation_mode=mode))
                with suppress(Unsatisfiable):  # what takes no parameters cannot be asked wrongly
                    run: Any = seed(len(operation.path))(settings(quiet, max_examples=most)(cases(send)))  # type: ignore[no-untyped-call]
                    run()
    return found


def written(url: str) -> Found:
    """The cases of hostile.py, each on a connection of its own."""
    document = httpx.get(f"{url}/openapi.json").json()
    operations = {path: [*methods] for path, methods in document["paths"].items()} | {"/": ["get"], "/metrics": ["get"]}
    examples = {}
    for path, methods in document["paths"].items():
        for content in (method.get("requestBody", {}).get("content", {}) for method in methods.values()):
            if example := content.get("application/json", {}).get("example"):
                examples[path] = example
    found = Found()
    for name, raw in hostile.requests(operations, examples):
        answer = exchanged(url, raw)
        status = int(answer[9:12]) if answer[:5] == b"HTTP/" and answer[9:12].isdigit() else 0
        if not status:
            found.statuses["closed without an answer"] += 1
            continue
        found.note(name, status, {hostile.CANARY, hostile.CANARY.upper(), hostile.CANARY.lower()}, answer.decode("latin-1"))
    return found


def exchanged(url: str, raw: bytes) -> bytes:
    """What comes back within PATIENCE, until the first answer is whole or the connection ends."""
    host, _, port = url.removeprefix("http://").partition(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.settimeout(2.0)
        with suppress(OSError):  # refused before all was sent: the answer is there all the same
            connection.sendall(raw)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                part = connection.recv(1 << 16)
            except TimeoutError:
                break  # it waits for more than was sent
            except OSError:
                break
            answer = (answer + part).removeprefix(CONTINUE)
            if not part or whole(answer):
                break
    return answer


def whole(answer: bytes) -> bool:
    lines, end, body = answer.partition(b"\r\n\r\n")
    for line in lines.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return bool(end) and len(body) >= int(line.partition(b":")[2])
    return False


def main() -> None:
    warnings.simplefilter("ignore")
    spec = served.tiny_spec(
        task="translation", privacy={"target_language": "de"}, serving={"queue": 4_096, "timeout_ms": 20_000, "cache": {}}
    )
    with started.gateway(spec, served.tiny()) as gateway:
        began = time.monotonic()
        by_hand = written(gateway.url)
        drew = drawn(gateway.url, CASES)
        alive = gateway.health()["ok"]
        output = gateway.log.read_bytes()
    rows, notes = [], [f"{time.monotonic() - began:.0f} s; the gateway is {'well' if alive else 'NOT WELL'} afterwards"]
    for name, found in (("schemathesis", drew), ("written by hand", by_hand)):
        count = found.statuses.total()
        rows.append(results.bounded(f"{name}: 5xx", len(found.broken), "answers", 0, count))
        rows.append(results.bounded(f"{name}: refusals that repeat what was sent", len(found.echoed), "answers", 0, count))
        notes.append(f"{name}: {count} cases: {dict(found.statuses)}; {found.hasty} x 503 to a deadline of the case's own")
        notes += [f"  {case}" for case in (*found.broken[:8], *found.echoed[:8])]
    rows.append(results.at_least("cases of schemathesis", drew.statuses.total(), "cases", CASES))
    traces = sum(output.count(trace) for trace in TRACES)
    rows.append(results.bounded("tracebacks in the processes' output", traces, "tracebacks", 0))
    canaries = output.count(hostile.CANARY.encode())
    rows.append(results.bounded("what was sent, in the processes' output", canaries, "times", 0))
    results.write("fuzz", rows, *notes)


if __name__ == "__main__":
    main()
