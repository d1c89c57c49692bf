"""A small web server on loopback that answers as a test wants it to, and counts what it was asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """What the server says to one path."""

    body: bytes = b""
    status: int = 200
    length: int | None = None
    """The Content-Length it claims, where that is not the body's."""
    location: str | None = None
    stalls: bool = False
    """Whether it keeps the connection open after the body without an end."""


@dataclass
class WebServer:
    """A running server."""

    url: str
    answers: dict[str, Answer]
    asked: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(answers: dict[str, Answer]) -> Iterator[WebServer]:
    """Serve these paths until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            answer = answers.get(self.path.partition("?")[0], Answer(b"not here", 404))
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
            if answer.location is not None:
                self.send_header("Location", answer.location)
            self.end_headers()
            self.wfile.write(answer.body)
            self.wfile.flush()
            if answer.stalls:
                found.done.wait()
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = WebServer(f"http://127.0.0.1:{server.server_address[1]}", answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        found.done.set()
        server.shutdown()
        server.server_close()
        thread.join()
