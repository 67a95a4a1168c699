"""What a hostile sender writes into a socket: bytes, by a name. CANARY stands in all of them; no answer may repeat it."""

import json
from collections.abc import Iterator, Mapping, Sequence

CANARY = "canary7f3aTOKEN"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", CANARY.upper())
PATHS = (
    "/../etc/passwd", "/v1/../../etc/passwd", "/v1/%2e%2e/%2e%2e/etc/passwd", "/v1/..%2fgenerate", "//v1//generate",
    "/v1/generate/", f"/{CANARY}", f"/v1/generate?{CANARY}=1", "/%00", "/%ff%fe", "/" + "a" * 60_000, "/v1/generate%00", "*",
    f"http://{CANARY}/v1/generate", "/.git/config", "/healthz/../metrics", "/openapi.json%20", "/static/../../../../etc/passwd",
    f"/v2/models/{CANARY}/infer", f"/endpoints/{CANARY}/invocations", "\\..\\..\\windows",
)  # fmt: skip
KEYS = (
    "inputs", "q", "text", "decoding", "stream", "deadline_ms", "request_id", "rating", "instances", "dataframe_split",
    "parameters", "target", "target_lang", "source", "format", "params", "index", "id",
)  # fmt: skip
DEEP = 100_000
HUGE = 20 << 20


def requests(operations: Mapping[str, Sequence[str]], example: Mapping[str, object]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of each case. `operations` are the methods of each path, `example` a good body of a path."""
    for path in (*operations, *PATHS):
        for method in METHODS:
            yield f"{method} {path[:40]}", head(method, path, [f"X-Canary: {CANARY}", "Content-Length: 2"]) + b"{}"
    for path, body in example.items():
        for name, raw in bodies(json.dumps(body)):
            for kind in ("application/json", "text/csv", "application/x-www-form-urlencoded", f"{CANARY}/{CANARY}"):
                if len(raw) < 1 << 20 or kind == "application/json":
                    sent = head("POST", path, [f"Content-Type: {kind}", f"Content-Length: {len(raw)}"]) + raw
                    yield f"{name} as {kind} to {path}", sent
        for name, sent in framed(path, json.dumps(body).encode()):
            yield f"{name} to {path}", sent


def bodies(good: str) -> Iterator[tuple[str, bytes]]:
    """Bad bodies, `good` being a good one."""
    text = json.dumps(CANARY)
    yield "NUL", json.dumps({"inputs": [f"{CANARY}\0"], "q": "\0", "text": ["\0"]}).encode()
    yield "raw NUL", b"\0" + good.encode() + b"\0"
    for name, escaped in {"high": "\\ud800", "low": "\\udfff", "reversed": "\\udc00\\ud800"}.items():
        yield (
            f"lone surrogate {name}",
            f'{{"inputs": ["{CANARY} {escaped}"], "q": "{escaped}", "text": ["{escaped}"]}}'.encode(),
        )
    yield "surrogate in UTF-8", b'{"inputs": ["' + b"\xed\xa0\x80" + CANARY.encode() + b'"]}'
    for number in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5_000, "0." + "1" * 5_000, "-0"):
        yield (
            f"number {number[:9]}",
            f'{{"inputs": [{number}], "deadline_ms": {number}, "decoding": {{"beam": {number}}}}}'.encode(),
        )
        yield f"decoding {number[:9]}", f'{{"inputs": [{text}], "decoding": {{"temperature": {number}}}}}'.encode()
    yield "bidi", json.dumps({"inputs": [f"\u202e{CANARY}\u2066\u2069\u200f" * 9], "q": "\u202e", "text": ["\u202e"]}).encode()
    yield "combining", json.dumps({"inputs": ["e" + "\u0301" * 15_000], "q": "\u0301" * 15_000}).encode()
    for opened, closed in (("[", "]"), ('{"a":', "}")):
        middle = opened * DEEP + text + closed * DEEP
        yield f"deep {opened}", middle.encode()
        yield f"deep {opened} inside", f'{{"inputs": {middle}, "parameters": {middle}, "decoding": {middle}}}'.encode()
        yield f"never closed {opened}", (opened * DEEP).encode()
    yield "20 MB text", f'{{"inputs": ["{CANARY}{"x" * HUGE}"]}}'.encode()
    yield "20 MB of texts", f'{{"inputs": [{",".join([text] * (HUGE // 20))}]}}'.encode()
    members = ",".join(f'"{CANARY}{number}":1' for number in range(HUGE // 30))
    yield "20 MB of keys", f"{{{members}}}".encode()
    yield "20 MB of blanks", b" " * HUGE + good.encode()
    yield "UTF-8 that is none", b'{"inputs": ["\xff\xfe\xc0\x80 ' + CANARY.encode() + b'"]}'
    yield "UTF-16", f'{{"inputs": [{text}]}}'.encode("utf-16")
    yield "a byte order mark", b"\xef\xbb\xbf" + good.encode()
    yield "gzip that is none", b"\x1f\x8b\x08" + CANARY.encode()
    yield "a key twice", f'{{"inputs": [{text}], "inputs": [{text}]}}'.encode()
    yield "an unknown key", f'{{"inputs": ["a"], {text}: 1}}'.encode()
    yield "cut off", good[:-1].encode()
    for value in (
        "",
        "null",
        "true",
        "1",
        text,
        "[]",
        "{}",
        f"[{text}]",
        f'{{"inputs": {text}}}',
        '{"inputs": []}',
        '{"inputs": [""]}',
    ):
        yield f"{value[:12]!r}", value.encode()
    for key in KEYS:
        for value in (text, "null", "[]", "{}", "-1", "true", f"[[{text}]]", f"{{{text}: {text}}}", "1e308"):
            yield f"{key} = {value[:12]}", f"{{{json.dumps(key)}: {value}}}".encode()
            yield f"{key} = {value[:12]} beside", f"{good[:-1]}, {json.dumps(key)}: {value}}}".encode()


def framed(path: str, good: bytes) -> Iterator[tuple[str, bytes]]:
    """A good body in bad HTTP."""
    length, chunks = f"Content-Length: {len(good)}", b"%x\r\n%s\r\n0\r\n\r\n" % (len(good), good)
    smuggled = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    yield "CL and TE", head("POST", path, [length, "Transfer-Encoding: chunked"]) + chunks
    yield "TE and CL", head("POST", path, ["Transfer-Encoding: chunked", "Content-Length: 5"]) + chunks + smuggled
    yield "CL.TE smuggling", head("POST", path, ["Content-Length: 4", "Transfer-Encoding: chunked"]) + b"0\r\n\r\n" + smuggled
    yield "two lengths", head("POST", path, [length, "Content-Length: 1"]) + good
    for value in ("-1", "+5", "0x10", "1e3", " ", CANARY, "9" * 40, "5, 5"):
        yield f"length {value[:12]}", head("POST", path, [f"Content-Length: {value}"]) + good
    for value in ("chunked, chunked", "xchunked", "identity", "gzip, chunked", CANARY, "chunked\x0b", " chunked"):
        yield f"coding {value}", head("POST", path, [f"Transfer-Encoding: {value}"]) + chunks
    for chunk in (
        b"-1\r\n",
        b"zz\r\n",
        b"FFFFFFFFFFFFFFFF\r\n",
        b"1;" + CANARY.encode() * 9_000 + b"\r\n",
        b"5\r\nab",
        b"\r\n" * 99,
    ):
        yield f"chunk {chunk[:6]!r}", head("POST", path, ["Transfer-Encoding: chunked"]) + chunk
    yield "no host", f"POST {path} HTTP/1.1\r\n{length}\r\n\r\n".encode() + good
    yield "HTTP/1.0", f"POST {path} HTTP/1.0\r\n{length}\r\n\r\n".encode() + good
    yield "HTTP/9.9", f"POST {path} HTTP/9.9\r\n{length}\r\n\r\n".encode() + good
    yield "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
    yield "only newlines", b"\r\n" * 9_000
    yield "a name with a blank", head("POST", path, [length, f"X {CANARY}: 1"]) + good
    yield "a folded header", head("POST", path, [length, f"X-User: a\r\n {CANARY}"]) + good
    yield "NUL in a header", head("POST", path, [length, f"X-User: {CANARY}\0"]) + good
    yield "bytes in a header", head("POST", path, [length]).replace(b"\r\n\r\n", b"\r\nX-User: \xff\xfe\x80\r\n\r\n") + good
    yield "a long X-User", head("POST", path, [length, f"X-User: {CANARY * 100}"]) + good
    yield "one header of 1 MB", head("POST", path, [length, f"X-Big: {CANARY * 70_000}"]) + good
    yield "10,000 headers", head("POST", path, [length, *(f"X-{n}: {CANARY}" for n in range(10_000))]) + good
    yield "a path of 1 MB", head("POST", path + "?" + "a" * (1 << 20), [length]) + good
    yield "expects", head("POST", path, [length, "Expect: 100-continue"]) + good
    yield "expects more", head("POST", path, [length, f"Expect: {CANARY}"]) + good
    yield "upgrades", head("POST", path, [length, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"]) + good
    for scheme in ("Bearer", "Basic", "DeepL-Auth-Key", CANARY):
        yield f"a key by {scheme}", head("POST", path, [length, f"Authorization: {scheme} {CANARY}\u00e9"]) + good


def head(method: str, path: str, lines: Sequence[str]) -> bytes:
    """A request up to its body."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode("latin-1", "replace")
