"""`report --watch`: the report on loopback, following runs as they grow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
GROWING = ("metrics.jsonl", "completions.jsonl", "histograms.jsonl", "run.json")


class Source:
    """The data of some paths, made anew when one of their files has changed."""

    def __init__(self, paths: list[Path], build: Callable[[], str]) -> None:
        self.paths, self.build = paths, build
        self._lock = threading.Lock()
        self._version, self._data = "", ""

    def version(self) -> str:
        """Changes with the size or time of any file."""
        return "-".join(f"{stat.st_size:x}.{stat.st_mtime_ns:x}" for stat in self._stats())

    def _stats(self) -> list[Any]:
        files = [path / name for path in self.paths if path.is_dir() for name in GROWING]
        # sqlite writes beside its database first, wandb into the file itself.
        files += [Path(f"{path}{end}") for path in self.paths if not path.is_dir() for end in ("", "-wal")]
        files += [record for path in self.paths if path.is_dir() for record in sorted(path.glob("run-*.wandb"))]
        return [file.stat() for file in files if file.exists()]

    def data(self) -> tuple[str, str]:
        """(version, JSON). Raises what ``build`` raises."""
        with self._lock:
            version = self.version()
            if version != self._version:
                self._data = self.build()
                self._version = version
            return self._version, self._data


def server(source: Source, page: Callable[[str], str], port: int) -> ThreadingHTTPServer:
    """Bound, not yet serving. ``port`` 0: a free one. Raises OSError where it is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # A page of another site may have its name point here (DNS rebinding); it would send that name.
            if self.headers.get("Host", "") not in (f"{HOST}:{made.server_port}", f"localhost:{made.server_port}"):
                return self._send(403, "text/plain", "only for 127.0.0.1\n")
            if self.path not in ("/", "/data.json"):
                return self._send(404, "text/plain", "not here\n")
            if self.path == "/data.json" and self.headers.get("If-None-Match") == source.version():
                return self._send(304, "application/json", "")
            try:
                version, data = source.data()
            except (OSError, ValueError) as error:
                return self._send(503, "text/plain", f"{error}\n")
            if self.path == "/":
                return self._send(200, "text/html", page(data))
            return self._send(200, "application/json", data, version)

        def _send(self, status: int, kind: str, text: str, tag: str = "") -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            if tag:
                self.send_header("ETag", tag)
            self.end_headers()
            if status != 304:
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet: the page asks every few seconds."""

    made = ThreadingHTTPServer((HOST, port), Handler)
    made.daemon_threads = True
    return made
