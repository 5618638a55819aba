"""A small HTTP server that serves one file, well or badly, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    content: bytes
    ranges: bool = True
    """Whether it continues files; else it sends them whole, as if nothing had been asked."""
    cut_after: list[int] = field(default_factory=list)
    """Bytes after which the connection is cut, one for each of the first answers."""
    statuses: list[int] = field(default_factory=list)
    """Sent instead of the file, one for each of the first requests."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Each request's target and its Range header."""


@contextlib.contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """Base address of a server that behaves so; as a proxy it answers for every host."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            behaviour.asked.append((self.path, wanted))
            if behaviour.statuses:
                self.send_error(behaviour.statuses.pop(0))
                return
            self._send(wanted if behaviour.ranges else None)

        def _send(self, wanted: str | None) -> None:
            content, start = behaviour.content, 0
            if wanted:
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                last = len(content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            cut = behaviour.cut_after.pop(0) if behaviour.cut_after else None
            self.wfile.write(content[start:] if cut is None else content[start : start + cut])
            if cut is not None:
                self.wfile.flush()
                self.connection.close()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
