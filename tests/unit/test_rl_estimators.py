"""Estimators of advantages without a critic, by hand: REINFORCE++, the optimal baselines, the best of a group, GPG's factor."""

from __future__ import annotations

import pytest
import torch
from unit.rl_support import batch_of, near, on_ranks, rows_of

from entropostat.rl.registry import ADVANTAGES

ALL = [("reinforce_pp", {}), ("reinforce_pp", {"baseline": "group", "gamma": 0.9}), ("opo", {}), ("otb", {})]
ALL += [("passk_best", {}), ("passk_best", {"scale": "none"}), ("dr_grpo", {"rescale": True})]
each = pytest.mark.parametrize("kind, options", ALL, ids=[f"{k}-{'-'.join(map(str, o.values()))}" for k, o in ALL])


def advantages(kind, batch, **options):
    return ADVANTAGES.build(kind, options)(batch)[0]


def known(**changes):
    """Two prompts with three completions each; of 3, 1, 2, 2, 2 and 1 tokens, one of them with a hole."""
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 0], [1, 0, 0]]).double()
    rewards = torch.tensor([1.0, 0.0, 2.0, 0.5, 0.5, 0.0]).double()
    batch = batch_of(1, rows=6, width=3, mask=mask, rewards=rewards, groups=torch.tensor([0, 0, 0, 1, 1, 1]))
    return batch.set(**changes)


def test_the_length_weighted_mean_is_the_baseline_of_opo():
    first, second = (3 * 1 + 0 + 2 * 2) / 6, (2 * 0.5 + 2 * 0.5) / 5
    want = torch.tensor([1 - first, -first, 2 - first, 0.5 - second, 0.5 - second, -second]).double()
    near(advantages("opo", known()), want, 1e-6)
    even = known(mask=torch.ones(6, 3).double())
    near(advantages("opo", even), advantages("dr_grpo", even))


def test_the_baseline_of_a_token_is_weighted_by_what_each_completion_has_summed_up():
    chance = torch.full((6, 3), 0.5).double()
    sizes = [[0.6, 0.2, 0.5], [0.9, 0.9, 0.9], [0.3, 0.7, 0.4], [0.1, 0.2, 0.9], [0.8, 0.5, 0.9], [0.2, 0.9, 0.9]]
    batch = known(old_logps=chance.log(), sum_p2=torch.tensor(sizes).double())  # 1 - 2 / 2 + sum of p^2
    shaped, metrics = ADVANTAGES.build("otb", {})(batch)
    first, second = (0.6 * 1 + 0 + 0.3 * 2) / (0.6 + 0.9 + 0.3), (0.8 * 1 + 0.7 * 2) / (0.8 + 0.7)
    other = (0.1 * 0.5 + 0.8 * 0.5 + 0) / (0.1 + 0.8 + 0.2)
    want = torch.zeros(6, 3).double()
    want[:, 0] = torch.tensor([1 - first, -first, 2 - first, 0.5 - other, 0.5 - other, -other])
    want[0, 1] = 1 - second
    want[2, 2] = 2 - second  # its second token: the hole before it takes no place and adds no weight
    near(shaped, want, 1e-6)
    assert metrics["tail"] == pytest.approx(1 / 11)
    unscored = batch.rewards.index_fill(0, torch.tensor([3, 4, 5]), torch.nan)  # all of the second prompt
    counted = int(batch.valid[:3].sum())
    assert ADVANTAGES.build("otb", {})(batch.set(rewards=unscored))[1]["tail"] == pytest.approx(1 / counted)


def test_the_whole_generation_is_white_and_a_token_further_from_the_end_is_discounted():
    batch = known()
    shaped, metrics = ADVANTAGES.build("reinforce_pp", {"gamma": 0.5})(batch)
    returns = torch.tensor([0.25, 0.5, 1.0, 0.0, 1.0, 2.0, 0.25, 0.5, 0.25, 0.5, 0.0]).double()
    near(shaped[batch.valid], (returns - returns.mean()) / returns.std(), 1e-6)
    near(metrics["std"], returns.std())
    assert (shaped[batch.invalid] == 0).all()
    centred = torch.tensor([0, -1, 1, 1 / 6, 1 / 6, -1 / 3]).double().unsqueeze(1).expand(6, 3)[batch.valid]
    white = advantages("reinforce_pp", batch, baseline="group")[batch.valid]
    near(white, (centred - centred.mean()) / centred.std(), 1e-6)


def test_the_best_gets_what_it_is_ahead_and_a_tie_nothing():
    shaped, metrics = ADVANTAGES.build("passk_best", {"scale": "none"})(known())
    assert shaped.tolist() == [0, 0, 1.0, 0, 0, 0]
    assert metrics["decided"] == 0.5
    assert advantages("passk_best", known())[2] == pytest.approx(1 / (1 + 1e-6))
    unscored = known(rewards=torch.tensor([torch.nan, 0.0, 2.0, 0.5, 0.5, torch.nan]).double())
    assert advantages("passk_best", unscored, scale="none").tolist() == [0, 0, 2.0, 0, 0, 0]
    alone = known(groups=torch.arange(6))
    assert (advantages("passk_best", alone) == 0).all()


def test_gpgs_factor_is_that_of_all_completions_over_those_with_a_reward():
    near(advantages("dr_grpo", known(), rescale=True), 6 / 4 * advantages("dr_grpo", known()))
    nothing = known(rewards=torch.zeros(6).double())
    assert (advantages("dr_grpo", nothing, rescale=True) == 0).all()


@each
def test_groups_may_straddle_ranks_that_pad_to_other_widths(kind, options):
    batch = batch_of(8).set(groups=torch.tensor([0, 0, 1, 1, 1, 0]))
    want = advantages(kind, batch, **options)
    narrow = rows_of(batch, slice(0, 2))
    keep = 7 if narrow.mask[:, -1].any() else 6
    cut = {name: getattr(narrow, name)[:, :keep] for name in ("mask", "logps", "old_logps", "sum_p2")}
    shares = [narrow.set(**cut), rows_of(batch, slice(2, 6))]
    per_rank = on_ranks([lambda r, b=b: advantages(kind, b.set(reducer=r), **options) for b in shares])
    if want.dim() == 2:
        per_rank = [torch.nn.functional.pad(x, (0, 7 - x.shape[1])) for x in per_rank]
    near(torch.cat(per_rank), want)


@each
@pytest.mark.parametrize("garbage", [float("inf"), float("nan")])
def test_garbage_in_padding_changes_nothing(kind, options, garbage):
    batch = batch_of(9)
    dirty = {
        name: torch.where(batch.valid, getattr(batch, name), garbage)
        for name in ("logps", "old_logps", "sum_p2", "ref_logps")
    }
    near(advantages(kind, batch, **options), advantages(kind, batch.set(**dirty), **options), 0)


@each
def test_nothing_to_learn_from_gives_zero(kind, options):
    unscored = batch_of(2, rewards=torch.full((6,), torch.nan).double())
    empty = batch_of(2).set(mask=torch.zeros(6, 7).double())
    for batch in (unscored, empty):
        value, metrics = ADVANTAGES.build(kind, options)(batch)
        assert value.isfinite().all() and not any(x.isinf() for x in metrics.values())
        assert (value == 0).all() or value.dim() == 1
    assert (advantages(kind, unscored, **options) == 0).all()
