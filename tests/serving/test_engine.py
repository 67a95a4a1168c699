"""An engine process over HTTP: answers, bounds, deadlines, and how it ends."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipelines import artifact
from pipelines.decode import Decoder
from pipelines.serving import engine as engine_module
from pipelines.serving.answering import Job
from pipelines.spec import Decoding
from tests.serving.site import spec, until

ENGINE = [sys.executable, "-m", "pipelines.serving.engine", "--port", "0"]


def command(export: Path, folder: Path, **serving: Any) -> list[str]:
    path = folder / "spec.json"
    path.write_text(spec(serving={"queue": 4, "max_chars": 5_000, **serving}).model_dump_json())
    return [*ENGINE, "--export", str(export), "--spec", str(path)]


@contextmanager
def running(given: list[str]) -> Iterator[httpx.Client]:
    with subprocess.Popen(given, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        assert ready["pid"] == process.pid
        with httpx.Client(base_url=f"http://127.0.0.1:{ready['port']}", timeout=30) as http:
            yield http
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture(scope="module")
def engine(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running(command(export, tmp_path_factory.mktemp("engine"))) as http:
        yield http


def outputs(engine: httpx.Client, *inputs: str, **options: Any) -> list[dict[str, Any]]:
    answer = engine.post("/generate", json={"inputs": inputs, **options})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["outputs"]
    return found


def streamed(engine: httpx.Client, *inputs: str, **options: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The pieces, and the last line."""
    with engine.stream("POST", "/generate", json={"inputs": inputs, "stream": True, **options}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        *pieces, last = [json.loads(line) for line in answer.iter_lines()]
    return pieces, last


def test_it_says_what_it_serves(engine: httpx.Client, export: Path) -> None:
    assert engine.get("/healthz").json() == {"ok": True, "manifest": artifact.file_sha256(export / "manifest.json")}


def test_one_whose_decoding_hangs_says_that_it_is_not_well(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its event loop goes on, and answered that all is well for ever."""
    monkeypatch.setattr(engine_module, "LONGEST", 0.0)
    gate = threading.Event()

    class Hanging(Decoder):
        def write(self, *_: Any, **__: Any) -> Any:
            gate.wait()
            raise ValueError("let go")

    service = engine_module.Service(Hanging(export), spec(serving={"timeout_ms": 100}))

    async def asked() -> list[int]:
        batcher, codes = service.answering.batcher, [(await service.healthz(None)).status_code]
        waits = asyncio.ensure_future(service.answering.answers(Job(["a"], Decoding(max_tokens=2), time.monotonic() + 60)))
        while batcher.longest <= engine_module.LATE * 0.1:
            await asyncio.sleep(0.01)
        codes.append((await service.healthz(None)).status_code)
        gate.set()
        with pytest.raises(ValueError, match="let go"):
            await waits
        await asyncio.to_thread(batcher.close)
        return [*codes, (await service.healthz(None)).status_code]

    assert asyncio.run(asked()) == [200, 503, 200]


def test_texts_asked_together_or_alone_get_the_same_answers(engine: httpx.Client) -> None:
    texts = ["a small package", "a much longer description of another package with many words in it", "x"]
    together = engine.post("/generate", json={"inputs": texts}).json()["outputs"]
    alone = [engine.post("/generate", json={"inputs": [text]}).json()["outputs"][0] for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert one.pop("logprob") == pytest.approx(other.pop("logprob"), abs=1e-2)
        assert one == other
        made = {"finished", "parts", "seed"}
        assert one.keys() == {"text", "source_tokens", "target_tokens", "truncated"} | made


def test_the_decoding_is_the_specs_unless_one_is_given(engine: httpx.Client) -> None:
    default, short = (
        engine.post("/generate", json={"inputs": ["a small package"], "decoding": decoding}).json()["outputs"][0]
        for decoding in (None, {"max_tokens": 2})
    )
    assert short["target_tokens"] <= 2 < default["target_tokens"] <= 8


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"decoding": {"beam": 99}}, "decoding.beam: must be as in the spec's serving.decoding"),
        ({"decoding": "greedy"}, "decoding: must be as in the spec's serving.decoding"),
        ({"deadline_ms": 0}, "deadline_ms: must be a number of milliseconds above 0"),
        ({"deadline_ms": True}, "deadline_ms: must be a number of milliseconds above 0"),
        ({"inputs": []}, "inputs: must be a list of at least one text"),
        ({"decoding": {"beam": 16}}, "decoding.beam: must be at most 8"),
        ({"decoding": {"max_tokens": 513}}, "decoding.max_tokens: must be at most 512"),
        ({"stream": 1}, "stream: must be true or false"),
        ({"temperature": 1}, "body: unknown key: the keys are deadline_ms, decoding, inputs, stream"),
    ],
)
def test_a_bad_request_gets_one_line(engine: httpx.Client, change: dict[str, Any], line: str) -> None:
    answer = engine.post("/generate", json={"inputs": ["a"], **change})
    assert (answer.status_code, answer.json()) == (400, {"error": line})


def test_other_paths_and_methods_get_one_line(engine: httpx.Client) -> None:
    assert (engine.get("/").status_code, engine.get("/").json().keys()) == (404, {"error"})
    assert (engine.get("/generate").status_code, engine.get("/generate").headers["Allow"]) == (405, "POST")


def test_it_tells_where_the_time_went(engine: httpx.Client) -> None:
    timing = engine.post("/generate", json={"inputs": ["a small package", "a library"]}).json()["timing"]
    assert timing.keys() == {"queue", "decode", "batch", "busy"}
    assert timing["batch"] == 2
    assert timing["decode"] >= timing["busy"] / 2 > 0 <= timing["queue"]


def test_a_drawn_answer_can_be_drawn_again_whoever_else_is_served(engine: httpx.Client) -> None:
    drawn = {"temperature": 2.0, "max_tokens": 8}
    (first,) = outputs(engine, "a small package", decoding=drawn)
    again = outputs(engine, "fonts", "a small package", "games", decoding={**drawn, "seed": first["seed"]})
    assert again[1]["text"] == first["text"]
    others = {outputs(engine, "a small package", decoding=drawn)[0]["text"] for _ in range(5)}
    assert len(others) > 1, "without a seed each is drawn anew"


@pytest.mark.parametrize("decoding", [{"beam": 1}, {"beam": 2}, {"temperature": 1.0, "seed": 5}])
def test_a_stream_tells_the_text_in_pieces_and_then_the_answer(engine: httpx.Client, decoding: dict[str, Any]) -> None:
    inputs = ("a small package", "fonts for games")
    pieces, last = streamed(engine, *inputs, decoding={"max_tokens": 8, **decoding})
    for index, output in enumerate(last["outputs"]):
        assert "".join(piece["text"] for piece in pieces if piece["index"] == index) == output["text"]
    assert [each["text"] for each in last["outputs"]] == [
        each["text"] for each in outputs(engine, *inputs, decoding={"max_tokens": 8, **decoding})
    ]
    assert last["timing"]["busy"] > 0


def test_a_stream_that_cannot_begin_is_refused_as_ever(engine: httpx.Client) -> None:
    answer = engine.post("/generate", json={"inputs": ["a"], "stream": True, "deadline_ms": 0.001})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


LONG = "A small package for reading files. " * 60


def test_a_long_text_is_read_in_pieces_and_nothing_is_left_out(engine: httpx.Client) -> None:
    long, short = outputs(engine, LONG, "fonts")
    assert long["parts"] > 1 == short["parts"]
    assert not long["truncated"]
    assert long["logprob"] is None
    pieces, last = streamed(engine, LONG, "fonts")
    assert last["outputs"][0] == long
    assert "".join(piece["text"] for piece in pieces if piece["index"] == 0) == long["text"]


def test_a_long_text_is_cut_or_refused_where_the_spec_says_so(export: Path, tmp_path: Path) -> None:
    with running(command(export, tmp_path, long_inputs="cut")) as http:
        (cut,) = outputs(http, LONG)
        assert (cut["truncated"], cut["parts"]) == (True, 1)
    with running(command(export, tmp_path, long_inputs="refuse")) as http:
        answer = http.post("/generate", json={"inputs": ["fonts", LONG]})
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("inputs[1]: longer than the model reads at once (")


def test_who_hangs_up_makes_room_for_others(engine: httpx.Client) -> None:
    for stream in (False, True):
        for _ in range(20):  # more than there is room for
            with suppress(httpx.TimeoutException):
                engine.post("/generate", json={"inputs": ["word " * 90] * 8, "stream": stream}, timeout=0.02)
    until(lambda: engine.post("/generate", json={"inputs": ["a"]}).status_code == 200)


def test_a_passed_deadline_is_a_503(engine: httpx.Client) -> None:
    answer = engine.post("/generate", json={"inputs": ["a"], "deadline_ms": 0.001})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_flood_gets_429_or_an_answer(engine: httpx.Client) -> None:
    body = {"inputs": ["word " * 90] * 8, "deadline_ms": 30_000}
    with ThreadPoolExecutor(24) as senders:
        answers = list(senders.map(lambda _: engine.post("/generate", json=body), range(48)))
    assert {a.status_code for a in answers} == {200, 429}
    assert all(a.headers["Retry-After"] == "1" for a in answers if a.status_code == 429)
    assert engine.post("/generate", json={"inputs": ["a"]}).status_code == 200


def test_a_changed_byte_is_refused_by_name(export: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(export, tmp_path / "broken")
    victim = max((p for p in broken.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    ended = subprocess.run(command(broken, tmp_path), capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert victim.name in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stdout == ""


def test_with_a_signer_an_unsigned_export_is_refused(export: Path, tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    public = tmp_path / "public.pem"
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    given = [*command(export, tmp_path), "--signer", str(public)]
    ended = subprocess.run(given, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (1, "", 1)
    assert "sign" in ended.stderr


def test_it_ends_when_its_parent_is_killed(export: Path, tmp_path: Path) -> None:
    parent = (
        "import subprocess, sys, os, json\n"
        "child = subprocess.Popen([*sys.argv[1:], '--parent', str(os.getpid())], stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline().decode(), flush=True)\n"
        "child.wait()\n"
    )
    given = [sys.executable, "-c", parent, *command(export, tmp_path)]
    with subprocess.Popen(given, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        child = json.loads(process.stdout.readline())["pid"]
        os.kill(child, 0)
        process.kill()
    until(lambda: not _alive(child))


def _alive(pid: int) -> bool:
    with suppress(FileNotFoundError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def test_sigterm_lets_it_finish(export: Path, tmp_path: Path) -> None:
    with subprocess.Popen(command(export, tmp_path), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        body = {"inputs": ["word " * 90] * 3, "deadline_ms": 30_000}
        with ThreadPoolExecutor(3) as senders, httpx.Client(base_url=f"http://127.0.0.1:{ready['port']}") as http:
            held = [senders.submit(http.post, "/generate", json=body, timeout=30) for _ in range(3)]
            until(lambda: any(f.done() for f in held))
            process.send_signal(signal.SIGTERM)
            assert {f.result().status_code for f in held} <= {200, 429}
        assert process.wait(20) == 0
