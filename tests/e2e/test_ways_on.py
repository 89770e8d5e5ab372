"""The command that a run ends with goes on with that run, and a run that another process trains is left alone."""

from __future__ import annotations

import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.at_step import at_step

from entropostat import manifest
from entropostat.__main__ import main
from entropostat.environment import STOP_FILE
from entropostat.lock import Lock
from entropostat.readers.run_folder import Run
from entropostat.trainers import run

PLAIN = "entropostat:quickstart/plain.yaml"
SHORT = [
    "model.build={steps: 5}",
    "data.curriculum=[{source: easy, steps: 8}]",
    "trainer={per_device_train_batch_size: 8, save_strategy: steps, save_steps: 2}",
    "evaluate={every: 0, prompts: 0, reference: false}",
    "output_dir=it's here",
]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, cache: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands name the run by its path from here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "it's here" / "quickstart-plain"


def sealed(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / manifest.STATE).write_text("{}")
    manifest.seal(folder, world_size=1, engine="torch")


def by_signal(patch: pytest.MonkeyPatch) -> None:
    at_step(3, lambda: os.kill(os.getpid(), signal.SIGINT), patch)


def by_batch_system(patch: pytest.MonkeyPatch) -> None:
    patch.setenv(STOP_FILE, "stop")
    at_step(3, Path("stop").touch, patch)


def by_full_disk(patch: pytest.MonkeyPatch) -> None:
    bounds = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    at_step(3, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, bounds[1])), patch)
    finish = run.run_locked

    def restored(*args: Any) -> int:
        try:
            return finish(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, bounds)
            signal.signal(signal.SIGXFSZ, before)

    patch.setattr(run, "run_locked", restored)


@pytest.mark.parametrize(("end", "code", "step"), [(by_signal, 130, 3), (by_batch_system, 0, 3), (by_full_disk, 1, 2)])
def test_the_command_that_a_run_ends_with_goes_on_with_it(
    place: Path, end: Any, code: int, step: int, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = place.with_name("quickstart-plain-7") / "checkpoint-90"  # `last` would be this one
    with monkeypatch.context() as patch:
        end(patch)
        assert main(["train", PLAIN, *SHORT, "--resume", "auto"]) == code
    sealed(other)
    line = capfd.readouterr().err.strip().splitlines()[-1]
    match = re.search(r"go on with: (entropostat .*)$", line)
    assert match is not None, line
    words = shlex.split(match[1])
    relative = Path("it's here") / "quickstart-plain" / f"checkpoint-{step}"
    assert words == ["entropostat", "train", PLAIN, *SHORT, "--resume", str(relative)]
    assert main(words[1:]) == 0
    steps = [row["step"] for row in Run.read(place).rows if "loss" in row]
    assert steps == list(range(1, 9)) and (place / "final").is_dir()


def test_two_processes_that_go_on_with_one_run(place: Path, capfd: Any) -> None:
    assert main(["train", PLAIN, *SHORT]) == 0
    before = {file.name: file.read_bytes() for file in place.iterdir() if file.is_file()}
    holding = "import sys; from pathlib import Path; from entropostat.lock import Lock; lock = Lock(); "
    holding += "lock.take(Path(sys.argv[1])); print(1, flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", holding, str(place)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "1\n"
        capfd.readouterr()
        assert main(["train", PLAIN, *SHORT, "--resume", "auto"]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert f"process {holder.pid} on " in line and "is training into it" in line
        holder.communicate("")
    after = {file.name: file.read_bytes() for file in place.iterdir() if file.is_file()}
    assert {**after, "run.lock": b""} == {**before, "run.lock": b""}


@pytest.mark.parametrize("name", ["metrics.jsonl", "completions.jsonl", "histograms.jsonl", "run.lock"])
def test_a_link_in_the_run_folder_ends_a_resume_in_one_line(place: Path, name: str, capfd: Any) -> None:
    place.mkdir(parents=True)
    target = place.parent / "precious"
    target.write_text("precious\n")
    (place / name).symlink_to(target)
    sealed(place / "checkpoint-2")
    assert main(["train", PLAIN, *SHORT, "--resume", "last"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert f"{name} is a symbolic link, which is not followed" in line
    assert target.read_text() == "precious\n"


def test_the_lock_is_free_when_a_run_has_ended(place: Path) -> None:
    place.mkdir(parents=True)
    with pytest.raises(KeyError), Lock() as lock:
        lock.take(place)
        raise KeyError
    with Lock() as lock:
        lock.take(place)
        lock.release()
        lock.take(place)
