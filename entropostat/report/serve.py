"""`report --watch`: the report on loopback, following runs as they grow."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from entropostat.visible import complain

HOST = "127.0.0.1"
THREADS = 32
"""Connections at a time. A browser opens six."""
IDLE, LONGEST = 10.0, 60.0
"""Seconds without a byte, and of a connection in all."""
BUSY = b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n"
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


class Bounded(ThreadingHTTPServer):
    """A thread for each connection, so many at most, and none of them for ever."""

    daemon_threads = True
    request_queue_size = THREADS

    def __init__(self, *args: Any) -> None:
        self._open: dict[Any, float] = {}
        """Connections, and when each began."""
        self._lock = threading.Lock()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._open) >= THREADS
            if not full:
                self._open[request] = time.monotonic()
        if full:
            with contextlib.suppress(OSError):
                request.send(BUSY)
            return self.shutdown_request(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Ends what drips on: every byte of a slow client begins its idle time anew."""
        with self._lock:
            late = [request for request, begun in self._open.items() if time.monotonic() - begun > LONGEST]
        for request in late:
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no fault."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            complain("report", f"a request failed: {type(error).__name__}: {error}")


def server(source: Source, page: Callable[[str], str], port: int) -> ThreadingHTTPServer:
    """Bound, not yet serving. ``port`` 0: a free one. Raises OSError where it is taken."""

    class Handler(BaseHTTPRequestHandler):
        timeout = IDLE

        def do_GET(self) -> None:
            # A page of another site may have its name point here (DNS rebinding); it would send that name.
            if self.headers.get("Host", "") not in (f"{HOST}:{made.server_port}", f"localhost:{made.server_port}"):
                return self._send(403, "text/plain", "only for 127.0.0.1\n")
            if self.path not in ("/", "/data.json"):
                return self._send(404, "text/plain", "not here\n")
            try:
                if self.path == "/data.json" and self.headers.get("If-None-Match") == source.version():
                    return self._send(304, "application/json", "")
                version, data = source.data()
            except (OSError, ValueError) as error:
                return self._send(503, "text/plain", f"{error}\n")
            if self.path == "/":
                return self._send(200, "text/html", page(data))
            return self._send(200, "application/json", data, version)

        def _send(self, status: int, kind: str, text: str, tag: str = "") -> None:
            body = text.encode("utf-8", "backslashreplace")
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

    made = Bounded((HOST, port), Handler)
    return made
