"""What the single terms compute, where no golden vector reaches: options, identity settings, degenerate groups."""

from __future__ import annotations

import pytest
import torch
from unit.rl_support import batch_of, gradients, rollout_view, total, with_leaves

from entropostat.rl.covariance import token_covariance
from entropostat.rl.divergences import KINDS, estimator
from entropostat.rl.objective import Objective
from entropostat.rl.registry import ADVANTAGES, LOSSES, PENALTIES, WEIGHTS

REWARDS = torch.tensor([1.0, 0.0, 0.5, 0.25, 2.0, 3.0], dtype=torch.float64)
GROUPS = torch.tensor([0, 0, 0, 1, 1, 2])


def build(**slots):
    spec = {"loss": ("unclipped", "unclipped", {})}
    for slot, (kind, options) in slots.items():
        spec[slot] = (kind, kind, options) if slot == "loss" else [(kind, kind, options)]
    return Objective.build(spec)


def advantages(kind, **options):
    term = ADVANTAGES.build(kind, options)
    return term(batch_of(0, rewards=REWARDS, groups=GROUPS))[0]


def by_group(f):
    return torch.cat([f(REWARDS[g == GROUPS]) for g in range(3)])


def test_grpo_scales_by_group_batch_or_nothing():
    centred = by_group(lambda r: r - r.mean())
    stds = by_group(lambda r: (r.std() if len(r) > 1 else r * 0).expand_as(r))
    torch.testing.assert_close(advantages("grpo"), centred / (stds + 1e-4))
    torch.testing.assert_close(advantages("grpo", scale="batch"), centred / (REWARDS.std() + 1e-4))
    torch.testing.assert_close(advantages("grpo", scale="none"), centred)
    torch.testing.assert_close(advantages("dr_grpo"), centred)
    torch.testing.assert_close(advantages("grpo", epsilon=0.5), centred / (stds + 0.5))


def test_grpo_reports_the_mean_spread_of_its_groups():
    metrics = ADVANTAGES.build("grpo")(batch_of(0, rewards=REWARDS, groups=GROUPS))[1]
    torch.testing.assert_close(
        metrics["std"], torch.stack([REWARDS[:3].std(), REWARDS[3:5].std(), REWARDS[0] * 0]).mean()
    )


def test_rloo_compares_with_the_mean_of_the_others():
    def others(r):
        if len(r) == 1:
            return r * 0
        return torch.stack([r[i] - torch.cat([r[:i], r[i + 1 :]]).mean() for i in range(len(r))])

    torch.testing.assert_close(advantages("rloo"), by_group(others))


IDENTITY = {
    "clip_cov outside of every band": {"weights": ("clip_cov", {"low": 1e6, "high": 2e6})},
    "high_entropy of all tokens": {"weights": ("high_entropy", {"fraction": 1.0})},
    "high_entropy of all tokens, by count": {
        "weights": ("high_entropy", {"fraction": 1.0, "rule": "ceil", "denominator": "kept"})
    },
    "kl_cov of size 0": {"penalties": ("kl_cov", {"coef": 0.0})},
    "kl_ref of size 0": {"penalties": ("kl_ref", {"coef": 0.0})},
    "entropy_bonus of size 0": {"penalties": ("entropy_bonus", {"coef": 0.0})},
    "ppo_clip without bounds in reach": {"loss": ("ppo_clip", {"epsilon": 1e6, "epsilon_high": 1e6, "clamp": None})},
}


@pytest.mark.parametrize("slots", IDENTITY.values(), ids=IDENTITY.keys())
def test_the_identity_setting_is_the_plain_loss_bit_for_bit(slots):
    batch = with_leaves(batch_of(3))
    plain, changed = total(build(), batch)[0], total(build(**slots), batch)[0]
    assert torch.equal(plain, changed)
    assert torch.equal(gradients(plain, batch)["logps"], gradients(changed, batch)["logps"])


def test_kl_cov_is_inert_at_the_rollout_policy():
    batch = with_leaves(batch_of(3, old_logps=batch_of(3).logps))
    for distance in ("abs", "k2", "k3"):
        o = build(penalties=("kl_cov", {"distance": distance, "fraction": 0.5}))
        plain, changed = total(build(), batch)[0], total(o, batch)[0]
        assert torch.equal(plain, changed)
        assert torch.equal(gradients(plain, batch)["logps"], gradients(changed, batch)["logps"])


def test_kl_cov_penalises_only_the_selected_and_by_the_chosen_distance():
    batch = batch_of(3)
    for distance, size in (
        ("abs", lambda d: d.abs()),
        ("k2", lambda d: d**2 / 2),
        ("k3", lambda d: d.exp() - d - 1),
    ):
        o = build(penalties=("kl_cov", {"distance": distance, "fraction": 0.2, "coef": 3.0}))
        stats = o.rollout(rollout_view(batch)).stats
        selected = stats["kl_cov"]["selected"]
        value, metrics = o.penalty(o.penalties[0], batch, stats)
        assert int(selected.sum()) == max(1, int(0.2 * batch.mask.sum()))
        torch.testing.assert_close(value, torch.where(selected, 3 * size(batch.logps - batch.old_logps), 0.0))
        torch.testing.assert_close(metrics["kl_cov/distance"], (batch.logps - batch.old_logps)[selected].abs().mean())
        share = float(selected.sum() / batch.mask.sum())
        assert float(metrics["kl_cov/fraction"]) == pytest.approx(share)


def test_clip_cov_draws_the_lowest_keys_of_the_band_from_the_old_policy():
    batch = batch_of(3, rows=8, width=9)
    o = build(weights=("clip_cov", {"low": 0.1, "high": 1.0, "fraction": 0.1}))
    stats = o.rollout(rollout_view(batch)).stats["clip_cov"]
    v = batch.valid
    a, l = batch.token_advantages, batch.old_logps
    cov = (a - a[v].mean()) * (l - l[v].mean())
    band = v & (cov > 0.1) & (cov < 1.0)
    assert torch.equal(stats["admissible"], band)
    assert int(stats["drawn"].sum()) == int(0.1 * v.sum())
    assert (stats["drawn"] & ~band).sum() == 0
    weight, metrics = o.weight(batch, {"clip_cov": stats})
    assert torch.equal(weight == 0, stats["drawn"])
    assert float(metrics["clip_cov/admissible"]) == pytest.approx(float(band.sum() / v.sum()))
    other = o.rollout(rollout_view(batch).set(generation=1)).stats["clip_cov"]
    assert not torch.equal(other["drawn"], stats["drawn"])


def test_clip_cov_never_draws_padding_however_wide_the_band():
    batch = batch_of(3)
    for scope in ("rollout", "micro"):
        term = WEIGHTS.build("clip_cov", {"low": -1e9, "high": 1e9, "fraction": 0.5, "scope": scope})
        stats = term.prepare(batch.set(clip=None))
        assert torch.equal(stats["admissible"], batch.valid)
        assert not (stats["drawn"] & ~batch.valid).any()


def test_the_covariance_is_zero_in_padding_and_sums_to_the_pooled_one():
    batch = batch_of(3)
    batch = batch.set(logps=torch.where(batch.valid, batch.logps, -7.0))
    cov, v = token_covariance(batch), batch.valid
    assert (cov[~v] == 0).all()
    pooled = torch.cov(torch.stack([batch.token_advantages[v], batch.logps[v]]), correction=0)[0, 1]
    torch.testing.assert_close(cov.sum() / v.sum(), pooled)


def test_log_means_run_over_the_valid_tokens_and_carry_no_graph():
    batch = with_leaves(batch_of(3))
    padded = torch.where(batch.valid, batch.logps, torch.nan)
    metrics = batch.means(a=padded, b=padded > -1)
    torch.testing.assert_close(metrics["a"], batch.logps[batch.valid].mean().detach())
    assert float(metrics["b"]) == pytest.approx(float((batch.logps[batch.valid] > -1).double().mean()))
    assert not metrics["a"].requires_grad
    assert batch.set(mask=torch.zeros_like(batch.mask)).means(a=padded)["a"].isnan()


def test_high_entropy_keeps_what_reaches_the_quantile_of_the_old_policy():
    batch = batch_of(3)
    o = build(weights=("high_entropy", {"fraction": 0.25}))
    weight, metrics = o.weight(batch, o.rollout(rollout_view(batch)).stats)
    threshold = torch.quantile(batch.old_entropy[batch.valid], 0.75)
    assert torch.equal(weight, (batch.valid & (batch.old_entropy >= threshold)).double())
    assert metrics["high_entropy/threshold"] == threshold
    now = WEIGHTS.build("high_entropy", {"fraction": 0.25, "scope": "micro"})
    threshold = torch.quantile(batch.entropy[batch.valid], 0.75)
    assert torch.equal(now.prepare(batch)["keep"], batch.valid & (batch.entropy >= threshold))


def test_high_entropy_divides_by_the_kept_tokens_if_asked():
    batch = batch_of(3)
    o = build(weights=("high_entropy", {"fraction": 0.25, "denominator": "kept", "rule": "floor"}))
    weight, _ = o.weight(batch, o.rollout(rollout_view(batch)).stats)
    assert int((weight > 0).sum()) == int(0.25 * batch.mask.sum())
    torch.testing.assert_close(weight.sum(), batch.mask.sum())


def test_high_entropy_counts_are_rounded_up_or_down_as_the_two_released_codes_do():
    for width, up, down in ((31, 7, 6), (32, 7, 6), (34, 7, 6), (35, 7, 7)):
        batch = batch_of(3, rows=1, width=width)
        batch = batch.set(mask=torch.ones_like(batch.mask), entropy=torch.arange(width).double().view(1, -1))
        for rule, count in (("ceil", up), ("floor", down)):
            keep = WEIGHTS.build("high_entropy", {"rule": rule, "scope": "micro"}).prepare(batch)["keep"]
            assert keep[0].tolist() == [i >= width - count for i in range(width)]


def test_entropy_bonus_divides_by_the_window_or_by_the_micro_batch():
    batch = batch_of(3, tokens=torch.tensor(100.0))
    h = batch.entropy[batch.valid]
    for reduction, mean in (("global", h.sum() / 100), ("trl", h.mean())):
        o = build(penalties=("entropy_bonus", {"coef": 0.3, "reduction": reduction}))
        value, metrics = o.penalty(o.penalties[0], batch, {})
        torch.testing.assert_close(value, -0.3 * mean)
        torch.testing.assert_close(metrics["entropy_bonus/entropy"], h.mean())


def test_kl_ref_multiplies_k3_by_the_ratio_unless_pathwise_and_bounds_its_exponent():
    batch = batch_of(3)
    x, d = batch.logps - batch.ref_logps, batch.logps - batch.old_logps
    for gradient, factor in (("exact", d.exp()), ("pathwise", 1.0)):
        o = build(penalties=("kl_ref", {"coef": 0.2, "gradient": gradient}))
        value, metrics = o.penalty(o.penalties[0], batch, {})
        torch.testing.assert_close(value, 0.2 * (torch.exp(-x) + x - 1) * factor)
        torch.testing.assert_close(metrics["kl_ref/k1"], x[batch.valid].mean())
        torch.testing.assert_close(metrics["kl_ref/kl"], (torch.exp(-x) + x - 1)[batch.valid].mean())
    far = batch.set(ref_logps=torch.where(batch.valid, batch.ref_logps + 30, 0.0))
    _, metrics = PENALTIES.build("kl_ref", {"clamp": 5.0})(far)
    assert metrics["clamped"] == 1
    assert float(metrics["k1"]) == -5


def test_ppo_clip_stops_only_the_gradient_that_leads_further_out_and_dual_clip_caps_the_rest():
    old = torch.zeros(1, 4)
    batch = batch_of(0, rows=1, width=4, dtype=torch.float32).set(
        mask=torch.ones(1, 4),
        old_logps=old,
        logps=torch.tensor([[1.4, 0.5, 0.5, 5.0]]).log().requires_grad_(),
        advantages=torch.tensor([[1.0, 1.0, -1.0, -1.0]]),
    )
    term = LOSSES.build("ppo_clip", {"epsilon": 0.2, "epsilon_high": 0.3, "dual": 3.0})
    loss, metrics = term(batch)
    torch.testing.assert_close(loss, torch.tensor([[-1.3, -0.5, 0.8, 3.0]]))
    (g,) = torch.autograd.grad(loss.sum(), batch.logps)
    torch.testing.assert_close(g, torch.tensor([[0.0, -0.5, 0.0, 0.0]]))
    assert float(metrics["clip_fraction"]) == 0.5 and float(metrics["dual_fraction"]) == 0.25
    far, _ = LOSSES.build("ppo_clip", {"clamp": 1.0})(batch)
    torch.testing.assert_close(far[0, 3], torch.tensor(1.0).exp())


def test_only_the_policy_terms_carry_the_samplers_correction():
    batch, rho = batch_of(3), torch.full((6, 7), 2.0, dtype=torch.float64)
    plain, _ = build().token_loss(batch)
    torch.testing.assert_close(build().token_loss(batch, correction=rho)[0], 2 * plain)
    for kind, factor in (("kl_cov", 2.0), ("kl_ref", 1.0)):
        o = build(penalties=(kind, {"coef": 1.0}))
        stats = o.rollout(rollout_view(batch)).stats
        alone = o.penalty(o.penalties[0], batch, stats)[0]
        torch.testing.assert_close(o.token_loss(batch, stats, rho)[0], 2 * plain + factor * alone)


def test_without_old_log_probs_the_ratio_is_one_and_keeps_its_gradient():
    batch = with_leaves(batch_of(3)).set(old_logps=None)
    loss, _ = build().token_loss(batch)
    assert torch.equal(loss[batch.valid], -batch.token_advantages[batch.valid])
    g = gradients(loss.sum(), batch)["logps"]
    torch.testing.assert_close(g, torch.where(batch.valid, -batch.token_advantages, 0.0))


def test_estimators_know_their_kinds():
    x = torch.tensor([-0.5, 0.25], dtype=torch.float64)
    for kind in KINDS:
        assert torch.equal(estimator(x, f"{kind}+"), estimator(x, kind))
    with pytest.raises(ValueError, match="unknown estimator 'k4'; known: k1"):
        estimator(x, "k4")


def test_a_missing_field_and_a_missing_rollout_are_named():
    with pytest.raises(ValueError, match=r"reads batch\.ref_logps but nothing filled it"):
        PENALTIES.build("kl_ref")(batch_of(0, ref_logps=None))
    with pytest.raises(ValueError, match="clip_cov has scope: rollout, but nothing called"):
        build(weights=("clip_cov", {})).weight(batch_of(0), {})
