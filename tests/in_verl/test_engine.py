"""verl's own FSDP2 engine on 1, 2 and 4 processes: rollout-scope statistics, verl's mean and a controller give the same numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from in_verl.cpu_platform import ENVIRONMENT

PID = {"pid": {"signal": "entropy", "target": 4.5, "effect": "raises", "kp": 0.5, "ki": 0.1, "high": 1.0}}
ALL = {"low": -9.0, "high": 9.0}
OBJECTIVE = {
    "advantages": ["grpo"],
    "weights": [{"clip_cov": {"fraction": 0.2, **ALL}}, {"high_entropy": {}}],
    "loss": {"ppo_clip": {}},
    "penalties": [{"kl_cov": {"fraction": 0.2}}, {"entropy_bonus": {"coef": PID}}],
}
MICRO = {**OBJECTIVE, "weights": [{"clip_cov": {"fraction": 0.2, "scope": "micro", **ALL}}]}
LAYOUTS: dict[str, dict[str, Any]] = {
    "one process": {"world": 1, "micro": 8},
    "one process, micro-batches of two": {"world": 1},
    "two processes": {"world": 2},
    "two processes, another order": {"world": 2, "order": [7, 2, 0, 5, 1, 4, 6, 3]},
    "four processes": {"world": 4, "micro": 1},
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What rank 0 says of each run, by its layout."""
    out = tmp_path_factory.mktemp("engine") / "told.json"
    variants = {name: {**layout, "objective": OBJECTIVE} for name, layout in LAYOUTS.items()}
    variants["micro, one process"] = {"objective": MICRO, "micro": 8, "steps": 1}
    variants["micro, two processes"] = {"objective": MICRO, "world": 2, "steps": 1}
    done = subprocess.run(
        [sys.executable, "-m", "in_verl.engine", str(out)],
        cwd=Path(__file__).parents[1],
        env={**os.environ, **ENVIRONMENT, "VARIANT": json.dumps(variants)},
        capture_output=True,
        text=True,
        check=False,
        timeout=1000,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())  # type: ignore[no-any-return]


def test_it_is_verls_engine_and_the_controller_moves(told: dict[str, Any]) -> None:
    alone = told["one process"]
    assert alone["engine"] == "FSDPEngineWithLMHead"
    outputs = [step["control/penalties.entropy_bonus.coef/output"] for step in alone["steps"]]
    assert len(set(outputs)) == 3, outputs
    assert all(step["clip_cov/fraction"] > 0 and step["kl_cov/fraction"] > 0 for step in alone["steps"])
    assert alone["steps"][2]["signal/kl_old"] > 0


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "one process"])
def test_every_layout_gives_the_same_numbers(layout: str, told: dict[str, Any]) -> None:
    found, alone = told[layout], told["one process"]
    assert found["theta"] == pytest.approx(alone["theta"], rel=3e-5)
    for step, wanted in zip(found["steps"], alone["steps"], strict=True):
        assert step == pytest.approx(wanted, rel=2e-4, abs=1e-6, nan_ok=True)


def test_a_scope_of_a_micro_batch_depends_on_the_layout(told: dict[str, Any]) -> None:
    """So that the test above could fail."""
    one, two = (told[f"micro, {processes}"]["steps"][0]["grad_norm"] for processes in ("one process", "two processes"))
    assert two != pytest.approx(one, rel=1e-4)
