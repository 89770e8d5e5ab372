"""Advantages that are reshaped, and the weights STEER and Clip_B: options, bounds and identities beyond golden vectors."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from unit.rl_support import batch_of, rollout_view

from entropostat.rl.control import Control
from entropostat.rl.objective import normalise_terms
from entropostat.rl.reduce import quantile
from entropostat.rl.registry import ADVANTAGES, CONTROLLERS, WEIGHTS

BINARY = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
TENS = torch.zeros(10, dtype=torch.long)


def build(advantages=("grpo",), weights=()):
    spec = {"advantages": normalise_terms(advantages), "weights": normalise_terms(weights)}
    return Control.build(spec | {"loss": ("unclipped", "unclipped", {})})


def term(kind, **options):
    return ADVANTAGES.build(kind, options)


def outcomes(right, n=10):
    """One group of ``n`` completions of which the first ``right`` are right."""
    rewards = (torch.arange(n) < right).double()
    return batch_of(0, rows=n, rewards=rewards, groups=torch.zeros(n, dtype=torch.long))


@pytest.mark.parametrize("kind", ["entropy_shaped", "entrocraft", "entropic", "edge"])
def test_a_reshaping_term_without_a_base_estimator_says_what_to_put_before_it(kind):
    with pytest.raises(ValueError, match=rf"{kind} reshapes advantages .* e\.g\. \[grpo"):
        term(kind)(batch_of(0).set(advantages=None))


def test_entropy_shaped_adds_at_most_a_share_of_the_advantage_and_keeps_its_sign():
    batch = batch_of(3)
    shaped, metrics = term("entropy_shaped", alpha=0.4, kappa=2.0)(batch)
    a, v = batch.token_advantages, batch.valid
    want = a + torch.minimum(0.4 * batch.old_entropy, a.abs() / 2)
    torch.testing.assert_close(shaped[v], want[v])
    assert (shaped[v].sign() == a[v].sign()).all() and (shaped >= a * batch.mask).all()
    torch.testing.assert_close(metrics["bonus"], (shaped - a)[v].mean())
    assert torch.equal(term("entropy_shaped", alpha=0.0)(batch)[0][v], a[v])


def test_entropy_shaped_stacks_on_token_advantages():
    once = term("entropy_shaped")(batch_of(3))[0]
    twice = term("entropy_shaped", kappa=4.0)(batch_of(3, advantages=once))[0]
    assert twice.shape == once.shape and (twice >= once).all() and not torch.equal(twice, once)


def test_entrocraft_switches_at_its_open_ends_and_shapes_like_the_chain():
    a = torch.tensor([2.0, -1.0, -1.0, 2.0, -1.0, -1.0], dtype=torch.float64)
    batch = batch_of(3, rewards=BINARY, advantages=a)
    batch = batch.set(old_entropy=torch.full_like(batch.mask, 0.5))
    for lower, upper, side in ((0.25, 0.4375, 1), (0.5, 0.75, 0), (0.25, 0.5, 0), (0.625, 0.75, -1)):
        shaped, metrics = term("entrocraft", lower=lower, upper=upper, center=0.5, gain=2.0)(batch)
        want = {1: BINARY, 0: a, -1: BINARY - 1}[side]
        torch.testing.assert_close(shaped, want)
        assert metrics["side"] == side
        torch.testing.assert_close(metrics["entropy"], torch.tensor(0.5, dtype=torch.float64))
        wide = term("entrocraft", lower=lower, upper=upper, center=0.5, gain=2.0)(
            batch.set(advantages=batch.token_advantages)
        )[0]
        torch.testing.assert_close(wide, want.unsqueeze(1).expand(6, 7))


def test_entropic_cuts_alpha_at_its_bound_and_is_the_chain_at_zero():
    batch = batch_of(3)
    a = batch.advantages
    assert torch.equal(term("entropic")(batch)[0], a)
    for alpha, applied in ((0.5, 0.5), (3.0, 0.9), (-3.0, -0.9)):
        shaped, metrics = term("entropic", alpha=alpha)(batch)
        torch.testing.assert_close(shaped, torch.where(a > 0, 1 + applied, 1 - applied) * a)
        assert float(metrics["alpha"]) == pytest.approx(applied)
    torch.testing.assert_close(term("entropic", alpha=3.0, bound=None)(batch)[0][a < 0], -2 * a[a < 0])


def test_the_entropic_rule_reads_its_integral_before_it_adds_to_it_holds_and_stops_winding():
    rule = CONTROLLERS.build("entropic", {"target": 0.5, "kp": 2.0, "ki": 0.1})
    state, first = rule.update(rule.init(), {"entropy": 0.9})
    assert first == pytest.approx(0.8) and state["integral"] == pytest.approx(0.04)
    assert rule.update(state, {"entropy": 0.5})[1] == pytest.approx(0.04)
    for missing in ({}, {"entropy": math.nan}):
        held, value = rule.update(state, missing)
        assert value == first and held["integral"] == state["integral"]
    for entropy, end in ((100.0, 0.9), (-100.0, -0.9)):
        assert rule.update(state, {"entropy": entropy})[0]["integral"] == pytest.approx(end)
    free = CONTROLLERS.build("entropic", {"limit": None})
    assert free.update(free.init(), {"entropy": 200.5})[0]["integral"] == pytest.approx(2.0)


def test_an_entropic_recipe_binds_the_rule_to_the_tilt():
    control = build(["grpo", {"entropic": {"alpha": {"entropic": {"target": 0.5}}}}])
    assert control.signals == {"entropy"}
    state = control.update(control.init(), {"entropy": 0.8})
    values = control.values(state)
    assert values == {"advantages.entropic.alpha": pytest.approx(0.3)}
    assert control.objective(values).advantages[1].term.alpha == pytest.approx(0.3)


def test_edge_scales_by_the_mean_entropy_over_the_completions_own():
    batch = batch_of(3)
    own = torch.stack([batch.old_entropy[i][batch.valid[i]].mean() for i in range(6)])
    factor = own.mean() / own
    shaped, metrics = term("edge", cap=None)(batch)
    torch.testing.assert_close(shaped, batch.advantages * factor)
    torch.testing.assert_close(metrics["factor"], factor.max())
    torch.testing.assert_close(term("edge", cap=1.0)(batch)[0], batch.advantages * factor.clamp(max=1))
    even = batch.set(old_entropy=torch.full_like(batch.mask, 0.7))
    torch.testing.assert_close(term("edge")(even)[0], batch.advantages)


def test_edge_leaves_alone_a_completion_without_tokens_or_entropy_and_counts_only_scored_ones():
    batch = batch_of(3)
    entropy, mask, rewards = batch.old_entropy.clone(), batch.mask.clone(), batch.rewards.clone()
    mask[1], entropy[2], rewards[3] = 0, 0.0, torch.nan
    shaped, _ = term("edge", cap=None)(batch.set(old_entropy=entropy, mask=mask, rewards=rewards))
    own = torch.stack([batch.old_entropy[i][batch.valid[i]].mean() for i in (0, 4, 5)])
    kept = torch.tensor([0, 4, 5])
    torch.testing.assert_close(shaped[kept], batch.advantages[kept] * (own.sum() / 4) / own)
    assert torch.equal(shaped[1:4], batch.advantages[1:4])


@pytest.mark.parametrize("right", range(11))
def test_qae_trains_on_the_rarer_outcome_only(right):
    shaped, metrics = term("qae", quantile=0.4, scale="none")(outcomes(right))
    rewards = outcomes(right).rewards
    want = rewards if right <= 6 else rewards - 1
    assert torch.equal(shaped, want)
    assert float(metrics["zero"]) == pytest.approx(float((want == 0).double().mean()))
    scaled = term("qae", quantile=0.4)(outcomes(right))[0]
    torch.testing.assert_close(scaled, want / (rewards.std() + 1e-4))


def test_qae_takes_the_inverse_of_the_distribution_and_never_a_value_between_two_rewards():
    rewards = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0], dtype=torch.float64)
    for k, baseline in ((0.2, 1.0), (0.21, 2.0), (0.6, 3.0), (0.61, 4.0), (0.99, 5.0)):
        batch = batch_of(0, rows=5, rewards=rewards, groups=TENS[:5])
        assert torch.equal(term("qae", quantile=k, scale="none")(batch)[0], rewards - baseline)


@pytest.mark.parametrize("n, k", [(6, 1), (6, 3), (5, 5), (3, 4)])
def test_passk_is_the_mean_advantage_over_all_subsets_that_contain_the_completion(n, k):
    for right in range(n + 1):
        rewards = outcomes(right, n).rewards.tolist()
        subsets = list(itertools.combinations(range(n), min(k, n)))
        best = {s: max(rewards[i] for i in s) for s in subsets}
        mean = sum(best.values()) / len(best)
        spread = math.sqrt(max(mean * (1 - mean), 0.0)) + 1e-6
        want = [
            (sum(best[s] for s in subsets if i in s) / sum(i in s for s in subsets) - mean) / spread for i in range(n)
        ]
        shaped, metrics = term("passk", k=k)(outcomes(right, n))
        torch.testing.assert_close(shaped, torch.tensor(want, dtype=torch.float64), rtol=1e-6, atol=1e-8)
        assert float(metrics["pass_at_k"]) == pytest.approx(mean, abs=1e-9)


def test_passk_is_exactly_zero_on_a_hopeless_prompt_whatever_the_rounding():
    for k in range(1, 32):
        assert (term("passk", k=k)(outcomes(0, 32))[0] == 0).all()


def test_w_reinforce_pays_by_its_threshold_and_skips_the_unscored():
    rewards = torch.tensor([1.0, 0.5, 0.0, -1.0, torch.nan, 2.0], dtype=torch.float64)
    batch = batch_of(0, rewards=rewards)
    for threshold, right in ((0.0, [0, 1, 5]), (0.5, [0, 5])):
        want = torch.full((6,), -1.0, dtype=torch.float64)
        want[right], want[4] = 0.1, 0.0
        assert torch.equal(term("w_reinforce", threshold=threshold)(batch)[0], want)
    assert term("w_reinforce", positive=0.3, negative=0.7)(batch)[0].tolist() == [0.3, 0.3, -0.7, -0.7, 0.0, 0.3]


@pytest.mark.parametrize("omega", ["theorem", "released"])
def test_steer_gives_the_largest_change_the_least_weight_and_never_less(omega):
    o = build(weights=[{"steer": {"omega": omega, "lambda_min": 0.4}}]).template
    batch = batch_of(3)
    view = rollout_view(batch)
    stats = o.rollout(view.set(rewards=batch.rewards)).stats
    batch = batch.set(advantages=o.rollout(view).advantages)
    weight, metrics = o.weight(view.set(advantages=batch.advantages), stats)
    v = batch.valid
    assert weight[v].min() == pytest.approx(0.4) and (weight[v] <= 1).all()
    size = (
        WEIGHTS.build("steer", {"omega": omega})._change(view.set(advantages=batch.advantages), view.old_entropy).abs()
    )
    torch.testing.assert_close(weight[v], 0.4 ** (size / size[v].max())[v])
    assert float(metrics["steer/mean"]) == pytest.approx(float(weight[v].mean()))
    later, _ = o.weight(batch.set(advantages=5 * batch.advantages), stats)  # beyond the maximum of the rollout
    assert later[v].min() >= 0.4 - 1e-12 and (later[~v] == 1).all()


def test_steer_is_one_without_advantages_and_with_a_least_weight_of_one():
    batch = batch_of(3)
    for options, changes in (({}, {"advantages": torch.zeros(6, dtype=torch.float64)}), ({"lambda_min": 1.0}, {})):
        steer = WEIGHTS.build("steer", {"scope": "micro"} | options)
        seen = batch.set(**changes)
        assert (steer(seen.set(stats=steer.prepare(seen)))[0] == 1).all()


def test_clip_b_drops_only_negative_tokens_far_below_the_mean_discriminator():
    batch = batch_of(3, rows=12, width=9)
    view, v = rollout_view(batch), batch.valid
    stats = WEIGHTS.build("clip_b", {"mu": 0.5}).prepare(view)
    s = batch.old_logps.clamp(max=0).exp() * (batch.old_entropy + batch.old_logps.clamp(max=0))
    mean, std = s[v].mean(), s[v].std(correction=0)
    torch.testing.assert_close(stats["mean"], mean)
    torch.testing.assert_close(stats["std"], std)
    want = v & (batch.token_advantages < 0) & (s < mean - 0.5 * std)
    assert want.any() and torch.equal(stats["dropped"], want)
    kept = WEIGHTS.build("clip_b", {"mu": 0.5, "denominator": "kept"})
    weight, _ = kept(batch.set(stats=kept.prepare(view)))
    torch.testing.assert_close(weight[v].mean(), torch.tensor(1.0, dtype=torch.float64))
    assert quantile(s[v], 0.0) < mean - 0.5 * std
