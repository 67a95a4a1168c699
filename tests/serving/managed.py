"""A managed model on loopback that speaks the three protocols; its answers are the inputs in capitals."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Managed:
    """The server. `asked` holds (path, Authorization, body) of each call; `status` and `broken` spoil the answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, dict[str, Any]]] = []
        self.status, self.broken, self.counts = 200, b"", True
        self.free = threading.Event()  # answers wait for it
        self.free.set()
        managed = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                managed.asked.append((self.path, self.headers.get("Authorization"), body))
                managed.free.wait(10)
                content = managed.broken or json.dumps(managed.answer(self.path, body)).encode()
                self.send_response(managed.status)
                if managed.status in (301, 307):
                    self.send_header("Location", f"{managed.url}/elsewhere")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/translate":
            return {"translatedText": [text.upper() for text in body["q"]]}
        if path == "/v1/generate":
            fields = {
                "source_tokens": 5,
                "target_tokens": 7,
                "truncated": False,
                "version": "3",
                "cached": True,
                "flags": ["x"],
            }
            return {"model": "m", "version": "3", "outputs": [{"text": text.upper(), **fields} for text in body["inputs"]]}
        text = body["messages"][0]["content"].upper()
        usage = {"usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}} if self.counts else {}
        return {
            "id": "1",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            **usage,
        }

    def close(self) -> None:
        self.free.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def managed() -> Iterator[Managed]:
    running = Managed()
    try:
        yield running
    finally:
        running.close()
