"""What a tool has written into a completion is no token of the policy: not of a generation, and not of a micro-batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny
from torch import Tensor
from trl import GRPOTrainer

BONUS = {"penalties": [{"entropy_bonus": {"coef": 0.1}}]}


def spoken(completion_mask: Tensor) -> Tensor:
    """1 where the policy wrote: a tool speaks in every second column."""
    return (torch.arange(completion_mask.size(1)) % 2 == 0).long().expand_as(completion_mask).clone()


def test_a_generation_is_measured_without_it(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tiny.ours(path, tiny.objective(**BONUS), max_steps=1)
    generate, score, seen = GRPOTrainer._generate_and_score_completions, trainer._score, []

    def tooled(self: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        output = generate(self, *args, **kwargs)
        return output | {"tool_mask": spoken(output["completion_mask"])}

    def watch(output: dict[str, Any], batch: Any) -> None:
        seen.append((output["completion_mask"], output["tool_mask"], batch.mask))
        score(output, batch)

    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", tooled)
    trainer._score = watch
    trainer.train()
    assert seen
    for completion, tool, mask in seen:
        assert torch.equal(mask, completion * tool) and mask.sum() < completion.sum()


def test_a_micro_batch_is_measured_without_it(path: str) -> None:
    trainer = tiny.ours(path, tiny.objective(**BONUS), max_steps=1)
    trainer.train()
    trainer.model.train()
    inputs = dict(trainer._buffered_inputs[0])
    whole = int(inputs["completion_mask"].sum())
    trainer.thermostat.window.close()
    trainer._compute_loss(trainer.model, inputs | {"tool_mask": spoken(inputs["completion_mask"])})
    assert trainer.thermostat.window.close().tokens == int(
        spoken(inputs["completion_mask"]).mul(inputs["completion_mask"]).sum()
    )
    trainer._compute_loss(trainer.model, dict(inputs))
    assert trainer.thermostat.window.close().tokens == whole
