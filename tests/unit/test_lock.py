"""One process trains into a run folder; what leads out of it is not followed."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from entropostat import atomic
from entropostat.atomic import sweep, write_whole
from entropostat.lock import LOCK, Busy, Lock
from entropostat.own_files import check_own, open_own

HOLDER = """
import os, sys, time
from pathlib import Path
from entropostat.lock import Lock
lock = Lock()
lock.take(Path(sys.argv[1]))
started, starts = os.pipe()
if os.fork() == 0:
    os.write(starts, b".")  # its copy of the lock is closed by now
    time.sleep(60)
os.read(started, 1)
print(os.getpid(), flush=True)
time.sleep(60)
"""
"""Holds the lock, and has a child that outlives it."""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == str(process.pid)
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_second_process_is_told_which_one_trains_there(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(Busy) as caught, Lock() as lock:
        lock.take(tmp_path)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path}: process {holder.pid} on ") and "wait for its end, or stop it" in line
    assert "\n" not in line


def test_the_lock_ends_with_its_process_though_a_child_lives_on(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    with Lock() as lock:
        lock.take(tmp_path)


def test_a_file_system_without_locks_is_said_and_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with Lock() as lock:
        lock.take(tmp_path)
    assert "its file system has no locks" in capsys.readouterr().err


def planted(kind: str, file: Path, target: Path) -> None:
    target.write_text("precious\n")
    if kind == "symbolic link":
        file.symlink_to(target)
    elif kind == "dangling":
        file.symlink_to(target.with_name("nowhere"))
    elif kind == "pipe":
        os.mkfifo(file)


@pytest.mark.parametrize("kind", ["symbolic link", "dangling", "pipe"])
@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_WRONLY | os.O_APPEND | os.O_CREAT])
def test_only_a_plain_file_is_opened(tmp_path: Path, kind: str, flags: int) -> None:
    file, target = tmp_path / "file", tmp_path / "target"
    planted(kind, file, target)
    named = "pipe" if kind == "pipe" else "symbolic link"
    with pytest.raises(ValueError, match=f"{file} is a {named}, which is not followed"):
        open_own(file, flags)
    assert target.read_text() == "precious\n" and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["metrics.jsonl", "completions.jsonl", "README.md", LOCK, "final", "nonfinite/x.json"])
def test_a_run_folder_that_leads_elsewhere_is_refused_by_name(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "disk").mkdir()
    (run / "checkpoint-3").symlink_to(tmp_path / "disk")  # moved to another disk: it is only read
    check_own(run)
    planted("symbolic link", run / name, tmp_path / "target")
    with pytest.raises(ValueError, match=f"{run / name} is a symbolic link"):
        check_own(run)


def test_a_link_at_the_name_of_a_file_on_its_way_is_not_written_through(tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "target"
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda size: "0" * 2 * size)  # nobody can know it
    planted("symbolic link", tmp_path / f".run.json.{'0' * 16}.new", target)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "run.json", "new")
    assert target.read_text() == "precious\n" and not (tmp_path / "run.json").exists()


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    file, texts = tmp_path / "run.json", [letter * 100_000 for letter in "abcd"]
    write_whole(file, texts[0])
    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(lambda text: [write_whole(file, text) for _ in range(30)], text) for text in texts]
        while not all(one.done() for one in writing):
            assert file.read_text() in texts
        assert all(one.result() for one in writing)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_what_a_kill_left_of_a_file_is_swept_and_a_file_on_its_way_is_not(tmp_path: Path) -> None:
    old, young, other = (
        tmp_path / name for name in (f".a.json.{'0' * 16}.new", f".a.json.{'1' * 16}.new", ".mine.new")
    )
    for file in (old, young, other):
        file.write_text("")
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([young, other])


def test_a_link_at_the_name_of_a_folder_on_its_way_is_removed_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    planted("", tmp_path, tmp_path / "elsewhere" / "target")
    (tmp_path / ".final.partial").symlink_to(tmp_path / "elsewhere")
    sweep(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["elsewhere"] and (tmp_path / "elsewhere" / "target").exists()
