"""The critic inside the policy: what it costs, whom it trains, and where it must not appear."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support import tiny
from support.log_history import step_rows
from torch import Tensor
from transformers import Qwen2Model

from entropostat.metrics.learning import METRICS
from entropostat.recipe.blocks import Critic
from entropostat.rl.batch import TokenBatch
from entropostat.trainers.critic import judged
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.model.critic_heads import ValueHeads
from entropostat.trainers.model.critic_tap import NAME
from entropostat.trainers.ppo import EntropyPPOTrainer
from entropostat.trainers.trl.loss_pass import LossPass

# ---------------------------------------------------------------------------------------------- forward and gradient


def forwards(trainer: Any) -> int:
    """Backbone passes that train; scoring and generating have no graph."""
    count = [0]
    trainer.model.model.register_forward_hook(lambda *_: count.__setitem__(0, count[0] + torch.is_grad_enabled()))
    trainer.train()
    return count[0]


def scored(trainer: Any) -> int:
    """Calls that score a whole generation without a graph."""
    count, tap = [0], trainer._get_per_token_logps_and_entropies
    watch = lambda *a, **k: count.__setitem__(0, count[0] + (not torch.is_grad_enabled())) or tap(*a, **k)
    trainer._get_per_token_logps_and_entropies = watch
    trainer.train()
    return count[0]


RUN: dict[str, Any] = {"max_steps": 4, "gradient_accumulation_steps": 2, "steps_per_generation": 4}


def test_values_cost_no_forward_of_their_own(path: str) -> None:
    stock = EntropyGRPOTrainer(
        model=path, reward_funcs=tiny.digits, args=tiny.config(**RUN), train_dataset=tiny.prompts(), objective=tiny.objective()
    )  # fmt: skip
    assert forwards(tiny.ppo(path, Critic(heads=2), **RUN)) == forwards(stock) == 8
    assert scored(tiny.ppo(path, **RUN)) == 2


@pytest.mark.parametrize(("trunk", "detach"), [("shared", True), ("shared", False), ("separate", True)])
def test_whom_the_value_loss_trains(path: str, trunk: str, detach: bool) -> None:
    trainer = tiny.ppo(path, Critic(trunk=trunk, detach=detach, coef=1.0), max_steps=1)
    trainer.train()
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    inputs = dict(trainer._buffered_inputs[0])
    inputs["advantages"] = torch.zeros_like(inputs["advantages"])
    trainer.model.zero_grad()
    trainer._compute_loss(trainer.model, inputs).backward()
    norms = {n: 0.0 if p.grad is None else float(p.grad.norm()) for n, p in trainer.model.named_parameters()}
    policy = {n: norm for n, norm in norms.items() if NAME not in n}
    assert any(norm > 0 for norm in policy.values()) == (trunk == "shared" and not detach)
    assert norms[f"{NAME}.values.heads.0.weight"] > 1e-6
    if trunk == "separate":
        assert norms[f"{NAME}.trunk.layers.0.mlp.up_proj.weight"] > 1e-9


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("trunk", ["shared", "separate"])
def test_the_critic_learns_under_activation_checkpointing(path: str, trunk: str, checkpointing: bool) -> None:
    trainer = tiny.ppo(
        path, Critic(trunk=trunk, learning_rate=0.05), max_steps=16, gradient_checkpointing=checkpointing
    )
    before = trainer.critic.tap.critic.values.heads[0].weight.detach().clone()
    trainer.train()
    assert (trainer.critic.tap.critic.values.heads[0].weight - before).abs().max() > 0.01
    values = [row["critic/value"] for row in step_rows(trainer) if "critic/value" in row]
    assert abs(values[0]) < 0.05 < values[-1]


def test_heads_stay_in_float32_under_a_policy_of_bfloat16(path: str) -> None:
    model = tiny.model(dtype=torch.bfloat16)
    model.config._name_or_path = path
    trainer = tiny.ppo(model, Critic(heads=2, hidden=True), bf16=True, max_steps=2)
    trainer.train()
    assert {p.dtype for p in trainer.critic.tap.critic.parameters()} == {torch.float32}
    assert trainer._buffered_inputs[0]["entropostat/old_values"].dtype == torch.float32
    assert step_rows(trainer)[-1]["critic/loss"] > 0


def test_a_moved_temperature_does_not_move_the_values(path: str) -> None:
    """The hook of the temperature scales the hidden states; the critic reads them as they are."""
    spec = tiny.objective(**tiny.GAE) | {"scalars": [("temperature", "temperature", {"value": 2.0})]}
    trainer = EntropyPPOTrainer(
        model=path, reward_funcs=tiny.digits, args=tiny.ppo_config(max_steps=1), train_dataset=tiny.prompts(),
        objective=spec, critic=Critic(init=1.0),
    )  # fmt: skip
    seen: list[Tensor] = []
    score = trainer._score

    def watch(output: dict[str, Any], batch: Any) -> None:
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], 1)
        attention = torch.cat([output["prompt_mask"], output["completion_mask"]], 1)
        with torch.no_grad():
            hidden = trainer.model.model(ids, attention).last_hidden_state
            wanted = trainer.critic.tap.critic.values(hidden)[:, -output["completion_ids"].size(1) - 1 :, 0]
        torch.testing.assert_close(batch.old_values, wanted, rtol=1e-4, atol=1e-5)
        seen.append(wanted)
        score(output, batch)

    trainer._score = watch
    trainer.train()
    assert len(seen) == 1 and seen[0].std() > 0.1


def test_a_copied_trunk_has_hooks_and_weights_of_its_own(path: str) -> None:
    model = tiny.model()
    model.config._name_or_path = path
    model.model.register_forward_hook(lambda *_: None)
    trainer = tiny.ppo(model, Critic(trunk="separate"))
    trunk = trainer.critic.tap.critic.trunk
    assert isinstance(trunk, Qwen2Model) and not trunk._forward_hooks and model.model._forward_hooks
    ours, theirs = dict(trunk.named_parameters()), dict(model.model.named_parameters())
    assert all(torch.equal(ours[n], theirs[n]) and ours[n] is not theirs[n] and ours[n].requires_grad for n in theirs)


@torch.no_grad()
@pytest.mark.parametrize(("hidden", "low", "high"), [(False, 0.4, 0.6), (True, 0.1, 0.3)])
def test_first_values_have_the_size_asked_for_and_full_precision(hidden: bool, low: float, high: float) -> None:
    """Of a hidden layer with torch's own start GELU leaves about two fifths."""
    torch.manual_seed(0)
    states = torch.randn(4000, 256)
    heads = ValueHeads(256, Critic(hidden=hidden, heads=2, init=0.5, layer_norm=True))
    values = heads(states)
    assert ((low < values.std(0)) & (values.std(0) < high)).all()
    torch.testing.assert_close(heads(10 * states), values, rtol=1e-3, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(heads(states), values)


def test_building_a_critic_draws_none_of_the_runs_numbers(path: str) -> None:
    after = []
    for heads in (1, 2):
        trainer = tiny.ppo(path, Critic(heads=heads, hidden=True))
        after.append(torch.get_rng_state())
        first = trainer.critic.tap.critic.values.heads[0][2].weight
        assert torch.equal(
            first, tiny.ppo(path, Critic(heads=heads, hidden=True)).critic.tap.critic.values.heads[0][2].weight
        )
    assert torch.equal(*after)


def test_values_leave_with_the_output_and_only_while_armed(path: str) -> None:
    trainer = tiny.ppo(path)
    ids = torch.arange(3, 15).view(2, 6)
    score = lambda: trainer.model(ids, labels=ids, fused_lm_head=True)
    with trainer.critic.tap.armed():
        output = score()
        assert output.state_values.shape == (2, 6, 1) and output.state_values.requires_grad
        assert any(value is output.state_values for value in output.values())  # as DDP looks for it
        assert (
            torch.equal(trainer.critic.tap.take(3), output.state_values[:, -4:]) and trainer.critic.tap.take(3) is None
        )
    assert "state_values" not in score()


def test_extra_completions_have_no_part_in_the_value_loss(path: str) -> None:
    spec = {**tiny.GAE, "penalties": [{"aepo": {"coef": 0.5, "target": 9.0, "reference": False}}]}
    trainer = tiny.ppo(path, spec=spec, num_generations=4, max_steps=2)
    seen, terms = [], trainer._additive_terms

    def watch(inputs: dict[str, Any], passed: LossPass) -> Tensor:
        seen.append((passed.values.shape, inputs["entropostat/old_values"].shape, passed.batch.extra))
        return terms(inputs, passed)

    trainer._additive_terms = watch
    trainer.train()
    assert all(loss == kept for loss, kept, _ in seen)
    assert any(extra is not None for *_, extra in seen)


# ---------------------------------------------------------------------------------------------- metrics


def test_penalties_train_beside_the_value_loss(path: str) -> None:
    first_rows = []
    for penalties in ([], [{"entropy_bonus": {"coef": 2.0}}]):
        trainer = tiny.ppo(path, spec={**tiny.GAE, "penalties": penalties}, max_steps=1, steps_per_generation=1)
        trainer.train()
        first_rows.append(step_rows(trainer)[0])
    plain, bonus = first_rows
    assert bonus["loss"] == pytest.approx(plain["loss"] - 2.0 * plain["entropy"], rel=1e-5)
    assert bonus["critic/loss"] == plain["critic/loss"] > 0


def test_what_a_critic_is_judged_by() -> None:
    mask = torch.tensor([[1, 1], [1, 0]])
    heads = torch.tensor([[[1.0, 2.0], [2.0, 2.0], [9.0, 9.0]], [[3.0, 1.0], [9.0, 0.0], [9.0, 9.0]]])
    returns = torch.tensor([[1.0, 3.0], [2.0, 7.0]])
    batch = TokenBatch(logps=mask.float(), mask=mask, old_values=heads.amin(-1))
    measures = judged(batch, returns, heads)
    value, wanted = torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 3.0, 2.0])
    explained = 1 - float((wanted - value).var(correction=0) / wanted.var(correction=0))
    assert measures == pytest.approx(
        {
            "critic/value": 4 / 3,
            "critic/return": 2.0,
            "critic/explained_variance": explained,
            "critic/disagreement": 1.0,
        }
    )
    flat = judged(batch, torch.ones(2, 2), heads[..., :1])
    assert flat["critic/explained_variance"] == 0.0 and "critic/disagreement" not in flat
    empty = TokenBatch(logps=mask.float(), mask=torch.zeros_like(mask), old_values=heads.amin(-1))
    assert all(math.isnan(value) for value in judged(empty, returns, heads).values())


def test_only_declared_metrics_are_logged(path: str) -> None:
    trainer = tiny.ppo(path, Critic(heads=2), max_steps=2)
    trainer.train()
    assert {key for row in step_rows(trainer) for key in row if key.startswith("critic/")} == {
        m.key for m in METRICS if m.key.startswith("critic/")
    }
