"""What this project relies on inside TRL. Red here means: TRL changed, and the pin may not be widened."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import pytest
import torch
from support import tiny
from support.one_loss import TYPES, gradient, make, recorded, stock_loss
from trl import GRPOTrainer

from entropostat.trainers.trl.loss_pass import LossPass


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
