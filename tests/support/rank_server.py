"""Forks the ranks of one job after another: torch, TRL and DeepSpeed are imported once, and not by every rank of every job.

Reads a job as a line of JSON from stdin, and answers with a line: {"code", "late"}. What a rank prints goes to a file.

    {"script", "words", "config" (accelerate's file, or null), "world", "folder" (of the logs), "seconds"}
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import runpy
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["DS_ACCELERATOR"] = "cpu"  # read when DeepSpeed is imported

from accelerate.state import PartialState

from support import tiny  # noqa: F401  with it torch, TRL and the trainers
from support.ranks import accelerated

# Its all-reduce for ranks on one machine is compiled for two minutes when it is first used. gloo adds up the same numbers;
# the slow tests, which go through `entropostat launch`, take the compiled one.
with contextlib.suppress(ImportError):  # DeepSpeed is for Linux
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


PR_SET_PDEATHSIG = 1
"""Of prctl: a rank dies with the process that would end it."""


def serve(job: dict[str, Any]) -> dict[str, Any]:
    """Runs to the end of all ranks, of the first that fails, or of the job's time. Then none of its processes is left."""
    world = job["world"]
    words = ["--config_file", job["config"], "--num_processes", str(world), "--main_process_port", "0", "script.py"]
    environment = accelerated(words)[0] if job["config"] else dict(os.environ)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    group, running = 0, set()
    for rank in range(world):
        ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
        added = {"MASTER_ADDR": "127.0.0.1", **{k: str(v) for k, v in ranks.items()}} if world > 1 else {}
        pid = os.fork()
        if pid == 0:
            _rank(job, rank, {**environment, **added}, group)
        group = group or pid
        with contextlib.suppress(OSError):  # the child does it as well; who comes first is open
            os.setpgid(pid, group)
        running.add(pid)
    end, code = time.monotonic() + job["seconds"], 0
    while running and not code and time.monotonic() < end:
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                running.discard(pid)
                code = code or os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    late = bool(running) and not code
    with contextlib.suppress(ProcessLookupError):  # what ranks started, too
        os.killpg(group, signal.SIGKILL)
    for pid in running:
        os.waitpid(pid, 0)
    return {"code": code, "late": late}


def _rank(job: dict[str, Any], rank: int, environment: dict[str, str], group: int) -> None:
    """The child: becomes the script. Never returns."""
    code = 1
    try:
        os.setpgid(0, group)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with (Path(job["folder"]) / f"rank{rank}.log").open("w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = [job["script"], *job["words"]]
        sys.path.insert(0, str(Path(job["script"]).parent))
        runpy.run_path(job["script"], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  an interrupt, too: the child may not return
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    assert not PartialState._shared_state, "an import has already asked what kind of process this is"
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what accelerate prints is no answer
    for line in sys.stdin:
        try:
            answer = serve(json.loads(line))
        except Exception:  # noqa: BLE001  the job fails, and the next one is served
            answer = {"code": 1, "late": False, "error": traceback.format_exc()}
        print(json.dumps({**answer, "number": json.loads(line)["number"]}), file=answers, flush=True)
