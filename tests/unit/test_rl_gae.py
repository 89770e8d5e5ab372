"""Advantages from a critic: the recursion by hand, holes, cuts, whitening over ranks, and what the term asks for."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.rl_support import batch_of, near, on_ranks, rows_of

from entropostat.rl.control import Control
from entropostat.rl.divergences import divergence
from entropostat.rl.registry import ADVANTAGES
from entropostat.rl.returns import discounted

few = settings(max_examples=15, deadline=None, derandomize=True)
seeds = st.integers(0, 10_000)
KL = {"kl_coef": 0.4}


def gae(**options):
    return ADVANTAGES.build("gae", options)


def by_hand(batch, gamma, lam, coef, kind, bootstrap=True):
    """Token by token, backwards, as the textbook has it."""
    advantages, returns = torch.zeros(2, *batch.mask.shape, dtype=torch.float64)
    chosen = divergence(kind)
    for row in range(batch.mask.shape[0]):
        at = [t for t in range(batch.mask.shape[1]) if batch.mask[row, t]]
        score = float(batch.rewards[row])
        ahead, value_ahead = 0.0, 0.0
        if at and batch.truncated[row] and bootstrap:
            value_ahead = float(batch.old_values[row, at[-1] + 1])
        for t in reversed(at):
            x = batch.logps[row, t] - batch.ref_logps[row, t]
            k = float(x if kind == "reverse_kl" else chosen.k(x))
            own = float(chosen.slope(x) - chosen.slope(x * 0)) - k
            value = float(batch.old_values[row, t])
            delta = (score if t == at[-1] else 0.0) - coef * k + gamma * value_ahead - value
            ahead, value_ahead = delta + gamma * lam * ahead, value
            if math.isfinite(score):
                advantages[row, t], returns[row, t] = ahead - coef * own, ahead + value
            else:
                returns[row, t] = value
    return advantages, returns


@few
@given(
    seed=seeds,
    gamma=st.sampled_from([0.9, 1.0]),
    lam=st.sampled_from([0.0, 0.7, 1.0]),
    kind=st.sampled_from(["reverse_kl", "forward_kl", "hellinger2"]),
    bootstrap=st.booleans(),
)
def test_it_is_the_recursion_over_the_tokens_of_the_policy(seed, gamma, lam, kind, bootstrap):
    batch = batch_of(seed)
    batch = batch.set(logps=batch.old_logps, rewards=torch.where(torch.arange(6) == 4, torch.nan, batch.rewards))
    term = gae(gamma=gamma, lam=lam, divergence=kind, bootstrap=bootstrap, whiten=False, **KL)
    want = by_hand(batch, gamma, lam, 0.4, kind, bootstrap)
    for estimated, expected in zip(term.estimate(batch), want, strict=True):
        near(estimated, expected)
    near(term(batch)[0], want[0])


def test_a_finished_completion_by_hand():
    batch = batch_of(0, rows=1, width=4).set(
        mask=torch.tensor([[1.0, 0.0, 1.0, 0.0]]).double(),
        rewards=torch.tensor([2.0]).double(),
        truncated=torch.tensor([False]),
        old_values=torch.tensor([[0.5, 9.0, 1.5, 7.0, 8.0]]).double(),
    )
    advantages, returns = gae(gamma=0.5, lam=0.5, whiten=False).estimate(batch)
    # the last: 2 - 1.5; the first: 0.5 * 1.5 - 0.5 = 0.25, and a quarter of what comes after
    near(advantages, torch.tensor([[0.25 + 0.25 * 0.5, 0.0, 0.5, 0.0]]).double())
    near(returns, torch.tensor([[0.5 + 0.375, 0.0, 2.0, 0.0]]).double())
    cut = batch.set(truncated=torch.tensor([True]))
    near(gae(gamma=0.5, lam=0.0, whiten=False).estimate(cut)[0][0, 2], torch.tensor(2 + 0.5 * 7 - 1.5).double())


@few
@given(seed=seeds, garbage=st.sampled_from([float("inf"), float("nan"), 1e30]))
def test_garbage_in_padding_and_after_a_finished_completion_changes_nothing(seed, garbage):
    batch = batch_of(seed)
    read = torch.nn.functional.pad(batch.valid, (0, 1))
    last = torch.where(batch.valid, torch.arange(7), -1).amax(1)
    ends = batch.truncated & (last >= 0)
    read[ends, last[ends] + 1] = True
    dirty = batch.set(
        logps=torch.where(batch.valid, batch.logps, garbage),
        old_logps=torch.where(batch.valid, batch.old_logps, garbage),
        ref_logps=torch.where(batch.valid, batch.ref_logps, garbage),
        old_values=torch.where(read, batch.old_values, garbage),
    )
    for term in (gae(**KL), gae(**KL, divergence="js")):
        (a, metrics), (b, metrics2) = term(batch), term(dirty)
        assert (a == b).all() and (b[batch.invalid] == 0).all()
        assert all(bool(metrics[key] == metrics2[key]) for key in metrics)
        for clean, spoiled in zip(term.estimate(batch), term.estimate(dirty), strict=True):
            assert (clean == spoiled).all() and (spoiled[batch.invalid] == 0).all()


@few
@given(seed=seeds)
def test_the_width_of_the_padding_does_not_matter(seed):
    batch = batch_of(seed)
    wide = {
        name: torch.nn.functional.pad(getattr(batch, name), (0, 5))
        for name in ("logps", "old_logps", "ref_logps", "mask", "old_values")
    }
    for a, b in zip(gae(**KL).estimate(batch), gae(**KL).estimate(batch.set(**wide)), strict=True):
        near(a, b[:, :7])


@few
@given(seed=seeds)
def test_whitening_keeps_the_order_and_gives_mean_zero_and_deviation_one_over_the_tokens_that_count(seed):
    batch = batch_of(seed)
    batch = batch.set(rewards=torch.where(torch.arange(6) == 2, torch.nan, batch.rewards))
    raw, (white, metrics) = gae().estimate(batch)[0], gae()(batch)
    counted = batch.valid & (torch.arange(6) != 2).unsqueeze(1)
    near(white[counted].mean(), torch.tensor(0.0).double(), 1e-9)
    near(white[counted].std(), torch.tensor(1.0).double(), 1e-6)
    assert (white[~counted] == 0).all()
    assert (raw[counted].argsort() == white[counted].argsort()).all()
    near(metrics["std"], raw[counted].std())


def test_two_ranks_give_what_one_process_gives():
    batch = batch_of(3)
    want, metrics = gae(**KL)(batch)
    shares = [slice(0, 1), slice(1, 6)]
    per_rank = on_ranks([lambda r, s=s: gae(**KL)(rows_of(batch, s).set(reducer=r)) for s in shares])
    near(torch.cat([a for a, _ in per_rank]), want)
    for _, seen in per_rank:
        near(seen["std"], metrics["std"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", ["reverse_kl", "chi2_ref_pi", "jeffreys"])
def test_infinite_log_ratios_give_finite_advantages_returns_and_metrics(kind, dtype):
    batch = batch_of(1, dtype=dtype)
    inf = torch.tensor(float("inf"), dtype=dtype)
    old = torch.where(torch.rand(6, 7) < 0.5, -inf, batch.old_logps)
    ref = torch.where(torch.rand(6, 7) < 0.5, -inf, batch.ref_logps)
    term = gae(**KL, divergence=kind)
    batch = batch.set(logps=old, old_logps=old, ref_logps=ref)
    advantages, metrics = term(batch)
    assert all(x.isfinite().all() for x in (advantages, *term.estimate(batch), *metrics.values()))
    assert advantages.dtype == dtype and metrics["clamped"] > 0


def test_nothing_to_learn_from_gives_zero():
    nothing = batch_of(2).set(mask=torch.zeros(6, 7).double())
    for x in (gae(**KL)(nothing)[0], *gae(**KL).estimate(nothing)):
        assert (x == 0).all()
    metrics = gae(**KL)(nothing)[1]
    assert metrics.pop("truncated") == nothing.truncated.double().mean() and all(x.isnan() for x in metrics.values())
    unscored = batch_of(2, rewards=torch.full((6,), torch.nan).double())
    advantages, returns = gae(**KL).estimate(unscored)
    assert (advantages == 0).all()
    near(returns, torch.where(unscored.valid, unscored.old_values[:, :-1], 0.0))


def test_one_token_is_its_own_mean_and_its_raw_advantage_stays():
    batch = batch_of(4, rows=1, width=1).set(truncated=torch.tensor([False]))
    assert gae()(batch)[0].item() == 0
    near(gae(whiten=False)(batch)[0].view(()), batch.rewards[0] - batch.old_values[0, 0])


def test_sums_of_discounted_terms_agree_with_a_loop_at_any_length():
    for width in (1, 2, 3, 8, 130):
        x = torch.randn(2, width, generator=torch.Generator().manual_seed(width), dtype=torch.float64)
        for decay in (0.0, 0.95, 1.0):
            want, ahead = torch.zeros_like(x), torch.zeros(2, dtype=torch.float64)
            for t in reversed(range(width)):
                ahead = x[:, t] + decay * ahead
                want[:, t] = ahead
            near(discounted(x, decay), want, 1e-10)


def test_only_a_divergence_in_the_reward_asks_for_the_reference_whatever_the_first_value_of_its_controller():
    def control(**options):
        return Control.build({"advantages": [("gae", "gae", options)], "loss": ("ppo_clip", "ppo_clip", {})})

    asks = {"rewards", "old_values", "truncated"}
    assert control().template.rollout_needs == asks
    late = {"schedule": {"points": [[0, 0.0], [10, 0.1]]}}
    for coef in (0.0, 0.1, late):
        assert control(kl_coef=coef).template.rollout_needs == asks | {"old_logps", "ref_logps"}
    assert [knob.clock for knob in control(kl_coef=late).knobs] == ["rollout"]


def test_its_own_divergence_costs_nothing_at_the_reference_and_a_fixed_amount_beside_it():
    batch = batch_of(5)
    at = batch.set(ref_logps=batch.logps)
    near(gae(**KL, whiten=False)(at)[0], gae(whiten=False)(at)[0])
    term = gae(kl_coef=2.0, whiten=False)
    near(
        term(batch)[0] - gae(whiten=False)(batch)[0],
        2 * (gae(kl_coef=1.0, whiten=False)(batch)[0] - gae(whiten=False)(batch)[0]),
    )
    x = torch.where(batch.valid, batch.logps - batch.ref_logps, 0.0)
    near(term(batch)[1]["cost"], 2 * x.sum() / batch.count)
    near(term(batch)[1]["kl"], (torch.exp(-x) + x - 1).sum() / batch.count)
