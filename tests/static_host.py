"""A plain file server for tests, as static hosts are: index.html of folders, 404.html, ranges. It knows no page."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class StaticHost:
    """A host of a folder; `requests` are (path, bytes sent) of all since it was last emptied."""

    url: str
    ranges: bool
    requests: list[tuple[str, int]] = field(default_factory=list)


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    host: StaticHost
    prefix: str

    def translate_path(self, path):
        inside = path.startswith(f"{self.prefix}/")
        return super().translate_path(path[len(self.prefix) :] if inside else "/of-somebody-else")

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except ConnectionResetError:  # a browser that closes while it is answered
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass

    def send_head(self):
        path = Path(self.translate_path(self.path))
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not (wanted and self.host.ranges and path.is_file()):
            return super().send_head()
        first, end, size = int(wanted[1]), int(wanted[2]) + 1, path.stat().st_size
        end = min(end, size)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - first))
        self.end_headers()
        file = path.open("rb")
        file.seek(first)
        self.left = end - first
        return file

    def copyfile(self, source, outputfile):
        left = self.__dict__.pop("left", None)
        content = source.read() if left is None else source.read(left)
        self.host.requests.append((self.path, len(content)))
        try:
            outputfile.write(content)
        except OSError:  # a reader that does not want the whole hangs up
            self.close_connection = True

    def send_error(self, code, message=None, explain=None):
        content = (Path(self.directory) / "404.html").read_bytes()
        self.host.requests.append((self.path, len(content)))
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def static_host(folder: Path, prefix: str = "", *, ranges: bool = True) -> Iterator[StaticHost]:
    """Serve a folder on this machine, at a path if one is named; without `ranges` a request for a part gets the whole
    file."""
    host = StaticHost("", ranges)
    handler = type("Handler", (_Handler,), {"host": host, "prefix": prefix})
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: handler(*a, directory=os.fspath(folder)))
    host.url = f"http://127.0.0.1:{server.server_port}{prefix}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
