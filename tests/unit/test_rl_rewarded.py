"""How the terms of the slot ``rewards`` are chained, and which rewards nobody can learn from."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from unit.rl_support import batch_of

from entropostat.rl import registry
from entropostat.rl.info import LARGEST_REWARD
from entropostat.rl.objective import Objective
from entropostat.rl.registry import REGISTRIES, Registry
from entropostat.rl.rewarded import usable
from entropostat.rl.rewards.diversity import gram_counts
from entropostat.rl.term import Reward

each = pytest.mark.parametrize
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def own(monkeypatch):
    """A registry of terms that give what they are told."""
    mine = Registry("rewards", "entropostat.rl.rewards", Reward)
    monkeypatch.setattr("entropostat.rl.objective.REWARDS", mine)
    monkeypatch.setitem(registry.REGISTRIES, "rewards", mine)

    @mine.register("gives", paper="none", provides={"n": "generations"})
    @dataclass(frozen=True)
    class Gives(Reward):
        value: str = "1"
        shape: str = "right"

        def remember(self, batch):
            return {"n": batch.memory.get("n", 0.0) + 1}

        def __call__(self, batch):
            after = batch.rewards.clone()
            after[1] += float(self.value)
            told = {"n": torch.tensor(batch.memory.get("n", 0.0))}
            return after if self.shape == "right" else after[:-1], told

    def build(*options):
        parts = [(f"t{i}", "gives", o) for i, o in enumerate(options)]
        return Objective.build({"loss": ("unclipped", "unclipped", {}), "rewards": parts})

    return build


def test_terms_are_chained_and_each_has_its_own_memory(own):
    batch = batch_of(1)
    found = own({"value": "2"}, {"value": "0.5"}).reward(batch, {"t1": {"n": 4.0}}, learn=True)
    assert (found.rewards - batch.unshaped).tolist() == [0, 2.5, 0, 0, 0, 0]
    assert found.memory == {"t0": {"n": 1.0}, "t1": {"n": 5.0}}
    assert {key: float(value) for key, value in found.metrics.items()} == {"t0/n": 1.0, "t1/n": 5.0}


@each("value", [NAN, INF, -INF, 1e16, -1e300])
def test_a_reward_that_nobody_can_learn_from_is_lost_and_counted_and_nothing_else_is(own, value):
    batch = batch_of(1, unshaped=torch.tensor([1.0, 1.0, NAN, 0.0, 1.0, 0.0], dtype=torch.float64))
    found = own({"value": str(value)}, {}).reward(batch, {}, learn=True)
    assert found.rewards.isnan().tolist() == [False, True, True, False, False, False]
    assert float(found.lost) == pytest.approx(1 / 5)


def test_too_many_or_too_few_rewards_are_one_line(own):
    with pytest.raises(ValueError, match=r"^t0 gives rewards of shape \[5\], not \[6\]$"):
        own({"shape": "short"}).reward(batch_of(1), {}, learn=True)


def test_the_bound_of_a_reward_is_itself_allowed():
    x = torch.tensor([LARGEST_REWARD, -LARGEST_REWARD, 1.01 * LARGEST_REWARD, INF, NAN, 0.0], dtype=torch.float64)
    assert usable(x).isnan().tolist() == [False, False, True, True, True, False]


def test_the_slot_is_registered_before_the_advantages():
    assert list(REGISTRIES)[:2] == ["rewards", "advantages"]


def test_grams_of_a_large_vocabulary_spread_over_all_places():
    ids = torch.randint(0, 150_000, (1, 4000), generator=torch.Generator().manual_seed(0))
    counts = gram_counts(ids, torch.ones_like(ids).bool(), 3)
    assert (counts > 0).double().mean() > 0.8 and counts.max() < 12
