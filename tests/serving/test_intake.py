"""What the gateway refuses, over HTTP: always one line, never an echo."""

import socket

import pytest

from tests.serving.site import Site


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", "valid JSON"),
        (b"[1]", "JSON object"),
        (b'{"inputs": ["secretword", NaN]}', "valid JSON"),
        (b'{"inputs": ["secretword \\ud800"]}', "valid JSON"),
        (b'{"inputs": ["secretword \xff"]}', "valid JSON"),
        (b'{"inputs": ' + b"[" * 100_000, "valid JSON"),
        (b"{}", "inputs: must be a list of at least one text"),
        (b'{"inputs": []}', "inputs: must be a list of at least one text"),
        (b'{"inputs": {"secretword": 1}}', "inputs: must be a list of at least one text"),
        (b'{"inputs": ["a", 3]}', "inputs[1]: must be a text"),
        (b'{"inputs": ["secretword", " "]}', "inputs[1]: must not be empty"),
        (b'{"inputs": ["a", "b", "' + b"secretword" * 60 + b'"]}', "inputs[2]: must be at most 500 characters, not 600"),
        (b'{"inputs": ["1", "2", "3", "4", "5", "6", "7", "8", "9"]}', "inputs: must be at most 8 texts, not 9"),
        (b'{"inputs": ["a"], "secretword": 1}', "unknown key: the keys are deadline_ms, decoding, inputs, stream"),
        (b'{"inputs": ["' + b"x" * 200_000 + b'"]}', "body: must be at most"),
    ],
)
def test_a_bad_body_gets_one_line_that_echoes_nothing(gate: Site, body: bytes, line: str) -> None:
    answer = gate.http.post("/v1/generate", content=body)
    assert answer.status_code == 400
    assert answer.json().keys() == {"error"}
    assert line in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert "secretword" not in answer.text


def test_a_body_that_never_arrives_is_given_up(gate: Site) -> None:
    address = ("127.0.0.1", int(gate.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=20) as stalled:
        stalled.sendall(b"POST /v1/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert b" 408 " in stalled.recv(4096)


def test_wrong_paths_methods_and_senders_get_one_line(gate: Site) -> None:
    assert gate.http.get("/nowhere").json() == {"error": "Not Found"}
    assert (gate.http.get("/v1/generate").status_code, gate.http.get("/v1/generate").json()) == (
        405,
        {"error": "Method Not Allowed"},
    )
    assert gate.ask(user="u" * 257).json() == {"error": "X-User: must be at most 256 characters"}
    assert gate.ask(user="u" * 100_000).status_code in (400, 431)
