"""Server mode against a real `vllm serve` on a CPU: everything but the transfer of weights, for which vLLM has NCCL alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import tiny
from support.log_history import logged
from support.processes import alive
from trl.generation.vllm_client import VLLMClient
from vllm_engine.shared import LENGTH

from benchmarks.cpu_engine import QUIET
from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.slurm.job import server
from entropostat.trainers.faults import check_vllm_server

PLAIN = str(RECIPES / "quickstart" / "plain.yaml")
SERVER = ["trainer.use_vllm=true", "trainer.vllm_mode=server", f"trainer.vllm_max_model_length={LENGTH}"]

STARTED = 500.0
"""Seconds that the server may take."""


@pytest.fixture(scope="module")
def address(path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server that is started with the words that a job starts it with."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    _, _, _, *asked = server(load(PLAIN, ["model.build=null", f"model.path={path}", *SERVER]), "python")
    words = [sys.executable, str(Path(__file__).with_name("serve.py")), *asked]
    words += ["--host", "127.0.0.1", "--port", str(port), "--enforce-eager", "--max-num-seqs", "16"]
    environment = {**os.environ, **QUIET, "VLLM_SERVER_DEV_MODE": "1"}
    with log.open("w") as out:
        started = subprocess.Popen(words, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        wait(f"http://127.0.0.1:{port}/health", started.pid, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(started.pid, signal.SIGTERM)
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def wait(url: str, pid: int, log: Path) -> None:
    end = time.monotonic() + STARTED
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert alive(pid), f"the server ended\n{log.read_text()[-3000:]}"
            time.sleep(1)
    pytest.fail(f"no server after {STARTED:g} s\n{log.read_text()[-3000:]}")


@pytest.fixture
def without_transfer(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Neither the group that carries the weights nor a send over it. How many tensors would have been sent."""
    sent: list[int] = []
    monkeypatch.setattr(VLLMClient, "init_communicator", lambda self, device: None)
    monkeypatch.setattr(
        VLLMClient, "update_named_params", lambda self, metadata, params: sent.append(len(list(params)))
    )
    return sent


SERVED: dict[str, Any] = {
    "use_vllm": True, "vllm_mode": "server", "steps_per_generation": 1, "per_device_train_batch_size": 8, "max_steps": 3
}  # fmt: skip


def test_the_server_draws_what_the_trainer_asks_for(address: str, path: str, without_transfer: list[int]) -> None:
    config = tiny.config(**SERVED, vllm_server_base_url=address)
    check_vllm_server(config)
    trainer = tiny.ours(path, **SERVED, vllm_server_base_url=address, generation_kwargs={"stop_token_ids": [7]})
    drawn, generate = [], trainer.vllm_generation.generate
    trainer.vllm_generation.generate = lambda **k: drawn.append(generate(**k)) or drawn[-1]
    trainer.train()
    gaps = logged(trainer, "sampling/sampling_logp_difference/mean")
    assert gaps[0] < 0.01 < gaps[-1], "the weights of its folder, and then stale: none were sent"
    assert len(without_transfer) == 3 and min(without_transfer) == sum(1 for _ in trainer.model.parameters())
    rows = [ids for _, completions, *_ in drawn for ids in completions]
    assert len(rows) == 24 and all(1 <= len(ids) <= 8 for ids in rows)
    assert any(ids[-1] == 7 for ids in rows) and not any(7 in ids[:-1] for ids in rows)


def test_without_cuda_trl_refuses_the_transfer_itself(address: str, path: str) -> None:
    """What server mode cannot be tested for here."""
    with pytest.raises(NotImplementedError, match="NCCL weight-transfer engine, which needs a CUDA device"):
        tiny.ours(path, **SERVED, vllm_server_base_url=address)
