"""What is handed to the loss of a batch, and what is not: forms, errors, and refusals before a loop starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from unit.rl_support import near

from entropostat.client import ClientLoss, Sample
from entropostat.recipe.errors import RecipeError

ROOT = Path(__file__).parents[2]
ROW = [-1.0, -2.0]
GOOD = Sample(mask=[1, 1], old_logps=ROW, reward=1.0, group=0)
BAD = {
    r"samples\[1\]\.old_logps: has 3 positions, and the mask has 2": replace(GOOD, old_logps=[-1.0] * 3),
    r"samples\[1\]\.mask: must hold 1": replace(GOOD, mask=[0.5, 1]),
    r"samples\[1\]\.reward: must be one number, not str": replace(GOOD, reward="high"),
    r"samples\[1\]\.group: must be a number or text": replace(GOOD, group=[1]),
    r"samples\[1\]\.old_logps: holds a number that is none": replace(GOOD, old_logps=[-1.0, float("nan")]),
    r"samples\[1\]\.old_logps: must be one number a position": replace(GOOD, old_logps=["a", "b"]),
    r"samples\[1\]\.reward: missing": replace(GOOD, reward=None),
    r"samples\[1\]\.group: missing": replace(GOOD, group=None),
    r"samples\[1\]\.old_logps: missing": replace(GOOD, old_logps=None),
    r"samples\[1\]\.advantages: grpo estimates them": replace(GOOD, advantages=1.0),
    r"samples\[1\]\.mask: must be one number a position": replace(GOOD, mask=[[1, 1]]),
    r"two have the same uid": replace(GOOD, uid=0),
}


@pytest.mark.parametrize("says", BAD)
def test_a_wrong_sample_is_refused_in_one_line(says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        ClientLoss({"advantages": ["grpo"], "loss": "ppo_clip"}).generation([GOOD, BAD[says]])
    assert "\n" not in str(error.value)


def test_rewards_that_nobody_can_learn_from_count_as_none(caplog: pytest.LogCaptureFixture) -> None:
    rows = [replace(GOOD, reward=reward) for reward in (0.0, 1.0, float("inf"), float("nan"), 1e30)]
    generation = ClientLoss({"advantages": ["grpo"], "loss": "ppo_clip"}).generation(rows)
    near(generation.rollout.advantages[2:], torch.zeros(3))
    assert generation.rollout.advantages[1] > 0.5 and "2 rewards are infinite or beyond 1e+15" in caplog.text


def test_a_group_is_the_number_in_a_tensor_and_not_the_tensor() -> None:
    loss = ClientLoss({"advantages": ["grpo"], "loss": "ppo_clip"})
    rows = [replace(GOOD, reward=float(i), group=torch.tensor(5)) for i in range(2)]
    assert loss.generation(rows).rollout.advantages.all()


def test_advantages_may_be_numbers_tensors_of_one_and_rows() -> None:
    given = [1.0, torch.tensor(2.0), [3.0, 4.0]]
    rows = [replace(GOOD, advantages=a) for a in given]
    assert ClientLoss({"loss": "ppo_clip"}).generation(rows).rollout.advantages.tolist() == [[1, 1], [2, 2], [3, 4]]
    assert ClientLoss({"loss": "ppo_clip"}).generation(rows[:2]).rollout.advantages.tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"samples\[0\]\.advantages: inf is not finite"):
        ClientLoss({"loss": "ppo_clip"}).generation([replace(GOOD, advantages=float("inf"))])


def test_a_recipe_is_taken_by_its_path() -> None:
    loss = ClientLoss(ROOT / "recipes" / "methods" / "ppo_clip.yaml")
    assert loss.objective.loss.name == "ppo_clip" and loss.reads == {"old_logps", "reward", "group"}


@pytest.mark.parametrize(
    ("says", "call"),
    [
        ("1 tensors for 2 samples", lambda loss: loss([GOOD, GOOD], [torch.zeros(2)])),
        (r"logprobs\[0\]: must be a tensor of \[2\]", lambda loss: loss([GOOD], [torch.zeros(3)])),
        (r"logprobs\[0\]: must be a tensor of \[2\], .* not list", lambda loss: loss([GOOD], [ROW])),
        ("entropy: given, and not promised", lambda loss: loss([GOOD], [torch.zeros(2)], entropy=[torch.zeros(2)])),
        ("rows: must be places of samples, from 0 to 0", lambda loss: loss.generation([GOOD]).part([1])),
        ("rows: must be places of samples", lambda loss: loss.generation([GOOD]).part([])),
        ("samples: there are none", lambda loss: loss([], [])),
        ("none has old_logps or sampler_logps", lambda loss: loss([replace(GOOD, old_logps=None)], [torch.zeros(2)])),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(says: str, call: Any) -> None:
    with pytest.raises(ValueError, match=says):
        call(ClientLoss({"advantages": ["grpo"], "loss": "ppo_clip"}))


@pytest.mark.parametrize(
    ("says", "spec", "options"),
    [
        ("did you mean 'kl_ref'", {"loss": "ppo_clip", "penalties": ["kl_reff"]}, {}),
        ("gives: 'entropies' is nothing that a loop can promise; did you mean 'entropy'", {"loss": "ppo_clip"}, {"gives": ["entropies"]}),
        ("'rewards' is nothing that a loop can promise; every loop gives it", {"loss": "ppo_clip"}, {"gives": ["rewards"]}),
        ("gives: must be a list", {"loss": "ppo_clip"}, {"gives": "entropy"}),
        (r"objective\.loss\.ppo_clip\.type: dr_grpo .* give max_length=", {"loss": {"ppo_clip": {"type": "dr_grpo"}}}, {}),
        ("passes: must be a whole number", {"loss": "ppo_clip"}, {"passes": 0}),
        ("lopti: lacks passes: .* over 2 .* makes 3", {"loss": "ppo_clip", "weights": ["lopti"]}, {"passes": 3}),
        ("kl_ref: lacks a trainer that moves its reference", {"loss": "ppo_clip", "penalties": [{"kl_ref": {"reference": "ema"}}]}, {"gives": ["ref_logps"]}),
        ("entropy_seq", {"loss": {"ppo_clip": {"epsilon": {"step": {"signal": "entropy_seq", "target": 1.0}}}}}, {}),
        ("entropy_ratio", {"loss": {"ppo_clip": {"epsilon": {"step": {"signal": "entropy_ratio", "target": 1.0}}}}}, {"gives": ["old_entropy"]}),
        ("give steps=", {"loss": {"ppo_clip": {"epsilon": {"schedule": {"points": [[0, 0.1], [1, 0.2]], "unit": "fraction"}}}}}, {}),
    ],
)  # fmt: skip
def test_what_a_loop_cannot_carry_is_said_before_it_starts(says: str, spec: Any, options: Any) -> None:
    with pytest.raises((ValueError, RecipeError), match=says):
        ClientLoss(spec, **options)
