"""Weights, losses and penalties of ours inside the loss of TRL."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny
from support.one_loss import TYPES, gradient, make, recorded, stock_loss, stock_loss_without_beta

from entropostat.trainers.trl.loss_pass import LossPass


@pytest.mark.parametrize("kind", TYPES)
def test_a_token_of_weight_zero_has_no_policy_gradient(path: str, kind: str) -> None:
    trainer = make(path, kind, tiny.objective(weights=[{"high_entropy": {"scope": "micro"}}]))
    inputs = recorded(trainer)
    captured: list[torch.Tensor] = []
    tap = trainer._tap

    def watch(passed: LossPass, logps: torch.Tensor, *args: Any) -> None:
        logps.retain_grad()
        captured.append(logps)
        tap(passed, logps, *args)
        captured.append(passed.weight)

    trainer._tap = watch
    gradient(trainer, inputs)
    logps, weight = captured
    mask = inputs["completion_mask"].bool()
    assert torch.any(mask & (weight == 0))
    assert torch.all(logps.grad[weight == 0] == 0)
    assert torch.any(logps.grad[mask & (weight > 0)] != 0)


@pytest.mark.parametrize("kind", ["grpo", "bnpo", "dr_grpo", "dapo", "luspo"])
def test_a_replaced_surrogate_equals_trls(path: str, kind: str) -> None:
    """Zero advantages through TRL plus our ppo_clip through our normaliser: what a non-delegated loss relies on."""
    reference = make(path, kind)
    inputs = recorded(reference)
    expected_loss, expected = gradient(reference, inputs)
    spec = tiny.objective(loss={"ppo_clip": {"type": kind}})
    trainer = tiny.ours(path, spec, max_steps=1)
    recorded(trainer)
    trainer.model.load_state_dict(reference.model.state_dict())
    loss, grad = gradient(trainer, inputs)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(grad, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "penalty",
    [
        {"kl_ref": {"coef": 0.5}},
        {"kl_cov": {"fraction": 0.3}},
        {"entropy_bonus": {"coef": 0.1}},
        {"entropy_bonus": {"coef": 0.1, "reduction": "trl"}},
    ],
)
def test_every_regulariser_has_a_gradient(path: str, penalty: dict[str, Any]) -> None:
    name = next(iter(penalty))
    trainer = make(path, "dapo", tiny.objective(penalties=[penalty]))
    inputs = recorded(trainer)
    inputs[f"entropostat/{name}/selected"] = inputs["completion_mask"].bool()
    _, with_penalty = gradient(trainer, inputs)
    _, without = gradient(trainer, inputs, stock_loss_without_beta(trainer))
    assert (with_penalty - without).norm() > 1e-4


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_scalar_penalty_is_shared_out_over_the_accumulated_micro_batches(path: str, accumulation: int) -> None:
    """The penalty is the mean over the generation's tokens here, whose number ``recorded`` sets to twice this batch's."""
    spec = tiny.objective(penalties=[{"entropy_bonus": {"coef": 1.0}}])
    trainer = make(path, "dapo", spec, gradient_accumulation_steps=accumulation)
    inputs = recorded(trainer)
    loss, _ = gradient(trainer, inputs)
    plain, _ = gradient(trainer, inputs, stock_loss(trainer))
    entropy = trainer._metrics["train"]["entropy"][-1]
    tokens = float(inputs["completion_mask"].sum())
    per_batch = float(inputs["num_items_in_batch"]) / trainer.args.steps_per_generation
    assert float(plain - loss) == pytest.approx(entropy * tokens / per_batch / accumulation, rel=1e-4)


def test_sequence_level_ratios_refuse_token_weights(path: str) -> None:
    with pytest.raises(ValueError, match="importance_sampling_level"):
        make(path, "grpo", tiny.objective(weights=["high_entropy"]), level="sequence")


def with_sampler_correction(trainer: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """As if vLLM had sampled: TRL reads these two flags and the ratio in its loss."""
    trainer.use_vllm, trainer.vllm_importance_sampling_correction = True, True
    ratio = 0.5 + torch.rand(inputs["completion_ids"].shape, generator=torch.Generator().manual_seed(1))
    return {**inputs, "importance_sampling_ratio": ratio}


def test_a_replaced_surrogate_carries_the_sampler_correction(path: str) -> None:
    reference = make(path, "dapo")
    inputs = recorded(reference)
    corrected = with_sampler_correction(reference, inputs)
    _, expected = gradient(reference, corrected)
    _, uncorrected = gradient(reference, inputs | {"importance_sampling_ratio": torch.ones(())})
    assert (expected - uncorrected).norm() > 1e-3
    trainer = tiny.ours(path, tiny.objective(loss={"ppo_clip": {"type": "dapo"}}), max_steps=1)
    recorded(trainer)
    trainer.model.load_state_dict(reference.model.state_dict())
    with_sampler_correction(trainer, inputs)
    _, slope = gradient(trainer, corrected)
    torch.testing.assert_close(slope, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("penalty", "corrected_too"), [("kl_cov", True), ("kl_ref", False)])
def test_only_policy_terms_carry_the_sampler_correction(path: str, penalty: str, corrected_too: bool) -> None:
    trainer = make(path, "dapo", tiny.objective(penalties=[{penalty: {"coef": 0.5}}]))
    inputs = recorded(trainer) | {"advantages": torch.zeros(4)}
    inputs[f"entropostat/{penalty}/selected"] = inputs["completion_mask"].bool()
    corrected = with_sampler_correction(trainer, inputs)
    _, plain = gradient(trainer, inputs | {"importance_sampling_ratio": torch.ones(())})
    _, weighted = gradient(trainer, corrected)
    assert ((weighted - plain).norm() > 1e-4) == corrected_too
