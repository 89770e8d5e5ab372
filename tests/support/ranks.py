"""Runs workers on several ranks, and commands that start ranks. Whatever hangs is killed with all its processes.

``run`` forks the ranks from a process that has torch and TRL imported; ``command`` starts a command as a user would.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "recipes" / "accelerate"
QUIET = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}
# Where torch itself would keep what DeepSpeed compiles: with a cache of its own, every test would wait two minutes for it.
QUIET["TORCH_EXTENSIONS_DIR"] = os.environ.get("TORCH_EXTENSIONS_DIR") or str(
    Path.home() / ".cache" / "torch_extensions" / f"py{sys.version_info.major}{sys.version_info.minor}_cpu"
)
ENGINES = {
    "single": "Qwen2ForCausalLM",
    "ddp": "DistributedDataParallel",
    **{f"zero{stage}": f"DeepSpeedEngine, stage {stage}" for stage in (1, 2, 3)},
}
"""What trains under a strategy, as a run's summary says it."""
NUMBERS = itertools.count()
SHOWN = 3000
"""Characters of a log in a failure."""


def run(script: Path, *words: object, world: int = 1, strategy: str | None = None, seconds: float = 240) -> None:
    """``script`` on ``world`` ranks, with the environment of accelerate's file for ``strategy`` where one is named."""
    with tempfile.TemporaryDirectory(prefix="ranks-") as folder:
        config = None if strategy is None else str(CONFIGS / f"{strategy}.yaml")
        job = {"script": str(script), "words": [str(word) for word in words], "config": config, "world": world}
        answer = _ask({**job, "folder": folder, "seconds": seconds})
        if answer["code"] or answer["late"]:
            logs = "\n".join(f"{log.name}:\n{log.read_text()[-SHOWN:]}" for log in sorted(Path(folder).glob("*.log")))
            why = f"were killed after {seconds} s" if answer["late"] else f"ended with {answer['code']}"
            pytest.fail(f"{world} rank(s) of {script.name} {why}\n{answer.get('error', '')}{logs}", pytrace=False)


def replayed(worker: Path, folder: Path, dtype: str, world: int, rows: int, accumulation: int) -> Any:
    """What ``worker`` saves of one generation, on ``world`` ranks, in micro-batches of so many rows."""
    import torch  # with which most commands that start ranks have nothing to do

    out = folder / f"{worker.stem}-{dtype}-{world}-{rows}.pt"
    run(worker, out, dtype, rows, accumulation, world=world)
    return torch.load(out, weights_only=False)


def command(*words: object, seconds: float = 500, **environment: object) -> str:
    """What it prints to stderr. Fails unless it ends well and in time; nothing that it started outlives it."""
    code, err = ended(*words, seconds=seconds, **environment)
    if code != 0:
        pytest.fail(f"{' '.join(map(str, words))}\nended with {code}\n{err[-SHOWN:]}", pytrace=False)
    return err


def ended(*words: object, seconds: float = 500, **environment: object) -> tuple[int | None, str]:
    """Exit code (None: killed after ``seconds``) and stderr."""
    env = {**os.environ, **QUIET, **{key: str(value) for key, value in environment.items()}}
    with tempfile.TemporaryFile("w+") as err:
        # A session of its own: its id is that of the group, which holds launcher, ranks and their workers.
        started = subprocess.Popen(
            [str(word) for word in words], env=env, stdout=subprocess.DEVNULL, stderr=err, start_new_session=True
        )
        code: int | None = None
        try:
            code = started.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()
        err.seek(0)
        return code, err.read()


def entropostat(*words: object, seconds: float = 500, **environment: object) -> str:
    return command(sys.executable, "-m", "entropostat", *words, seconds=seconds, **environment)


def trained_by(run: Path, strategy: str, world: int) -> None:
    """The run in this folder had that engine on so many processes."""
    assert json.loads((run / "run.json").read_text())["world_size"] == world
    assert json.loads((run / "summary.json").read_text())["engine"] == ENGINES[strategy]


def accelerated(words: Sequence[str]) -> tuple[dict[str, str], Any]:
    """The environment and the arguments that `accelerate launch` with these words hands to torch's launcher, which it does not
    reach here; no arguments where it would start one process by itself."""
    import accelerate.commands.launch as accelerate_launch
    import torch.distributed.run

    launches: list[tuple[dict[str, str], Any]] = []
    keep = lambda args: launches.append((dict(os.environ), args))
    alone = lambda args: launches.append((dict(os.environ), None))
    launcher = mock.patch.object(torch.distributed.run, "run", keep)
    with launcher, mock.patch.object(accelerate_launch, "simple_launcher", alone):
        accelerate_launch.launch_command(accelerate_launch.launch_command_parser().parse_args(words))
    return launches[0]


@cache
def _server() -> subprocess.Popen[str]:
    words = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("rank_server.py"))]
    started = subprocess.Popen(
        words, env={**os.environ, **QUIET}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(started.kill)
    return started


def _ask(job: dict[str, object]) -> dict[str, object]:
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    number = next(NUMBERS)
    print(json.dumps({**job, "number": number}), file=server.stdin, flush=True)
    for line in server.stdout:
        answer: dict[str, object] = json.loads(line)
        if answer["number"] == number:  # and not that of a test which gave up waiting
            return answer
    raise RuntimeError("the process that forks the ranks is gone; its last words are above")
