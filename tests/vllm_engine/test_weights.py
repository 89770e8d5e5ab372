"""Trainer and sampler are one policy after every update, and a weight that was not sent is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support import tiny
from support.log_history import logged, step_rows
from support.streams import make
from transformers import TrainerCallback
from vllm_engine.shared import COLOCATED

NEAR = 0.01
"""Nats, mean over tokens. The engine computes in bfloat16, the trainer in float32: about .001 of the same policy."""
STEPS = 5
EVERY: dict[str, Any] = {**COLOCATED, "steps_per_generation": 1, "per_device_train_batch_size": 8, "max_steps": STEPS}
"""A generation for every update."""
PID = {"pid": {"signal": "entropy", "effect": "raises", "target": 2.0, "ki": 1e-2, "low": -0.1, "high": 0.1}}
TERMS = tiny.objective(
    weights=[{"clip_cov": {"fraction": 0.1, "low": 0.0}}],
    penalties=[{"kl_ref": {"coef": 0.01}}, {"entropy_bonus": {"coef": PID}}],
)
HOT = tiny.objective() | {
    "scalars": [("temperature", "temperature", {"value": {"schedule": {"points": [[0, 0.5], [4, 2.0]]}}})]
}
AEPO = tiny.objective(penalties=[{"aepo": {"coef": 0.5, "target": 2.0, "success": -1.0, "share": 1.0}}])

CASES: dict[str, Callable[[str], Any]] = {
    "GRPO": lambda path: tiny.ours(path, **EVERY),
    "terms and a controller": lambda path: tiny.ours(path, TERMS, **EVERY),
    "a critic": lambda path: tiny.ppo(path, **EVERY),
    "log Z of each prompt": lambda path: tiny.ours(path, tiny.objective(loss={"flowrl": {}}), **EVERY),
    "an adapter, and a critic": lambda path: tiny.ppo(path, peft_config=tiny.LORA, **{**EVERY, "learning_rate": 0.1}),
    "a temperature that moves": lambda path: tiny.ours(path, HOT, **EVERY),
    "completions of its own": lambda path: tiny.ours(path, AEPO, **EVERY),
    "prompts asked anew": lambda path: make(path, [{"dynamic_sampling": {}}], **EVERY),
    "a reference that moves": lambda path: tiny.ours(
        path, tiny.objective(penalties=[{"kl_ref": {"coef": 0.1, "reference": "ema", "decay": 0.5}}]), **EVERY
    ),
}


class LeaveOut(TrainerCallback):
    """No weights are sent from step ``step`` on."""

    def __init__(self, trainer: Any, step: int) -> None:
        self.trainer, self.step = trainer, step

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step + 1 == self.step:
            self.trainer.vllm_generation.sync_weights = lambda: None


@pytest.mark.parametrize("case", CASES)
def test_log_probs_agree_after_every_update_until_one_is_not_sent(path: str, case: str) -> None:
    trainer = CASES[case](path)
    trainer.add_callback(LeaveOut(trainer, STEPS))
    trainer.train()
    assert len(step_rows(trainer)) == STEPS
    for key in ("sampling/sampling_logp_difference/mean", "trust/sampler_gap"):
        gaps = logged(trainer, key)
        assert len(gaps) == STEPS and min(gaps) > 0
        assert max(gaps[:-1]) < NEAR < gaps[-1], f"{key}: {gaps}"
