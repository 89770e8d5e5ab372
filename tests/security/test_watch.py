"""`report --watch` and clients that wait, drip, crowd in or leave."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.synthetic_runs import write_run

from entropostat.report import serve
from entropostat.report.serve import HOST, Source, server


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(serve, "THREADS", 4)
    monkeypatch.setattr(serve, "IDLE", 1.0)
    monkeypatch.setattr(serve, "LONGEST", 4.0)
    folder = write_run(tmp_path / "run", steps=4)
    with server(Source([folder], lambda: "x" * 30_000_000), lambda data: data, 0) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield made.server_port
        made.shutdown()
        thread.join()


def connected(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=10)


def status(port: int, path: str = "/none") -> bytes:
    with connected(port) as client:
        client.sendall(f"GET {path} HTTP/1.0\r\nHost: {HOST}:{port}\r\n\r\n".encode())
        return client.recv(100).split(b"\r\n")[0]


def test_an_idle_client_and_one_that_drips_are_let_go(port: int) -> None:
    begun = time.monotonic()
    with connected(port) as idle, connected(port) as slow:
        drip = threading.Thread(target=dripping, args=(slow,))
        drip.start()
        assert idle.recv(1) == b"" and 0.5 < time.monotonic() - begun < 3
        drip.join()
        assert time.monotonic() - begun < 9


def dripping(client: socket.socket) -> None:
    """A byte of an endless request, well within the idle time of the last, until the server has had enough."""
    client.settimeout(0.1)
    for _ in range(200):
        try:
            client.sendall(b"G")
            if client.recv(1) == b"":
                return
        except TimeoutError:
            continue
        except OSError:
            return
    raise AssertionError("never let go")


def test_a_crowd_does_not_become_threads_and_goes_away_again(port: int) -> None:
    before = threading.active_count()
    crowd = [connected(port) for _ in range(9)]
    time.sleep(0.2)
    assert threading.active_count() <= before + 4
    assert status(port) == b"HTTP/1.0 503 Service Unavailable"
    deadline = time.monotonic() + 10
    while status(port) != b"HTTP/1.0 404 Not Found":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for client in crowd:
        client.close()


def test_a_client_that_leaves_and_one_that_talks_nonsense_cost_no_word(
    port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    for words in (
        b"GET /data.json HTTP/1.0\r\nHost: 127.0.0.1:%d\r\n\r\n" % port,
        b"\0\xff\r\n\r\n",
        b"GET / HTTP/9.x\r\n\r\n",
    ):
        client = connected(port)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leave by a reset
        client.sendall(words)
        client.close()
    time.sleep(1.2)
    assert status(port) == b"HTTP/1.0 404 Not Found"
    assert capfd.readouterr() == ("", "")


def test_data_that_cannot_be_made_are_an_answer(tmp_path: Path) -> None:
    def broken() -> str:
        raise ValueError("\x1b[31mno run \ud800")

    with server(Source([write_run(tmp_path / "run", steps=4)], broken), lambda data: data, 0) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        assert status(made.server_port, "/data.json") == b"HTTP/1.0 503 Service Unavailable"
        made.shutdown()
        thread.join()
