"""Signals in a live run: they arrive, they hold between generations, a checkpoint keeps them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from peft import LoraConfig
from support import tiny
from support.log_history import step_rows

from entropostat.rl.control import Control
from entropostat.rl.signals import SIGNALS
from entropostat.trainers.grpo import EntropyGRPOTrainer


def reading(signal: str) -> dict[str, Any]:
    """A controller that reads the signal and does nothing."""
    return {"pid": {"signal": signal, "target": 1.0, "start": 0.01}}


def watched(path: str, names: list[str], **changes: Any) -> list[dict[str, float]]:
    """What the controllers saw at each optimizer step."""
    parts = [{"entropy_bonus": {"name": f"b{i}", "coef": reading(name)}} for i, name in enumerate(names)]
    parts += changes.pop("penalties", [])
    peft = changes.pop("peft_config", None)
    trainer = EntropyGRPOTrainer(
        model=path,
        reward_funcs=tiny.digits,
        args=tiny.config(**{"max_steps": 4, **changes}),
        train_dataset=tiny.prompts(),
        objective=tiny.objective(loss={"ppo_clip": {}}, penalties=parts),
        peft_config=peft,
    )
    seen, update = [], Control.update

    def watch(self: Control, state: Any, signals: Any) -> Any:
        seen.append(dict(signals))
        return update(self, state, signals)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Control, "update", watch)
        trainer.train()
    rows = step_rows(trainer)
    assert [row["grad_norm"] for row in rows] == [pytest.approx(s["grad_norm"]) for s in seen]
    return seen


def test_every_signal_reaches_the_controllers(path: str) -> None:
    seen = watched(path, [*SIGNALS, "ppo_clip/clip_fraction"])
    for signals in seen:
        assert set(SIGNALS) <= set(signals)
        assert not any(math.isnan(value) for name, value in signals.items() if name in SIGNALS)
        assert signals["ppo_clip/clip_fraction"] == pytest.approx(signals["clip_fraction"], abs=1e-6)
    held = ("reward", "entropy_old", "entropy_ratio")
    assert all(seen[0][name] == seen[1][name] != seen[2][name] for name in held)
    assert seen[0]["entropy_ratio"] == pytest.approx(1.0, abs=1e-4) != seen[2]["entropy_ratio"]
    assert seen[0]["entropy_old"] == pytest.approx(seen[0]["entropy"], abs=0.02)
    assert seen[1]["ratio_max"] > 1 > seen[1]["ratio_min"]


def test_the_reference_of_an_adapter_is_measured_without_it(path: str) -> None:
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    seen = watched(path, ["entropy_ratio", "entropy_ref"], peft_config=lora, learning_rate=0.1)
    assert seen[0]["entropy_ratio"] == pytest.approx(1.0, abs=1e-5)
    assert abs(seen[2]["entropy_ratio"] - 1.0) > 1e-4


def test_a_reference_that_moves_beside_an_adapter_is_measured_where_it_is(path: str) -> None:
    """It is an adapter too. Reset after every step, it is the policy that generated."""
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    follows = [{"kl_ref": {"reference": "reset", "every": 1}}]
    seen = watched(path, ["entropy_ratio", "entropy_ref"], peft_config=lora, learning_rate=0.1, penalties=follows)
    assert [s["entropy_ratio"] for s in seen] == pytest.approx([1.0] * 4, abs=1e-5)
    assert abs(seen[2]["entropy_ref"] - seen[0]["entropy_ref"]) > 1e-4


def test_an_on_policy_run_is_scored_for_a_signal_that_needs_it(path: str) -> None:
    seen = watched(path, ["entropy_old"], steps_per_generation=1)
    assert all(s["entropy_old"] == pytest.approx(s["entropy"], rel=1e-4) for s in seen)
