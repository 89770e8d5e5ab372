"""A trainer whose monitors have something to see."""

from __future__ import annotations

from typing import Any

from entropostat.recipe.machine_blocks import Tracking
from entropostat.trainers.grpo import EntropyGRPOTrainer
from support import tiny

TERMS: dict[str, Any] = {
    "weights": [{"clip_cov": {"fraction": 0.2, "low": 0.0}}],
    "penalties": [{"kl_ref": {"coef": 0.1}}, {"kl_cov": {"fraction": 0.1}}, {"entropy_bonus": {"coef": 0.01}}],
}


def make(path: Any, spec: dict[str, Any] | None = None, every: int = 1, **changes: Any) -> EntropyGRPOTrainer:
    own = {key: changes.pop(key) for key in ("reward_funcs", "peft_config") if key in changes}
    return EntropyGRPOTrainer(
        **{"reward_funcs": halves, **own},
        model=path,
        args=tiny.config(**changes),
        train_dataset=tiny.prompts(),
        processing_class=tiny.tokenizer(),
        objective=spec or tiny.objective(**TERMS),
        tracking=Tracking(monitor_every=every),
    )


def halves(completions: list[str], **_: Any) -> list[float]:
    """Right and wrong in every group."""
    return [float(i % 2 or len(text) > 6) for i, text in enumerate(completions)]
