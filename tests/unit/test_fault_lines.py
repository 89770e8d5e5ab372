"""The same fault in every dress that libraries put on it."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from requests.exceptions import ConnectionError as RequestsConnectionError
from safetensors import SafetensorError

from entropostat.environment import FAULT_NOTE
from entropostat.faults import LOST, note_fault, reason
from entropostat.trainers.faults import server_lost


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left for "),
        (OSError(errno.EDQUOT, "Quota exceeded"), "no space left for "),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "no space left"),
        (SafetensorError("Error while serializing: I/O error: (os error 30)"), "Read-only file system; make it writable"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 148672 vs 148564"), "no space left"),
        (caused(ValueError("cannot save"), OSError(errno.ENOSPC, "full")), "no space left"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "cannot write /a/b: Permission denied; "),
        (RuntimeError("[pair.cc:553] Connection closed by peer [127.0.0.1]:11695."), LOST),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of GPU memory: lower "),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
    ],
)  # fmt: skip
def test_a_fault_of_the_surroundings(error: Exception, words: str, tmp_path: Path) -> None:
    line = reason(error, tmp_path / "run" / "of" / "one")
    assert line is not None and words in line and "\n" not in line


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), TypeError("a bug"), KeyError("name")])
def test_a_bug_is_none(error: Exception, tmp_path: Path) -> None:
    assert reason(error, tmp_path) is None


def test_a_server_that_stops_is_told_from_any_other_connection() -> None:
    config = SimpleNamespace(
        use_vllm=True, vllm_mode="server", vllm_server_base_url=None, vllm_server_host="10.0.0.7", vllm_server_port=8000
    )
    line = server_lost(RequestsConnectionError("HTTPConnectionPool: Max retries exceeded"), config)
    assert line is not None and "http://10.0.0.7:8000 (trainer.vllm_server_host and _port) no longer answers" in line
    assert server_lost(RuntimeError("other"), config) is None
    config.use_vllm = False
    assert server_lost(RequestsConnectionError("wandb"), config) is None


def test_the_first_process_that_says_why_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FAULT_NOTE, str(tmp_path / "note"))
    for text in (f"run: {LOST}. No checkpoint was saved", "run: the disk", "run: another"):
        note_fault(text)
    assert (tmp_path / "note").read_text() == "run: the disk"
