"""A server of one file that does what mirrors do: redirects, resumes, cuts, refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from urllib3.util import Retry

from harness import download

PIECE = 1024


@dataclass
class Mirror:
    """What the server does, and what it was asked for.

    Attributes:
        cut: bytes after which it closes the connection, once for each entry.
        ranges: the header `Range` of every request, None where there was none.
    """

    body: bytes
    url: str = ""
    status: int = 200
    resumes: bool = True
    cut: list[int] = field(default_factory=list)
    digest: str = ""
    ranges: list[str | None] = field(default_factory=list)


@contextmanager
def serving(mirror: Mirror) -> Iterator[Mirror]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/genres.tar.gz":
                # As Hugging Face does: what is known of the file stands in the answer that leads to it.
                self.send_response(302)
                self.send_header("Location", "/storage")
                if mirror.digest:
                    self.send_header("X-Linked-ETag", f'"{mirror.digest}"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            asked = self.headers.get("Range")
            mirror.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and mirror.resumes else 0
            if mirror.status != 200:
                self.send_error(mirror.status)
                return
            if start and start >= len(mirror.body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(mirror.body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(mirror.body) - start))
            self.end_headers()
            end = start + mirror.cut.pop(0) if mirror.cut else len(mirror.body)
            self.wfile.write(mirror.body[start:end])
            self.close_connection = True

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        mirror.url = f"http://127.0.0.1:{server.server_port}/genres.tar.gz"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield mirror
        finally:
            server.shutdown()
            thread.join()


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let downloads try again once, at once, and lose little of what was cut."""
    monkeypatch.setattr(download, "RETRIES", Retry(1, backoff_factor=0, status_forcelist=(503,), raise_on_status=False))
    monkeypatch.setattr(download, "_PIECE", PIECE)
