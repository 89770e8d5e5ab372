"""verl's own FSDP2 engine on 1, 2 and 4 processes: rollout-scope statistics, verl's mean and a controller give the same numbers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from in_verl.cpu_platform import ENVIRONMENT

PID = {"pid": {"signal": "entropy", "target": 4.0, "effect": "raises", "kp": 0.5, "ki": 0.1, "high": 1.0}}
ALL = {"low": -9.0, "high": 9.0}
OBJECTIVE = {
    "advantages": ["grpo"],
    "weights": [{"clip_cov": {"fraction": 0.2, **ALL}}, {"high_entropy": {}}],
    "loss": {"ppo_clip": {}},
    "penalties": [{"kl_cov": {"fraction": 0.2}}, {"entropy_bonus": {"coef": PID}}],
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "one process": {"world": 1, "micro": 8},
    "one process, micro-batches of two": {"world": 1},
    "two processes": {"world": 2},
    "two processes, another order": {"world": 2, "order": [7, 2, 0, 5, 1, 4, 6, 3]},
    "four processes": {"world": 4, "micro": 1},
}


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def train(folder: Path, world: int = 1, objective: Any = OBJECTIVE, **variant: Any) -> dict[str, Any]:
    """What rank 0 says of the run."""
    out, port = folder / f"{world}.json", str(free_port())
    tests = Path(__file__).parents[1]
    fixed = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **ENVIRONMENT}
    told = {"VARIANT": json.dumps({**variant, "objective": objective})}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "in_verl.engine", str(out)],
            cwd=tests,
            env={**os.environ, **fixed, **told, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    for rank in ranks:
        _, errors = rank.communicate(timeout=500)
        assert rank.returncode == 0, errors[-3000:]
    return json.loads(out.read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return train(tmp_path_factory.mktemp("alone"), **LAYOUTS["one process"])


def test_it_is_verls_engine_and_the_controller_moves(alone: dict[str, Any]) -> None:
    assert alone["engine"] == "FSDPEngineWithLMHead"
    outputs = [step["control/penalties.entropy_bonus.coef/output"] for step in alone["steps"]]
    assert len(set(outputs)) == 3, outputs
    assert all(step["clip_cov/fraction"] > 0 and step["kl_cov/fraction"] > 0 for step in alone["steps"])


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "one process"])
def test_every_layout_gives_the_same_numbers(layout: str, alone: dict[str, Any], tmp_path: Path) -> None:
    found = train(tmp_path, **LAYOUTS[layout])
    assert found["theta"] == pytest.approx(alone["theta"], rel=1e-5)
    for step, wanted in zip(found["steps"], alone["steps"], strict=True):
        assert step == pytest.approx(wanted, rel=2e-4, abs=1e-6, nan_ok=True)


def test_a_scope_of_a_micro_batch_depends_on_the_layout(alone: dict[str, Any], tmp_path: Path) -> None:
    """So that the test above could fail."""
    micro = {**OBJECTIVE, "weights": [{"clip_cov": {"fraction": 0.2, "scope": "micro", **ALL}}]}
    one = train(tmp_path, objective=micro, world=1, micro=8, steps=1)
    two = train(tmp_path, objective=micro, world=2, steps=1)
    assert two["steps"][0]["grad_norm"] != pytest.approx(one["steps"][0]["grad_norm"], rel=1e-3)
