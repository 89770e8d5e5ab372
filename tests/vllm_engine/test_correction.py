"""What a stale sampler drew is corrected for once: by TRL, or by a term in its place, or not at all where both are off."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny
from support.one_loss import gradient
from vllm_engine.shared import COLOCATED

CAP = 2.0
STEPS = 4
TRUNCATED: dict[str, Any] = {
    "vllm_importance_sampling_mode": "token_truncate", "vllm_importance_sampling_clip_max": CAP
}  # fmt: skip
OFF = {"vllm_importance_sampling_correction": False}
STEP: dict[str, Any] = {**COLOCATED, "steps_per_generation": 1, "per_device_train_batch_size": 8, "max_steps": STEPS}


@pytest.fixture(scope="module")
def stale(path: str) -> tuple[Any, dict[str, Any]]:
    """A trainer that has gone on for some steps from the weights that its engine was sent, and its last generation."""
    trainer = tiny.ours(path, **STEP, **TRUNCATED)
    send = trainer.vllm_generation.sync_weights
    trainer.vllm_generation.sync_weights = lambda: send() if trainer.state.global_step == 0 else None
    trainer.train()
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer, dict(trainer._buffered_inputs[0])


def ratio_of(inputs: dict[str, Any]) -> torch.Tensor:
    """(B, T) of the trainer's policy to the engine's, capped."""
    d = (inputs["old_per_token_logps"] - inputs["sampling_per_token_logps"]) * inputs["completion_mask"]
    return d.exp().clamp(max=CAP)


def test_the_ratio_is_that_of_the_two_policies(stale: tuple[Any, dict[str, Any]]) -> None:
    _, inputs = stale
    ratio = ratio_of(inputs)
    torch.testing.assert_close(inputs["importance_sampling_ratio"], ratio, rtol=1e-4, atol=1e-5)
    assert (ratio - 1).abs().mean() > 0.05, "stale enough to be seen"


def another(stale: tuple[Any, dict[str, Any]], path: str, spec: dict[str, Any] | None = None, **changes: Any) -> Any:
    trainer = tiny.ours(path, spec, **{**STEP, "max_steps": 1, "learning_rate": 0.0}, **changes)
    trainer.train()
    trainer.model.load_state_dict(stale[0].model.state_dict())
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def test_a_term_in_the_place_of_trls_correction_gives_the_same_gradient(
    stale: tuple[Any, dict[str, Any]], path: str
) -> None:
    trainer, inputs = stale
    _, corrected = gradient(trainer, inputs)
    spec = tiny.objective(weights=[{"truncated_is": {"cap": CAP}}])
    _, ours = gradient(another(stale, path, spec, **OFF), inputs)
    torch.testing.assert_close(ours, corrected, rtol=1e-4, atol=1e-6)
    without = {key: value for key, value in inputs.items() if key != "importance_sampling_ratio"}
    _, plain = gradient(another(stale, path, **OFF), without)
    assert (plain - corrected).norm() > 0.02 * corrected.norm() > 0


def test_it_is_a_factor_of_each_token_once(stale: tuple[Any, dict[str, Any]], path: str) -> None:
    """By hand: advantages times the capped ratio, of an uncorrected trainer, are the corrected gradient."""
    trainer, inputs = stale
    _, corrected = gradient(trainer, inputs)
    weighted = {key: value for key, value in inputs.items() if key != "importance_sampling_ratio"}
    weighted["advantages"] = inputs["advantages"][:, None] * ratio_of(inputs)
    _, by_hand = gradient(another(stale, path, **OFF), weighted)
    torch.testing.assert_close(by_hand, corrected, rtol=1e-4, atol=1e-6)
    weighted["advantages"] = weighted["advantages"] * ratio_of(inputs)
    _, twice = gradient(another(stale, path, **OFF), weighted)
    assert (twice - corrected).norm() > 0.02 * corrected.norm()
