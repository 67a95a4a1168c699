"""A judge that keeps what it is sent, for the tests to look at."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from json import loads
from typing import Any


class Judge:
    """Where the sampled pairs go: a server that keeps what it is sent."""

    def __init__(self) -> None:
        self.pairs: list[dict[str, Any]] = []
        judge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                judge.pairs += loads(self.rfile.read(int(self.headers["Content-Length"])))["pairs"]
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/pairs"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
