"""The same recipe under TRL and under verl, on the same completions: equal gradients, on the policy and off it, to float32."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from in_verl.cpu_platform import ENVIRONMENT

GRPO = ["grpo"]
VARIANTS: dict[str, dict[str, Any]] = {
    "trl, token mean": {"advantages": GRPO, "loss": "trl"},
    "trl, mean per sequence": {"advantages": GRPO, "loss": {"trl": {"type": "grpo", "epsilon_high": 0.28}}},
    "trl, divided by a constant": {"advantages": GRPO, "loss": {"trl": {"type": "dr_grpo"}}},
    "trl, two-sided clip": {"advantages": GRPO, "loss": {"trl": {"delta": 1.02, "epsilon": 0.01}}},
    "trl, sequence ratio": {
        "advantages": GRPO,
        "loss": {"trl": {"type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.05}},
    },
    "trl, cispo": {"advantages": GRPO, "loss": {"trl": {"type": "cispo", "epsilon_high": 5.0}}},
    "trl, sapo": {"advantages": GRPO, "loss": {"trl": {"type": "sapo"}}},
    "an estimator that reads the vocabulary": {"advantages": ["otb"], "loss": "trl"},
    "terms of every slot": {
        "rewards": [{"overlong": {"buffer": 8}}],
        "advantages": [{"dr_grpo": {}}, {"entropy_shaped": {}}],
        "weights": [{"clip_cov": {"fraction": 0.3, "low": -9.0, "high": 9.0}}, {"high_entropy": {}}, {"steer": {}}],
        "loss": {"trl": {"epsilon": 1.0, "epsilon_high": 1.0}},
        "penalties": [
            {"kl_cov": {"fraction": 0.2}},
            {"entropy_bonus": {"coef": 0.05}},
            {"kl_ref": {"coef": 0.3}},
            {"renyi_bonus": {"coef": 0.02}},
        ],
    },
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("same") / "told.json"
    fixed = {**ENVIRONMENT, "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-m", "in_verl.same", str(out)],
        cwd=Path(__file__).parents[1],
        env={**os.environ, **fixed, "VARIANT": json.dumps(VARIANTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_are_equal_at_both_steps(name: str, told: dict[str, Any]) -> None:
    """The second step is off the policy: there clips, ratios and KL-Cov act."""
    assert min(told[name]["norms"]) > 1e-3
    assert max(told[name]["apart"]) < 1e-5


def test_what_is_compared_differs(told: dict[str, Any]) -> None:
    """Sequences have lengths of their own, or all means would be one; and the terms do something."""
    assert len(set(told["trl, token mean"]["lengths"])) > 2
    assert len({round(one["norms"][1], 5) for one in told.values()}) == len(VARIANTS)
