"""What is checked of a run's surroundings before it starts, and what is said when they break later."""

from __future__ import annotations

import contextlib
import os
import pickle
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from requests.exceptions import ConnectionError as RequestsConnectionError

from entropostat import checkpoints
from entropostat.environment import EXPECTED
from entropostat.faults import RunFault, reason
from entropostat.recipe.arithmetic import visible_gpus
from entropostat.trainers.records.progress import Progress

AGAIN = 2.0
"""Seconds between two knocks at the vLLM server."""


@contextlib.contextmanager
def faults_in_one_line(trainer: Any, command: str) -> Iterator[None]:
    """Inside, what breaks outside of the code becomes a RunFault: what, the last checkpoint, and the command that goes on.

    Any other exception passes as it is. ``ENTROPOSTAT_TRACEBACK=1`` lets all of them pass.
    """
    folder = Path(trainer.args.output_dir)
    try:
        yield
    except Exception as error:
        text = str(error) if isinstance(error, RunFault) else server_lost(error, trainer.args) or reason(error, folder)
        if text is None or os.environ.get("ENTROPOSTAT_TRACEBACK"):
            raise
        at = "" if text.startswith("step ") else f"after step {trainer.state.global_step}: "
        unread = isinstance(error, pickle.UnpicklingError)  # and no way on to name: it came from the newest checkpoint
        raise RunFault(
            f"{folder.name}: {text}" if unread else f"{folder.name}: {at}{text}. {way_on(folder, command)}"
        ) from error
    finally:
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, Progress):
                callback.close()


def way_on(folder: Path, command: str) -> str:
    """What is left of the run, and ``command`` again from there, with its overrides. Whole by its list of files: to read them
    all would keep a large job from ending.
    """
    last, _ = checkpoints.whole(folder, deep=False)
    if last is None:
        return "No checkpoint was saved"
    words = shlex.split(command)
    if "--resume" in words:
        at = words.index("--resume")
        words[at : at + 2] = []
    if len(words) > 1 and EXPECTED in os.environ:
        words[1] = "launch"
    return f"Intact: {last}; go on with: {shlex.join([*words, '--resume', str(last)])}"


def check_world(running: int) -> None:
    """`accelerate launch --cpu --num_processes 2` quietly runs one process: the launcher says how many it meant."""
    expected = os.environ.get(EXPECTED)
    if expected and int(expected) != running:
        raise RuntimeError(f"the launcher asked for {expected} processes, but {running} run: check launch.strategy")


def check_devices() -> None:
    """Raises RuntimeError where the machine shows GPUs that torch cannot use: the run would be a CPU's."""
    gpus = visible_gpus()
    if not gpus or torch.cuda.is_available():
        return
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    who = "nvidia-smi lists" if listed is None else f"CUDA_VISIBLE_DEVICES={listed} names"
    why = "this torch is built for CPUs only" if torch.version.cuda is None else "torch finds no working driver"
    raise RuntimeError(
        f"{who} {gpus} GPU{'s' if gpus > 1 else ''}, and torch sees none: {why}; install a torch that fits, or set "
        "CUDA_VISIBLE_DEVICES= to train on the CPU"
    )


def check_vllm_server(config: Any) -> None:
    """Waits for the vLLM server as long as TRL would, before anything is loaded. Raises ConnectionError without one."""
    if not config.use_vllm or config.vllm_mode != "server" or config.process_index:
        return
    address, deadline = server(config), time.monotonic() + config.vllm_server_timeout
    while True:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=max(AGAIN, 10.0)):
                return
        except (OSError, ValueError) as error:
            if time.monotonic() + AGAIN > deadline:
                why = getattr(error, "reason", error)
                raise ConnectionError(
                    f"no vLLM server answers at {address} ({server_key(config)}) within trainer.vllm_server_timeout, "
                    f"{config.vllm_server_timeout:g} s: {why}; start one with `vllm serve`, or correct the address"
                ) from error
        time.sleep(AGAIN)


def server_lost(error: BaseException, config: Any) -> str | None:
    """The line for a server that stopped answering in the middle of a run."""
    if not config.use_vllm or config.vllm_mode != "server" or not isinstance(error, RequestsConnectionError):
        return None
    return f"the vLLM server at {server(config)} ({server_key(config)}) no longer answers; its own log says why"


def server(config: Any) -> str:
    return str(config.vllm_server_base_url or f"http://{config.vllm_server_host}:{config.vllm_server_port}").rstrip("/")


def server_key(config: Any) -> str:
    return "trainer.vllm_server_base_url" if config.vllm_server_base_url else "trainer.vllm_server_host and _port"
