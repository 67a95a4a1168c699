"""A thousand people and a thousand tokens, sent to a served model by every way there is; afterwards nobody stands anywhere.

A project of its own: the real line trains, registers and promotes a tiny model, `seqline serve` serves it with judge and
review, every answer is sampled, and OpenTelemetry's spans go to a collector that keeps every byte. People stand in texts (names
in mailbox syntax, addresses, card numbers: what the policy claims to find) and in X-User; tokens in headers, addresses, keys of
JSON and broken bodies. Meanwhile the guard's worker and the engine are killed. Then every file of logs, metrics, spans, MLflow,
Prefect, rollout database and temporary folders is searched, byte by byte, packed or not.
"""

import hashlib
import json
import os
import signal
import socket
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil

from pipelines.scrub.planted import Identity, identities
from pipelines.scrub.sweep import sweep
from tests.benchmarks import results
from tests.flows.test_leaks import SCRUBBED, Line, plain

PEOPLE = int(os.environ.get("PEOPLE", "1000"))
KILLS = 5  # of the guard's worker, and of the engine
VICTIMS = ("spawn_main", "pipelines.serving.engine")  # the guard's worker, the engine: part of their command lines
REVIEW = "  review: {share: 1.0, per_hour: 100000}\n"


def text(person: Identity) -> str:
    return (
        f"Package: tool-{plain(person)[:4]}\nMaintainer: {person.name} <{person.mail}>\n"
        f"Description: handles letters and maps. Paid by card {plain(person)}, thanks."
    )


class Sender:
    """Sends each person, with a token, by one of the ways; `sent` keeps what was sent, `statuses` what came back."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=30)
        self.sent: list[str] = []
        self.statuses: Counter[str] = Counter()
        self.ways: list[Callable[[Identity, str], httpx.Response | None]] = [
            self.generate, self.stream, self.feedback, self.several, self.invocations, self.infer, self.oversize, self.broken,
            self.unknown_key, self.too_late, self.wrong_path, self.bad_decoding, self.hang_up, self.control_characters,
        ]  # fmt: skip

    def send(self, number: int, person: Identity) -> None:
        token = f"sk-{number:06d}-{hash_of(person)}"
        self.sent.append(f"{text(person)}\n{token}\n")
        way = self.ways[number % len(self.ways)]
        try:
            answer = way(person, token)
            status = str(answer.status_code) if answer is not None else "gone"
        except httpx.HTTPError as error:
            status = type(error).__name__
        self.statuses[f"{way.__name__} {status}"] += 1

    def post(self, path: str, person: Identity, token: str, **options: Any) -> httpx.Response:
        headers = {"X-User": person.mail, "Authorization": f"Bearer {token}", "Cookie": f"session={token}", "User-Agent": token}
        return self.http.post(path, headers={**headers, **options.pop("headers", {})}, **options)

    def generate(self, person: Identity, token: str) -> httpx.Response:
        return self.post("/v1/generate", person, token, json={"inputs": [text(person)]})

    def stream(self, person: Identity, token: str) -> httpx.Response:
        return self.post("/v1/generate", person, token, json={"inputs": [text(person)], "stream": True})

    def several(self, person: Identity, token: str) -> httpx.Response:
        return self.post("/v1/generate", person, token, json={"inputs": [text(person), f"{person.name} <{person.mail}>"] * 3})

    def feedback(self, person: Identity, token: str) -> httpx.Response:
        answer = self.generate(person, token)
        said = {"rating": "down", "correction": text(person), "comment": f"Ask {person.name} <{person.mail}>"}
        return self.post("/v1/feedback", person, token, json={"request_id": answer.headers.get("x-request-id", "x"), **said})

    def invocations(self, person: Identity, token: str) -> httpx.Response:
        return self.post("/invocations", person, token, json={"inputs": [text(person)]})

    def infer(self, person: Identity, token: str) -> httpx.Response:
        tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text(person)]}
        return self.post("/v2/models/tiny/infer", person, token, json={"inputs": [tensor]})

    def oversize(self, person: Identity, token: str) -> httpx.Response:
        return self.post("/v1/generate", person, token, json={"inputs": [text(person) * 400]})

    def broken(self, person: Identity, token: str) -> httpx.Response:
        return self.post("/v1/generate", person, token, content=f'{{"inputs": ["{person.name} {person.mail}", {token}'.encode())

    def unknown_key(self, person: Identity, token: str) -> httpx.Response:
        return self.post("/v1/generate", person, token, json={"inputs": [text(person)], token: person.name})

    def too_late(self, person: Identity, token: str) -> httpx.Response:
        return self.post("/v1/generate", person, token, json={"inputs": [text(person)], "deadline_ms": 1})

    def wrong_path(self, person: Identity, token: str) -> httpx.Response:
        return self.post(f"/v1/{token}?who={person.mail}&key={token}", person, token, json={"inputs": [text(person)]})

    def bad_decoding(self, person: Identity, token: str) -> httpx.Response:
        return self.post("/v1/generate", person, token, json={"inputs": [text(person)], "decoding": {"beam": token}})

    def control_characters(self, person: Identity, token: str) -> httpx.Response:
        return self.post(
            "/v1/generate", person, token, json={"inputs": [text(person) + "\0\u202e"]}, headers={"X-User": token * 9}
        )

    def hang_up(self, person: Identity, token: str) -> None:
        body = json.dumps({"inputs": [text(person)]}).encode()
        host, _, port = self.url.removeprefix("http://").partition(":")
        head = f"POST /v1/generate HTTP/1.1\r\nHost: x\r\nX-User: {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + body[: len(body) // (1 + len(token) % 2)])


def hash_of(person: Identity) -> str:
    """A token of its own for each person, which no scrubber has a rule for."""
    return hashlib.sha256(person.mail.encode()).hexdigest()[:24]


@contextmanager
def collector(folder: Path) -> Iterator[str]:
    """Takes what OpenTelemetry sends and keeps it, body by body."""
    folder.mkdir()

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            (folder / f"{time.monotonic_ns()}.bin").write_bytes(str(self.headers).encode() + body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keep)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


class Served(Line):
    """The line's project, whose model is then served."""

    otel = ""

    @property
    def environment(self) -> dict[str, str]:
        spans = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.otel, "OTEL_TRACES_SAMPLER": "always_on"} if self.otel else {}
        return {**super().environment, **spans}

    @contextmanager
    def served(self, log: Path) -> Iterator[psutil.Process]:
        with log.open("w") as to:
            process = self.start("flows.cli", "serve", "tiny", stdout=to, stderr=to)
        try:
            url, until = f"http://127.0.0.1:{self.port}/healthz", time.monotonic() + 240
            while True:
                with suppress(httpx.HTTPError):
                    if httpx.get(url, timeout=5).status_code == 200:
                        break
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(log.read_text()[-2_000:])
                time.sleep(0.3)
            yield psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def victim(process: psutil.Process, kind: str) -> psutil.Process:
    """The child whose command line holds `kind`, as soon as there is one and the gateway can answer."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for child in process.children():
            with suppress(psutil.NoSuchProcess):
                if kind in " ".join(child.cmdline()):
                    return child
        time.sleep(0.1)
    raise TimeoutError(f"no {kind} came back")


def run(line: Served, folder: Path) -> tuple[Sender, Counter[str], bytes]:
    """Serve and send everybody, a worker of the guard or an engine being killed in the midst of each part; then stop.

    Returns the last words of /metrics too.
    """
    killed: Counter[str] = Counter()
    people = [*enumerate(identities(PEOPLE, seed=12))]
    part = -(-PEOPLE // (2 * KILLS + 1))
    with collector(folder / "spans") as line.otel, line.served(folder / "gateway.log") as process:
        sender = Sender(f"http://127.0.0.1:{line.port}")
        with ThreadPoolExecutor(8) as pool:
            for number, start in enumerate(range(0, PEOPLE, part)):
                kind = VICTIMS[number % 2]
                doomed = victim(process, kind)
                sending = [pool.submit(sender.send, *person) for person in people[start : start + part]]
                if number < 2 * KILLS:
                    time.sleep(0.1)  # some are answered, some wait
                    doomed.kill()
                    killed[kind] += 1
                for each in sending:
                    each.result()
        metrics = httpx.get(f"{sender.url}/metrics", timeout=10).content
    return sender, killed, metrics


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="seqline-secrets-") as scratch:
        folder = Path(scratch)
        line = Served(folder, SCRUBBED)
        spec = line.folder / "models" / "tiny.yaml"
        spec.write_text(spec.read_text().replace("serving:\n", f"serving:\n{REVIEW}"))
        line.commit("every answer is kept for review")
        line.retrain()
        out = folder / "served"
        out.mkdir()
        sender, killed, metrics = run(line, out)
        (out / "metrics.txt").write_bytes(metrics)
        sent = folder / "sent.txt"
        sent.write_text("\n".join(sender.sent), encoding="utf-8")
        values = [value for each in identities(PEOPLE, seed=12) for value in (each.name, each.mail, plain(each), hash_of(each))]
        control = sweep(values, [sent])
        found = sweep(values, [*line.searched(), out])
        with sqlite3.connect(line.folder / ".seqline" / "mlflow.db") as registry:
            reviewed = registry.execute("select count(*) from trace_info").fetchone()[0]
        spans = len([*(out / "spans").iterdir()])
        places = [f"{path.relative_to(folder)}: {count}" for path, count in found]
    rows = [
        results.bounded("places where somebody or a token still stands", len(found), "files", 0, PEOPLE),
        results.at_least("the search finds them in what was sent", control[0][1] if control else 0, "finds", 4 * PEOPLE),
        results.at_least("traces in MLflow that were searched", reviewed, "traces", 1),
        results.at_least("deliveries of spans that were searched", spans, "bodies", 1),
        results.at_least("kills of guard and engine meanwhile", killed.total(), "kills", 2),
    ]
    answers = f"answers: {dict(sorted(sender.statuses.items()))}"
    results.write("secrets_serving", rows, *places[:20], f"kills: {dict(killed)}", answers)


if __name__ == "__main__":
    main()
