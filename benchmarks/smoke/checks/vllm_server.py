"""Sampling by a server of vLLM on the last GPU, while the others train. Started with the options of the batch script."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request

from benchmarks.smoke.row import Place, Seen, Skipped
from benchmarks.smoke.sampler import VLLM, in_step, needs_vllm
from benchmarks.smoke.training import RECIPE, launched, overrides, train
from entropostat.recipe import load
from entropostat.slurm.job import server

PATIENCE = 90.0
"""Seconds in which the server has to answer."""


def check(place: Place) -> Seen:
    needs_vllm(place)
    if place.gpus < 2:
        raise Skipped(f"needs 2 GPUs, one for the server, and there is {place.gpus}")
    *training, serving = cards(place.gpus)
    model = f"model={{path: {policy(place)}, dtype: bfloat16}}"
    port, group = free_port(), free_port()
    serve = [
        *server(load(str(RECIPE), overrides(place, *VLLM, "model.build=null", model)), sys.executable),
        "--port",
        str(port),
    ]
    serve += ["--gpu-memory-utilization", "0.5"]
    env = {**os.environ, "VLLM_SERVER_DEV_MODE": "1", "CUDA_VISIBLE_DEVICES": serving}
    started = subprocess.Popen(serve, env=env)
    try:
        wait(port, started)
        strategy = "single" if len(training) == 1 else "ddp"
        trained = train(
            place, *VLLM, "model.build=null", model, launched(strategy, len(training)), "trainer.vllm_mode=server",
            f"trainer.vllm_server_port={port}", f"trainer.vllm_group_port={group}",
            env={"CUDA_VISIBLE_DEVICES": ",".join(training)},
        )  # fmt: skip
    finally:
        started.terminate()
    return in_step(trained, place, len(training))


def policy(place: Place) -> str:
    """Folder of the policy that the recipe builds: the server opens what training begins with."""
    from entropostat.trainers.build.policy import find_model

    return find_model(load(str(RECIPE), overrides(place)))


def cards(gpus: int) -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them, which may be by UUID."""
    listed = [card.strip() for card in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if card.strip()]
    return listed or [str(i) for i in range(gpus)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait(port: int, started: subprocess.Popen[bytes], patience: float = PATIENCE) -> None:
    """Until the server answers. Raises RuntimeError where it ends, or is late."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if started.poll() is not None:
            raise RuntimeError(f"vLLM's server ended with {started.returncode} before it answered")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(min(0.5, patience / 10))
    raise RuntimeError(f"vLLM's server did not answer within {patience:g} s")
