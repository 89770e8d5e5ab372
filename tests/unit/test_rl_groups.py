"""Terms that look at whole prompt groups, by hand: answer clusters, SEED-GRPO, COPO, ADORA, hardness weights, PKPO and DCO."""

from __future__ import annotations

import math

import pytest
import torch
from unit.rl_support import batch_of, on_ranks, rows_of

from entropostat.rl.answers import answers_by_group
from entropostat.rl.objective import Objective
from entropostat.rl.registry import ADVANTAGES

NAN = math.nan
ONE = torch.zeros(6, dtype=torch.long)
HALVES = torch.tensor([0, 0, 0, 1, 1, 1])


def advantages(kind, batch, **options):
    return ADVANTAGES.build(kind, options)(batch)


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


def same(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def answered(*answers, groups=ONE, **changes):
    rows = len(answers)
    changes = {"advantages": torch.ones(rows, dtype=torch.float64), "groups": groups, "answers": answers, **changes}
    return batch_of(2, rows=rows, **changes)


# --------------------------------------------------------------------------------------------------------------- answers


def test_equal_keys_of_one_prompt_are_the_same_and_no_key_is_the_same_as_another():
    keys = ("a", "a", "b", "a", None, None)
    found = answers_by_group(batch_of(1, groups=HALVES, answers=keys))
    assert found.same[0].tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    assert found.same[1].tolist() == [[True, False, False], [False, False, False], [False, False, False]]
    assert found.parsed.tolist() == [[True] * 3, [True, False, False]]
    lost = answers_by_group(batch_of(1, groups=HALVES, answers=keys, rewards=doubles(1, NAN, 0, 0, 0, 0)))
    assert lost.parsed[0].tolist() == [True, False, True] and not lost.same[0, 1].any()


def test_keys_are_any_text_and_are_told_apart_whole():
    keys = ("", "\ud800", "x" * 10_000, "x" * 9_999 + "y", "1", "1 ")
    found = answers_by_group(batch_of(1, groups=ONE, answers=keys))
    assert torch.equal(found.same[0], torch.eye(6, dtype=torch.bool)) and found.parsed.all()
    with pytest.raises(ValueError, match="5 answer keys for 6 completions"):
        answers_by_group(batch_of(1, answers=keys[1:]))


def test_a_rank_without_a_single_key_still_meets_the_others():
    whole = batch_of(3, groups=ONE, answers=("a", "b", "a", None, None, None))
    parts = [rows_of(whole, slice(0, 3)), rows_of(whole, slice(3, 6)).set(answers=None)]
    found = on_ranks([lambda r, p=p: answers_by_group(p.set(reducer=r)).same for p in parts])
    assert all(torch.equal(each, answers_by_group(whole).same) for each in found)


# ------------------------------------------------------------------------------------------------------------------ seed


def test_one_answer_leaves_a_prompt_alone_and_all_different_ones_damp_it_by_alpha():
    for form, least in (("inverse", 1 / 1.6), ("linear", 0.4), ("exp", math.exp(-0.6))):
        for estimator in ("shannon", "mc"):
            options = {"alpha": 0.6, "form": form, "estimator": estimator}
            found, told = advantages("seed", answered(*"aaabcd", groups=HALVES), **options)
            same(found, doubles(1, 1, 1, least, least, least))
            assert told["smallest_weight"] == pytest.approx(least) and told["clusters"] == 2
    assert advantages("seed", answered(*"abcdef"), alpha=3.0, form="linear")[0].tolist() == [0] * 6


def test_the_estimators_of_seed_by_hand():
    batch = answered(*"aaabbc")
    shannon = -(0.5 * math.log(0.5) + math.log(1 / 3) / 3 + math.log(1 / 6) / 6)
    mc = -(math.log(0.5) + math.log(1 / 3) + math.log(1 / 6)) / 3
    assert advantages("seed", batch)[1]["semantic_entropy"] == pytest.approx(shannon)
    found, told = advantages("seed", batch, estimator="mc", normalise=False, alpha=0.02)
    assert told["semantic_entropy"] == pytest.approx(mc)
    same(found, torch.full((6,), 1 / (1 + 0.02 * mc), dtype=torch.float64))


def test_what_has_no_answer_is_a_cluster_each_or_one_or_none():
    batch = answered("a", "a", "a", None, None, None)
    entropy = {
        "singleton": 0.5 * math.log(2) + 0.5 * math.log(6),
        "shared": math.log(2),
        "drop": 0.0,
    }
    for unparsed, want in entropy.items():
        told = advantages("seed", batch, unparsed=unparsed)[1]
        assert told["semantic_entropy"] == pytest.approx(want, abs=1e-12) and told["unparsed"] == 0.5
    nothing = advantages("seed", answered(*[None] * 6))
    same(nothing[0], torch.full((6,), 0.5, dtype=torch.float64))
    assert advantages("seed", answered(*[None] * 6), unparsed="drop")[0].tolist() == [1] * 6


def test_a_likely_completion_weighs_more_in_its_cluster_whatever_its_length_and_one_without_tokens_nothing():
    mask = torch.tensor([[1, 1], [1, 0], [1, 0], [0, 0]]).double()
    logps = torch.tensor([[-1.0, -3.0], [-2.0, NAN], [-1.0, NAN], [NAN, NAN]]).double()
    batch = answered("a", "b", "c", "c", groups=ONE[:4], mask=mask, old_logps=logps, advantages=torch.ones(4).double())
    p = torch.softmax(doubles(-2.0, -2.0, -1.0), 0)
    want = -float((p * p.log()).sum())
    found, told = advantages("seed", batch, mass="likelihood")
    assert told["semantic_entropy"] == pytest.approx(want)
    same(found, torch.full((4,), 1 / (1 + want / math.log(4)), dtype=torch.float64))


def test_completions_without_a_reward_are_in_no_cluster():
    rewards = doubles(1, 0, NAN, NAN, NAN, NAN)
    told = advantages("seed", answered(*"aabcde", rewards=rewards))[1]
    assert told["semantic_entropy"] == 0 and told["clusters"] == 1 and told["weight"] == 1
    blank = advantages("seed", answered(*"aabcde", rewards=torch.full((6,), NAN).double()))[1]
    assert all(value.isnan() for value in blank.values())


# ----------------------------------------------------------------------------------------------------------------- adora


def of_lengths(lengths, rewards, cut=None, **changes):
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)).double()
    truncated = torch.zeros(len(lengths), dtype=torch.bool) if cut is None else torch.tensor(cut)
    ones = torch.ones(len(lengths), dtype=torch.float64)
    groups = torch.zeros(len(lengths), dtype=torch.long)
    changes = {"mask": mask, "rewards": doubles(*rewards), "truncated": truncated, "groups": groups, **changes}
    return batch_of(4, rows=len(lengths), width=max(lengths), advantages=ones, **changes)


ADORA = {
    # lengths, rewards, cut, options -> factor
    "the longest right one against the mean of the wrong": ([9, 1, 8, 6], [1, 1, 0, 0], None, {}, 1.0),
    "all of equal length": ([5, 5, 5, 5], [1, 1, 0, 0], None, {}, 0.1),
    "right ones are the short ones": ([3, 1, 8, 6], [1, 1, 0, 0], None, {"w_tds": 0.3}, 0.3),
    "what was cut off does not count": ([5, 5, 9, 4], [1, 1, 0, 0], [0, 0, 1, 0], {}, 1.0),
    "or counts": ([5, 5, 9, 4], [1, 1, 0, 0], [0, 0, 1, 0], {"exclude_truncated": False}, 0.1),
    "amplified where it holds": ([9, 1, 8, 6], [1, 1, 0, 0], None, {"mode": "amplify"}, 2.0),
    "and left alone elsewhere": ([3, 1, 8, 6], [1, 1, 0, 0], None, {"mode": "amplify"}, 1.0),
    "both criteria": ([9, 1, 8, 6], [1, 1, 1, 0], None, {"mode": "amplify", "criteria": "both"}, 1.0),
    "either criterion": ([9, 1, 8, 6], [1, 1, 1, 0], None, {"mode": "amplify", "criteria": "either"}, 2.0),
    "a half is hard": ([3, 1, 8, 6], [1, 1, 0, 0], None, {"criteria": "difficulty"}, 1.0),
    "more is not": ([9, 1, 8, 6], [1, 1, 1, 0], None, {"criteria": "difficulty"}, 0.1),
    "nothing right": ([9, 1, 8, 6], [0, 0, 0, 0], None, {}, 1.0),
    "nothing right fails": ([9, 1, 8, 6], [0, 0, 0, 0], None, {"no_correct": "tds"}, 0.1),
    "nothing wrong": ([9, 1, 8, 6], [1, 1, 1, 1], None, {}, 1.0),
    "nothing wrong fails": ([9, 1, 8, 6], [1, 1, 1, 1], None, {"no_incorrect": "tds"}, 0.1),
    "all wrong ones cut off": ([9, 1, 8, 6], [1, 1, 0, 0], [0, 0, 1, 1], {"no_incorrect": "tds"}, 0.1),
    "neither, with both keys": ([9, 1], [0, 0], [1, 1], {"no_incorrect": "tds"}, 1.0),
    "neither fails": ([9, 1], [0, 0], [1, 1], {"no_correct": "tds"}, 0.1),
    "an unknown one is neither right nor wrong": ([5, 1, 9, 4], [1, 1, NAN, 0], None, {}, 1.0),
}


@pytest.mark.parametrize("lengths, rewards, cut, options, want", ADORA.values(), ids=ADORA)
def test_adora_by_hand(lengths, rewards, cut, options, want):
    cut = None if cut is None else [bool(x) for x in cut]
    found, told = advantages("adora", of_lengths(lengths, rewards, cut), **options)
    same(found, torch.full((len(lengths),), want, dtype=torch.float64))
    assert told["weight"] == pytest.approx(want)


def test_adora_judges_each_prompt_by_itself_and_right_is_above_success():
    batch = of_lengths([9, 1, 1, 9], [3.0, 1.0, 3.0, 1.0], groups=torch.tensor([0, 0, 1, 1]))
    assert advantages("adora", batch, success=1.01)[0].tolist() == [1, 1, 0.1, 0.1]
    told = advantages("adora", batch, success=1.01)[1]
    assert [told[key] for key in ("advantageous", "longest_right", "mean_wrong")] == [0.5, 5, 5]


# ------------------------------------------------------------------------------------------------------------------ pshw


def test_hardness_runs_from_a_solved_prompt_to_a_hopeless_one():
    rewards = doubles(1, -1, -1, 1, 1, 1)
    found, told = advantages("pshw", batch_of(1, rewards=rewards, groups=HALVES))
    weight = -0.256 * (-1 / 3) + 1.256
    same(found, doubles(4 / 3, -2 / 3, -2 / 3, 0, 0, 0) * weight)
    assert told["weight"] == pytest.approx((weight + 1) / 2)
    binary, _ = advantages("pshw", batch_of(1, rewards=(rewards + 1) / 2, groups=HALVES), center=0.5, gain=2.0)
    same(binary, found)


# ------------------------------------------------------------------------------------------------------------ pkpo, dco


def test_pkpo_with_one_draw_is_rloo_and_with_all_of_them_the_lead_of_the_best():
    batch = batch_of(5, groups=HALVES)
    for baseline in ("loo", "loo_1"):
        same(advantages("pkpo", batch, k=1, baseline=baseline)[0], advantages("rloo", batch)[0])
        same(advantages("pkpo", batch, k=3, baseline=baseline)[0], 3 * advantages("passk_best", batch, scale="none")[0])
        same(advantages("pkpo", batch, k=9, baseline=baseline)[0], advantages("pkpo", batch, k=3)[0])


def test_pkpo_by_hand_and_nothing_of_its_group_but_the_rewards_that_are_there():
    rewards = doubles(3, 1, 2, NAN, 5, NAN)
    batch = batch_of(1, rewards=rewards, groups=torch.tensor([0, 0, 0, 0, 1, 1]))
    found, told = advantages("pkpo", batch, k=2, baseline="none")
    same(found, doubles(2 * 3, 2 * 2.5, 2 * 2.5, 0, 5, 0))
    assert told["max_at_k"] == pytest.approx(((3 + 3 + 2) / 3 + 5) / 2)
    same(advantages("pkpo", batch, k=2)[0], doubles(2 * 1.5, 0, 2 * 0.5, 0, 0, 0))


def test_dco_weighs_by_the_success_rate_of_the_prompt_and_with_one_draw_not_at_all():
    rewards = doubles(1, 0, NAN, 1, 1, 0.5)
    batch = batch_of(1, rewards=rewards, groups=HALVES, advantages=torch.ones(6).double())
    found, told = advantages("dco", batch, n=4, objective="coverage")
    weights = 4 * 0.5**3, 4 * (1 / 3) ** 3
    same(found, doubles(*[weights[0]] * 3, *[weights[1]] * 3))
    covered = 1 - 0.5**4, 1 - (1 / 3) ** 4
    assert told["coverage"] == pytest.approx(sum(covered) / 2) and told["weight"] == pytest.approx(sum(weights) / 2)
    found = advantages("dco", batch, n=4)[0]
    same(found, doubles(*[weights[0] / covered[0]] * 3, *[weights[1] / covered[1]] * 3))
    assert advantages("dco", batch, n=1, objective="coverage")[0].tolist() == [1] * 6
    assert advantages("dco", batch.set(rewards=rewards * 0), n=10**9)[0].isfinite().all()


# ------------------------------------------------------------------------------------------------------------------ copo


def copo(batch, advantages=("dr_grpo", "dr_grpo", {}), **options):
    o = Objective.build({"advantages": [advantages], "loss": ("copo", "copo", options)})
    rollout = o.rollout(batch)
    return o, batch.set(advantages=rollout.advantages), rollout.stats


def test_a_prompt_alone_in_its_generation_has_no_global_advantage_and_equal_prompts_have_none_either():
    for batch in (
        answered(*"abcabc", rewards=doubles(1, 0, 0, 1, 1, 0)),
        answered(*"abcabc", groups=HALVES, rewards=doubles(1, 0, 0.5, 0.5, 1, 0)),
        answered(*"abcabc", groups=HALVES, rewards=doubles(1, 0, 0.5, NAN, NAN, NAN)),
    ):
        for normalise in (True, False):
            stats = copo(batch, normalise=normalise)[2]["copo"]
            same(stats["global"], torch.zeros(6, dtype=torch.float64), 1e-8)
            assert stats["local"].isfinite().all()


def test_copo_compares_prompts_by_their_mean_reward_and_its_weight_is_their_entropy_in_bits():
    batch = answered("a", "a", "b", "c", None, None, groups=HALVES, rewards=doubles(1, 1, 0, 0, 0, 1))
    stats = copo(batch, k=2.0, b=0.5)[2]["copo"]
    mean, std = 0.5, math.sqrt(2) / 6
    z = (2 / 3 - mean) / (std + 1e-6)
    same(stats["global"], doubles(z, z, z, -z, -z, -z), 1e-6)
    bits = -(2 / 3) * math.log2(2 / 3) - math.log2(1 / 3) / 3  # without a key is one answer
    same(stats["local"], torch.full((6,), 1 / (1 + math.exp(-2 * (bits - 0.5)))).double(), 1e-7)
    wanted = {"wrong": [1, 1, 0, 0, 0, 1], "zero": [1, 1, 1, 1, 1, 1], "none": [1, 1, 1, 1, 1, 1]}
    for drop, kept in wanted.items():
        assert copo(batch, blend="local", drop=drop)[2]["copo"]["local"].tolist() == kept
    even = batch.set(rewards=doubles(1, 1, 1, 0, 0, 1))
    assert copo(even, blend="local", drop="zero")[2]["copo"]["local"].tolist() == [0, 0, 0, 1, 1, 1]


def test_the_reward_of_a_prompt_falls_with_its_entropy_where_that_is_asked_for():
    batch = answered(*"aaabcd", groups=HALVES, rewards=torch.ones(6).double())
    stats = copo(batch, consistency=True, normalise=False)[2]["copo"]
    same(stats["global"], doubles(*[1 / 3] * 3, *[-1 / 3] * 3))  # 1 against 1/G


def test_wrong_is_what_is_not_above_success_and_by_reference_what_is_zero():
    batch = answered(*"aabbcc", groups=HALVES, rewards=doubles(1, -1, -1, 1, -1, 0))
    kept = lambda **options: copo(batch, blend="local", drop="wrong", **options)[2]["copo"]["local"].tolist()
    assert kept() == kept(normalise=False) == [1, 0, 0, 1, 0, 0]
    assert kept(reference=True) == [1, 1, 1, 1, 1, 0]
    assert kept(reference=True, normalise=False) == [0] * 6


def test_copo_is_a_blend_of_losses_which_one_of_advantages_is_not():
    batch = answered(*"abcabb", groups=HALVES, rewards=doubles(1, 0, 0, 1, 1, 0))
    batch = batch.set(logps=batch.old_logps + torch.linspace(-1, 1, 42).view(6, 7).double() * batch.mask)
    o, batch, stats = copo(batch, coef=0.7, dual=1.5)
    w, between = (stats["copo"][key].unsqueeze(1) for key in ("local", "global"))
    ppo = Objective.build({"loss": ("ppo_clip", "ppo_clip", {"dual": 1.5})})
    by = lambda a: ppo.token_loss(batch.set(advantages=a.expand(6, 7)))[0]
    local = batch.advantages.unsqueeze(1)
    blended = w * by(local) + 0.7 * (1 - w) * by(between)
    same(o.token_loss(batch, stats)[0][batch.valid], blended[batch.valid])
    assert ((local * between) < 0).any()
    apart = (by(w * local + 0.7 * (1 - w) * between) - blended)[batch.valid].abs()
    assert apart.max() > 1e-2 and apart.min() == pytest.approx(0, abs=1e-12)


def test_the_bounds_of_copo_are_those_of_the_blend():
    batch = answered(*"aaabbb", groups=HALVES, rewards=doubles(1, 1, 1, 0, 0, 0))
    batch = batch.set(logps=batch.old_logps + 0.5 * batch.mask)
    o, batch, stats = copo(batch)
    low, high = o.loss.term.bounded(o.for_loss(batch, stats))
    assert not low.any() and torch.equal(high[:3] & batch.valid[:3], batch.valid[:3]) and not high[3:].any()
