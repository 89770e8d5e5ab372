"""An optimizer and a schedule that are given from Python, beside the blocks of a recipe and a critic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny
from torch.optim.lr_scheduler import LambdaLR, StepLR

from entropostat.recipe.blocks import Muon, Optimizer


def half(step: int) -> float:
    return 0.5**step


def given_optimizer(path: str, scheduler: Any, **changes: Any) -> Any:
    model = tiny.Qwen2ForCausalLM.from_pretrained(path)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    made = None if scheduler is None else scheduler(optimizer)
    return tiny.ppo(model, optimizers=(optimizer, made), max_steps=3, learning_rate=0.03, **changes), optimizer


@pytest.mark.parametrize("scheduled", [False, True])
def test_the_critic_joins_an_optimizer_that_is_given(path: str, scheduled: bool) -> None:
    schedule = (lambda optimizer: LambdaLR(optimizer, half)) if scheduled else None
    trainer, optimizer = given_optimizer(path, schedule)
    before = [p.detach().clone() for p in trainer.critic.tap.critic.parameters()]
    trainer.train()
    policy, critic = optimizer.param_groups
    assert set(critic["params"]) == set(trainer.critic.tap.critic.parameters()) and critic["weight_decay"] == 0.0
    assert all(not torch.equal(a, b) for a, b in zip(before, trainer.critic.tap.critic.parameters(), strict=True))
    factor = half(3) if scheduled else 1.0
    assert (policy["lr"], critic["lr"]) == pytest.approx((0.1 * factor, 0.03 * factor))
    assert trainer.state.global_step == 3


@pytest.mark.parametrize("factor", [half, lambda step: (step + 1) / 4], ids=["falls", "warms up"])
def test_the_critics_rate_follows_the_given_schedule_from_the_first_step_on(path: str, factor: Any) -> None:
    trainer, optimizer = given_optimizer(path, lambda optimizer: LambdaLR(optimizer, factor))
    rates: list[list[float]] = []
    optimizer.register_step_pre_hook(lambda optimizer, *_: rates.append([g["lr"] for g in optimizer.param_groups]))
    trainer.train()
    assert rates == [pytest.approx([0.1 * factor(step), 0.03 * factor(step)]) for step in range(3)]


def test_another_scheduler_than_lambdalr_is_refused(path: str) -> None:
    with pytest.raises(
        ValueError, match=r"^optimizers: StepLR was made before there was a critic .*; pass \(optimizer, None\)"
    ):
        given_optimizer(path, lambda optimizer: StepLR(optimizer, 1))


def test_two_words_on_the_optimizer_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"optimizer.muon and optimizers= both say which optimizer"):
        given_optimizer(path, None, optimizer=Optimizer(muon=Muon()))
