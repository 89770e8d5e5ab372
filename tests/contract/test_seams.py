"""What this project relies on inside TRL. Red here means: TRL changed, and the pin may not be widened."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import pytest
import torch
from support import tiny
from trl import GRPOTrainer

from entropostat.trainers.trl.loss_pass import LossPass

TYPES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")


@pytest.fixture(scope="module")
def path() -> str:
    return tiny.saved()


def recorded(trainer: Any, tool_mask: bool = False) -> dict[str, Any]:
    """One micro-batch of a real generation with ragged masks and ratios that differ from 1."""
    trainer.train()
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    inputs = dict(trainer._buffered_inputs[0])
    rows, length = inputs["completion_ids"].shape
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([3, length, 1, max(length - 2, 1)])[:rows]
    inputs["completion_mask"] = (torch.arange(length)[None] < lengths[:, None]).long()
    if tool_mask:
        inputs["tool_mask"] = (torch.rand(rows, length, generator=generator) > 0.3).long()
    inputs["num_items_in_batch"] = 2.0 * lengths.sum()
    noise = lambda scale: scale * torch.randn(rows, length, generator=generator)
    inputs["old_per_token_logps"] = (noise(0.3) - 3.3) * inputs["completion_mask"]
    if "ref_per_token_logps" in inputs:
        inputs["ref_per_token_logps"] = (noise(0.3) - 3.3) * inputs["completion_mask"]
    inputs["advantages"] = torch.tensor([0.7, -1.1, 0.4, -0.2])[:rows]
    return inputs


def gradient(trainer: Any, inputs: dict[str, Any], compute: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
    trainer.model.zero_grad()
    loss = (compute or trainer._compute_loss)(trainer.model, dict(inputs))
    loss.backward()
    gradients = [p.grad.flatten() if p.grad is not None else torch.zeros(p.numel()) for p in trainer.model.parameters()]
    return loss.detach(), torch.cat(gradients)


def stock_loss(trainer: Any) -> Any:
    """TRL's own method on the same trainer, past our overrides."""

    def compute(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        return GRPOTrainer._compute_loss(trainer, model, inputs)

    return compute


def make(path: str, kind: str, spec: dict[str, Any] | None = None, **changes: Any) -> Any:
    loss: dict[str, Any] = {"type": kind}
    if kind == "cispo":
        loss["epsilon_high"] = 5.0
    if level := changes.pop("level", None):
        loss["importance_sampling_level"] = level
    spec = spec or tiny.objective()
    return tiny.ours(path, {**spec, "loss": ("trl", "trl", loss)}, max_steps=1, **changes)


def test_signatures_of_the_seams() -> None:
    parameters = lambda name: list(inspect.signature(getattr(GRPOTrainer, name)).parameters)
    assert parameters("_compute_loss") == ["self", "model", "inputs"]
    assert parameters("_generate_and_score_completions") == ["self", "inputs"]
    assert parameters("_calculate_rewards") == ["self", "inputs", "prompts", "completions", "completion_ids_list"]
    tap = parameters("_get_per_token_logps_and_entropies")
    assert tap[:7] == [
        "self",
        "model",
        "input_ids",
        "attention_mask",
        "logits_to_keep",
        "batch_size",
        "compute_entropy",
    ]
    assert parameters("_save_checkpoint") == ["self", "model", "trial"]
    assert parameters("_prepare_inputs") == ["self", "generation_batch"]


@pytest.mark.parametrize(
    ("kind", "beta", "level", "accumulation"),
    list(itertools.product(TYPES, (0.0, 0.05), ("token", "sequence"), (1, 2))),
)
def test_without_terms_we_are_trl_bit_for_bit(path: str, kind: str, beta: float, level: str, accumulation: int) -> None:
    trainer = make(path, kind, level=level, beta=beta, gradient_accumulation_steps=accumulation)
    inputs = recorded(trainer, tool_mask=accumulation == 2)
    loss, grad = gradient(trainer, inputs)
    expected_loss, expected = gradient(trainer, inputs, stock_loss(trainer))
    assert torch.equal(loss, expected_loss)
    assert torch.equal(grad, expected)
    assert grad.norm() > 0


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_live_run_without_terms_is_a_stock_run_bit_for_bit(path: str, accumulation: int) -> None:
    """With several micro-batches TRL averages their means, whatever they hold; ours are means over tokens."""
    keys = ("loss", "grad_norm", "reward") + (("entropy", "clip_ratio/region_mean") if accumulation == 1 else ())
    runs = []
    for make_trainer in (tiny.stock, tiny.ours):
        trainer = make_trainer(path, max_steps=6, gradient_accumulation_steps=accumulation, steps_per_generation=4)
        trainer.train()
        runs.append([{k: row[k] for k in keys if k in row} for row in trainer.state.log_history])
    assert runs[0] == runs[1]


def test_advantages_are_read_after_the_forward_pass(path: str) -> None:
    trainer = make(path, "dapo")
    inputs = recorded(trainer)
    _, before = gradient(trainer, inputs)
    tap = trainer._tap

    def doubled(passed: LossPass, *args: Any) -> None:
        tap(passed, *args)
        passed.inputs["advantages"] = 2 * passed.inputs["advantages"]

    trainer._tap = doubled
    _, after = gradient(trainer, inputs)
    torch.testing.assert_close(after, 2 * before)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("accumulation", [1, 2])
def test_our_normaliser_is_trls(path: str, kind: str, accumulation: int) -> None:
    """kl_ref through our aggregation against TRL's native beta: the same formula, so the same loss and gradient."""
    changes: dict[str, Any] = {"gradient_accumulation_steps": accumulation}
    native = make(path, kind, beta=0.05, **changes)
    inputs = recorded(native, tool_mask=accumulation == 2)
    expected_loss, expected = gradient(native, inputs)
    spec = tiny.objective(penalties=[{"kl_ref": {"coef": 0.05}}])
    trainer = make(path, kind, spec, **changes)
    recorded(trainer)
    trainer.model.load_state_dict(native.model.state_dict())
    loss, grad = gradient(trainer, inputs)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(grad, expected, rtol=1e-5, atol=1e-7)


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


def stock_loss_without_beta(trainer: Any) -> Any:
    def compute(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        before, trainer.beta = trainer.beta, 0.0
        try:
            return GRPOTrainer._compute_loss(trainer, model, inputs)
        finally:
            trainer.beta = before

    return compute


def test_a_buffered_batch_is_not_changed_by_a_loss(path: str) -> None:
    """num_iterations > 1 reads the buffer again: weights must not pile up in it."""
    trainer = make(path, "dapo", tiny.objective(weights=[{"high_entropy": {"scope": "micro"}}]))
    inputs = recorded(trainer)
    before = {k: v.clone() for k, v in inputs.items() if isinstance(v, torch.Tensor)}
    first, _ = gradient(trainer, inputs)
    second, _ = gradient(trainer, inputs)
    assert torch.equal(first, second)
    trainer._compute_loss(trainer.model, inputs)
    assert all(torch.equal(before[k], inputs[k]) for k in before)


def test_trls_own_kl_is_off_inside_the_loss(path: str) -> None:
    """At 1e-8 it would move nothing that a gradient shows, but it would be logged beside ours."""
    trainer = tiny.ours(path, tiny.objective(penalties=["kl_ref"]))
    seen, tap = [], trainer._tap

    def watch(*args: Any) -> None:
        seen.append(trainer.beta)
        tap(*args)

    trainer._tap = watch
    trainer.train()
    assert seen == [0.0, 0.0] and trainer.beta == 1e-8


def test_trl_clips_at_the_bounds_of_the_step(path: str) -> None:
    points = {"schedule": {"points": [[0, 0.3], [1, 0.05]], "shape": "hold"}}
    trainer = tiny.ours(path, tiny.objective(loss={"trl": {"epsilon": points, "epsilon_high": 0.4}}))
    seen, tap = [], trainer._tap

    def watch(*args: Any) -> None:
        seen.append((trainer.epsilon_low, trainer.epsilon_high))
        tap(*args)

    trainer._tap = watch
    trainer.train()
    assert seen == [(0.3, 0.4), (0.05, 0.4)] and trainer.epsilon_low == 0.3


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


def test_trls_own_scalars_are_restored(path: str) -> None:
    spec = tiny.objective(penalties=[{"kl_ref": {"coef": 0.1}}])
    trainer = make(path, "dapo", spec)
    inputs = recorded(trainer)
    gradient(trainer, inputs)
    assert trainer.beta == 1e-8
    assert (trainer.epsilon_low, trainer.epsilon_high) == (0.2, 0.2)


def test_a_second_kl_to_the_reference_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"beta: 0.1 would do nothing: .*; use objective.penalties.kl_ref.coef"):
        tiny.ours(path, tiny.objective(penalties=["kl_ref"]), beta=0.1)


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
