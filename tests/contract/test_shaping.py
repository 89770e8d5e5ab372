"""Rewards on their way from TRL to the objective: normalised, clipped, penalised, counted on, and kept in checkpoints."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.at_step import StopAt
from support.log_history import logged

from entropostat.recipe.blocks import Shaping
from entropostat.rl.moments import RunningMoments
from entropostat.rl.objective import Objective
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.rollout.shaping import RewardShaper
from entropostat.trainers.trl.described import truncated

SCALED = {"advantages": [{"dr_grpo": {}}]}
"""Advantages that a change of scale or of one reward changes."""


def noisy(completions: list[str], **_: Any) -> list[float | None]:
    """A reward with outliers, and one completion in every batch that has none."""
    scores: list[float | None] = [(7.0 * sum(map(ord, text))) % 11 - 5 for text in completions]
    return [None, *scores[1:]]


def trainer(path: str, shaping: Shaping | None, reward: Any = noisy, spec: Any = None, **changes: Any) -> Any:
    return EntropyGRPOTrainer(
        model=path,
        reward_funcs=reward,
        args=tiny.config(**{"max_steps": 6, "max_completion_length": 4, **changes}),
        train_dataset=tiny.prompts(),
        objective=tiny.objective(**(spec or SCALED)),
        shaping=shaping,
    )


def watched(subject: Any, **train: Any) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(raw rewards, cut, rewards that the objective got) of every generation."""
    seen, rollout = [], Objective.rollout
    outputs: list[dict[str, Any]] = []
    shape = RewardShaper.shape

    def keep(self: Any, per_func: torch.Tensor, output: dict[str, Any], **how: Any) -> torch.Tensor:
        outputs.append({"raw": per_func[:, 0].clone(), "cut": truncated(self.trainer, output)})
        return shape(self, per_func, output, **how)

    def watch(self: Any, batch: Any) -> Any:
        seen.append((outputs[-1]["raw"], outputs[-1]["cut"], batch.rewards.clone()))
        return rollout(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RewardShaper, "shape", keep)
        patch.setattr(Objective, "rollout", watch)
        subject.train(**train)
    return seen


def test_the_objective_sees_rewards_normalised_then_clipped_then_penalised(path: str) -> None:
    subject = trainer(path, Shaping(normalise=True, clip=1.0, missing_eos_penalty=0.25))
    seen = watched(subject)
    assert len(seen) == 3 and any(cut.any() and not cut.all() for _, cut, _ in seen)
    values, count = torch.zeros(0, dtype=torch.float64), 1e-4
    for step, (raw, cut, shaped) in enumerate(seen):
        values = torch.cat([values, raw[~raw.isnan()].double()])
        total = count + len(values)
        mean = values.sum() / total
        variance = ((values - mean).square().sum() + count * (1 + mean**2)) / total  # the weak start: 1e-4 of N(0, 1)
        z = (raw.double() - mean) / variance.sqrt()
        wanted = z.clamp(-1, 1) - 0.25 * cut
        assert shaped.isnan().tolist() == raw.isnan().tolist() == [True] + [False] * 7
        assert torch.allclose(shaped.double(), wanted, atol=1e-5, equal_nan=True)
        keep = ~raw.isnan()
        expected = {
            "raw": raw[keep].mean(),
            "shaped": wanted[keep].mean(),
            "clipped": (z[keep].abs() > 1).double().mean(),
            "missing_eos": cut[keep].double().mean(),
        }
        for name, value in expected.items():
            assert logged(subject, f"shaping/{name}")[step] == pytest.approx(float(value), abs=1e-5), name
    assert subject.shaper.moments.count == pytest.approx(len(values), abs=1e-3) and len(values) == 21
    assert logged(subject, "shaping/clipped")[0] > 0


def test_controllers_read_the_rewards_as_they_were(path: str) -> None:
    pid = {"pid": {"signal": "reward", "target": 1.0, "start": 0.01}}
    spec = {**SCALED, "penalties": [{"entropy_bonus": {"coef": pid}}]}
    subject = trainer(path, Shaping(clip=0.5), spec=spec)
    seen = watched(subject)
    last = seen[-1][0]
    assert subject.thermostat.held["reward"] == pytest.approx(float(last[~last.isnan()].mean()), abs=1e-5)
    assert subject.thermostat.held["reward"] != pytest.approx(logged(subject, "shaping/shaped")[-1], abs=0.1)


def test_without_the_block_nothing_changes(path: str) -> None:
    losses, rewards = [], []
    for block in (None, Shaping()):
        subject = trainer(path, block)
        seen = watched(subject)
        assert all(torch.equal(raw.nan_to_num(9.0), shaped.nan_to_num(9.0)) for raw, _, shaped in seen)
        assert not logged(subject, "shaping/raw")
        losses.append(logged(subject, "loss"))
        rewards.append([shaped.tolist()[1:] for _, _, shaped in seen])
    assert losses[0] == losses[1] and rewards[0] == rewards[1]


def test_evaluation_shapes_and_counts_nothing(path: str) -> None:
    subject = trainer(path, Shaping(normalise=True))
    subject.train()
    before = subject.shaper.moments
    subject.evaluate(eval_dataset=tiny.prompts(4))
    assert subject.shaper.moments == before
    assert [key for key in subject._metrics["eval"] if key.startswith("shaping")] == []


def test_a_completion_that_only_a_reward_of_weight_zero_could_score_has_a_reward_of_zero(path: str) -> None:
    """As in TRL: it is scored, and what counts of its score is nothing."""
    subject = trainer(path, None, reward=[noisy, tiny.digits], reward_weights=[1.0, 0.0])
    for raw, _, shaped in watched(subject):
        assert bool(raw.isnan()[0])
        assert shaped.tolist() == raw.nan_to_num(0.0).tolist()


def test_a_completion_that_no_reward_could_score_has_none_whatever_the_weights(path: str) -> None:
    subject = trainer(path, None, reward=[noisy, noisy], reward_weights=[1.0, 0.0])
    for raw, _, shaped in watched(subject):
        assert shaped.isnan().tolist() == raw.isnan().tolist() and bool(raw.isnan()[0])


def test_truncated_reads_the_last_token_and_not_the_padding(path: str) -> None:
    subject = trainer(path, None)
    ids = torch.tensor([[5, 6, 7, 0], [5, 1, 0, 0], [5, 6, 7, 1], [5, 6, 7, 8], [5, 6, 7, 8]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]])
    cut = truncated(subject, {"completion_ids": ids, "completion_mask": mask})
    assert cut.tolist() == [True, False, False, True, True]


def test_advantages_that_would_not_see_it_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="shaping: TRL's own advantages would not see it"):
        trainer(path, Shaping(clip=1.0), spec={"advantages": []})


@pytest.mark.parametrize("stop", [2, 3])
def test_a_resumed_run_goes_on_with_its_moments(path: str, tmp_path: Path, stop: int) -> None:
    make = lambda folder: trainer(
        path,
        Shaping(normalise=True, clip=1.0),
        output_dir=str(folder),
        save_strategy="steps",
        save_steps=100,
        shuffle_dataset=False,
    )
    whole = make(tmp_path / "whole")
    whole.train()
    first = make(tmp_path / "cut")
    first.add_callback(StopAt(first, stop))
    first.train()
    checkpoint = tmp_path / "cut" / f"checkpoint-{stop}"
    kept = json.loads((checkpoint / "trainer_state.json").read_text())["stateful_callbacks"]["ControlCallback"]
    assert RunningMoments.from_state(kept["attributes"]["moments"]) == first.shaper.moments != RunningMoments()
    second = make(tmp_path / "cut")
    second.train(resume_from_checkpoint=str(checkpoint))
    assert second.shaper.moments == whole.shaper.moments
    keys = ("step", "loss", "grad_norm")
    rows = [[[row[k] for k in keys] for row in t.state.log_history if "loss" in row] for t in (whole, second)]
    assert rows[0] == rows[1]
    assert all(math.isfinite(x) for row in rows[0] for x in row)
