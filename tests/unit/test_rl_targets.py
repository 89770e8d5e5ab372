"""Terms that hold entropy or a divergence at a target: bounds, scopes and identities beyond golden vectors and theory."""

from __future__ import annotations

import math

import pytest
import torch
from unit.rl_support import batch_of, gradients, objective, rollout_view, rows_of, rows_of_stats, with_leaves

from entropostat.rl.divergences import DIVERGENCES, divergence
from entropostat.rl.objective import Objective
from entropostat.rl.registry import ADVANTAGES, PENALTIES
from entropostat.rl.sequence import row_quantile
from entropostat.rl.vocab_sums import Wanted


def penalise(kind, batch, stats=None, **options):
    """Penalty, gradients by field, and metrics."""
    o = objective(("penalties", kind, options))
    batch = with_leaves(batch)
    stats = o.rollout(rollout_view(batch)).stats if stats is None else stats
    value, metrics = o.penalty(o.penalties[0], batch, stats)
    return value, gradients(value, batch), metrics


def halves(batch):
    return [rows_of(batch, s) for s in (slice(0, 3), slice(3, 6))]


# ------------------------------------------------------------------------------------------ targeted entropy


def uneven():
    """Two micro-batches on different sides of 0.6; the generation is above it."""
    batch = batch_of(4)
    entropy = torch.where(torch.arange(6).unsqueeze(1) < 3, 1.0, 0.3).expand(6, 7).double() * batch.mask
    return batch.set(entropy=entropy, old_entropy=entropy, mask=torch.cat([batch.mask[:3], batch.mask[3:]]))


def test_ter_decides_its_side_on_the_generation_and_the_formula_on_each_micro_batch():
    batch = uneven()
    o = objective(("penalties", "ter", {"target": 0.6, "coef": 0.5}))
    stats = o.rollout(rollout_view(batch)).stats
    for part, own in zip(halves(batch), (1, -1), strict=True):
        value, slopes, metrics = penalise("ter", part, stats, target=0.6, coef=0.5)
        want = 0.5 * part.mask / part.tokens
        torch.testing.assert_close(slopes["entropy"], want)
        assert metrics["ter/side"] == 1
        assert value.sign() == own  # its distance to the target keeps its sign
        literal, slopes, metrics = penalise("ter", part, target=0.6, coef=0.5, scope="micro")
        torch.testing.assert_close(slopes["entropy"], own * 0.5 * part.mask / part.mask.sum())
        torch.testing.assert_close(literal.detach(), torch.tensor(0.5 * abs((1.0 if own > 0 else 0.3) - 0.6)).double())


def test_ter_follows_the_old_policy_until_the_next_generation_looks_again():
    batch = uneven()
    crossed = batch.set(old_entropy=batch.old_entropy * 0)
    assert penalise("ter", crossed, target=0.6)[2]["ter/side"] == -1
    assert penalise("ter", crossed, target=0.6, scope="micro")[2]["ter/side"] == 1


# ------------------------------------------------------------------------------------------ SIREN


def mean_of_means(batch, q=0.8):
    rows = []
    for h, valid in zip(batch.nucleus_entropy, batch.valid, strict=True):
        if not valid.any():
            continue
        own = h[valid]
        kept = own[own > torch.quantile(own, q)]
        rows.append(kept.mean() if kept.numel() else h.new_zeros(()))
    return torch.stack(rows).mean()


def test_siren_is_the_square_of_the_mean_over_sequences_of_their_most_uncertain_tokens():
    batch = batch_of(2, width=20)
    batch = batch.set(mask=torch.cat([batch.mask[:1] * 0, batch.mask[1:]]))
    h = mean_of_means(batch)
    value, _, metrics = penalise("siren", batch, anchor=0.4, coef=0.5, scope="micro")
    torch.testing.assert_close(metrics["siren/entropy"], h)
    torch.testing.assert_close(value.detach(), 0.5 * (h - 0.4).square())
    torch.testing.assert_close(metrics["siren/slope"], h - 0.4)
    bound = row_quantile(batch.nucleus_entropy, 0.8, batch)
    kept = ((batch.nucleus_entropy > bound) & batch.valid).sum() / batch.valid.sum()
    torch.testing.assert_close(metrics["siren/kept"], kept.to(batch.mask.dtype))


def test_siren_has_the_formulas_gradient_at_the_start_of_a_generation_and_sequences_weigh_alike_in_every_slice():
    batch = batch_of(2, width=20)
    batch = batch.set(mask=torch.cat([batch.mask[:3], batch.mask[3:] * (torch.arange(20) < 9)]))
    batch = batch.set(tokens=batch.mask.sum())
    options = {"anchor": 0.4, "coef": 0.5}
    _, literal, _ = penalise("siren", batch, **options, scope="micro")
    _, whole, _ = penalise("siren", batch, **options)
    torch.testing.assert_close(whole["nucleus_entropy"], literal["nucleus_entropy"])
    # A micro-batch of a trainer: tokens is its even share of the generation, its own count is another.
    stats = objective(("penalties", "siren", options)).rollout(rollout_view(batch)).stats
    for i, part in enumerate(halves(batch.set(tokens=batch.tokens / 2))):
        rows = slice(3 * i, 3 * i + 3)
        _, slopes, _ = penalise("siren", part, rows_of_stats(stats, rows), **options)
        torch.testing.assert_close(slopes["nucleus_entropy"] / 2, whole["nucleus_entropy"][rows])


def test_siren_wants_an_anchor_and_says_what_it_reads_from_the_vocabulary():
    with pytest.raises(TypeError, match="anchor"):
        PENALTIES.build("siren")
    asked = Objective.build(
        {"loss": ("unclipped", "unclipped", {}), "penalties": [("siren", "siren", {"anchor": 1.0, "reference": True})]}
    )
    for names in (asked.needs, asked.rollout_needs):
        assert asked.vocabulary(names) == Wanted((), top_p=0.8, top_k=1024, crossing=False)


# ------------------------------------------------------------------------------------------ STEER


@pytest.mark.parametrize("scope", ["rollout", "ranks", "micro"])
def test_steer_reads_the_vocabulary_only_for_the_full_omega_and_in_the_phase_of_its_scope(scope):
    sums = {"sum_p2", "sum_p2_logp"}
    for omega in ("theorem", "released", "full"):
        spec = {
            "loss": ("unclipped", "unclipped", {}),
            "weights": [("steer", "steer", {"omega": omega, "scope": scope})],
        }
        o = Objective.build(spec)
        assert (sums <= o.needs) is (omega == "full" and scope != "rollout")
        assert (sums <= o.rollout_needs) is (omega == "full" and scope == "rollout")


# ------------------------------------------------------------------------------------------ DCPO

RIGHT = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64)


def dcpo_batch(h=0.45, **changes):
    batch = batch_of(6, rewards=RIGHT)
    batch = batch.set(old_entropy=torch.full_like(batch.mask, h))
    return batch.set(**changes)


def dcpo(batch, **options):
    return ADVANTAGES.build("dcpo", options)(batch)


def test_dcpo_blends_the_chain_with_the_virtual_ratio_of_right_completions():
    batch = dcpo_batch()
    blended, metrics = dcpo(batch, target=0.5)
    alpha = (0.05 * 3) / (1 + 0.05 * 3)  # a third is right
    rho = (batch.logit / 1.2 - batch.lse[1.2] - batch.old_logps).exp().clamp(0.2, 5.0)
    want = (1 - alpha) * batch.token_advantages + alpha * RIGHT.unsqueeze(1) * rho
    torch.testing.assert_close(blended, torch.where(batch.valid, want, 0.0))
    told = {name: float(metrics[name]) for name in ("alpha", "temperature", "rate", "entropy")}
    assert told == pytest.approx({"alpha": alpha, "temperature": 1.2, "rate": 1 / 3, "entropy": 0.45})


@pytest.mark.parametrize("h, t", [(0.45, 1.2), (0.5, 1.2), (0.55, 0.8)])
def test_dcpo_takes_its_hot_policy_at_the_target_and_the_cold_one_above(h, t):
    assert float(dcpo(dcpo_batch(h), target=0.5)[1]["temperature"]) == t


def test_dcpo_stops_growing_at_its_cap_and_at_its_least_rate():
    far, farther = (float(dcpo(dcpo_batch(h))[1]["alpha"]) for h in (0.7, 3.0))
    assert far == farther == pytest.approx(0.3 / 1.3)
    few = dcpo_batch(3.0, rewards=torch.tensor([1.0, 0, 0, 0, 0, 0]).double())
    assert float(dcpo(few, least_rate=0.5)[1]["alpha"]) == pytest.approx(0.2 / 1.2)
    assert float(dcpo(few, least_rate=0.5, reference=True)[1]["alpha"]) == pytest.approx(0.6 / 1.6)


@pytest.mark.parametrize("reference", [False, True])
def test_dcpo_leaves_the_chain_alone_where_nothing_is_right(reference):
    for rewards in (RIGHT * 0.05, RIGHT * torch.nan):
        batch = dcpo_batch(3.0, rewards=rewards)
        blended, metrics = dcpo(batch, reference=reference)
        assert torch.equal(blended, batch.token_advantages * batch.mask) and metrics["alpha"] == 0


def test_dcpo_counts_scored_completions_only():
    rewards = RIGHT.clone()
    rewards[1:3] = torch.nan
    assert float(dcpo(dcpo_batch(rewards=rewards))[1]["rate"]) == pytest.approx(0.5)


@pytest.mark.parametrize("extreme", [300.0, -300.0, torch.inf, -torch.inf])
def test_dcpo_bounds_its_ratio_and_the_released_form_stays_finite(extreme):
    batch = dcpo_batch(3.0)
    batch = batch.set(logit=torch.where(batch.valid, extreme, 0.0).double())
    chain = dcpo(batch.set(advantages=batch.advantages * 0))
    alpha = chain[1]["alpha"]
    want = alpha * (5.0 if extreme > 0 else 0.2)
    torch.testing.assert_close(chain[0][0][batch.valid[0]], want.expand(int(batch.valid[0].sum())))
    assert chain[1]["bounded"] == 1
    free, metrics = dcpo(batch, reference=True)
    assert free.isfinite().all() and metrics["bounded"] == 0


def test_dcpo_asks_for_its_temperatures_times_that_of_the_sampler_and_says_when_one_is_missing():
    term = ADVANTAGES.build("dcpo", {"sampling_temperature": 0.5, "t_high": 1.5, "t_low": 1.0})
    assert term.wanted == Wanted((), (0.5, 0.75))
    with pytest.raises(ValueError, match=r"batch\.lse at temperature 0\.75"):
        term(dcpo_batch())


# ------------------------------------------------------------------------------------------ divergence in the reward


def pay(batch, **options):
    paid, metrics = ADVANTAGES.build("kl_reward", {"coef": 0.5, **options})(batch)
    return torch.where(batch.valid, batch.token_advantages, 0.0) - paid, metrics


def test_a_token_pays_for_itself_and_for_the_valid_tokens_after_it():
    batch = batch_of(6)
    x = torch.where(batch.valid, batch.logps - batch.ref_logps, 0.0)
    k = torch.where(batch.valid, torch.exp(-x) + x - 1, 0.0)
    want = torch.zeros_like(x)
    for t in range(7):
        want[:, t] = 0.5 * (x[:, t] + k[:, t + 1 :].sum(1)) * batch.mask[:, t]
    cost, metrics = pay(batch)
    torch.testing.assert_close(cost, want)
    torch.testing.assert_close(pay(batch, future=False)[0], 0.5 * x)
    torch.testing.assert_close(metrics["kl"], k.sum() / batch.mask.sum())
    torch.testing.assert_close(metrics["cost"], want.abs().sum() / batch.mask.sum())
    assert metrics["clamped"] == 0


def test_a_huge_cost_of_a_token_does_not_swallow_the_small_ones_after_it():
    batch = batch_of(6, rows=1, width=3, dtype=torch.float32)
    batch = batch.set(mask=torch.ones(1, 3), ref_logps=batch.logps + torch.tensor([[20.0, 0.5, 0.5]]))
    plain = pay(batch, coef=1.0)[0] - pay(batch, coef=1.0, future=False)[0]
    assert float(plain[0, 0]) == pytest.approx(2 * (math.exp(0.5) - 1.5), rel=1e-5)


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_at_the_reference_nothing_is_paid_and_normalised_it_costs_alike_near_it(kind):
    batch = batch_of(6)
    assert (pay(batch.set(ref_logps=batch.logps), divergence=kind)[0] == 0).all()
    if kind == "tv":
        with pytest.raises(ValueError, match="tv has a kink"):
            ADVANTAGES.build("kl_reward", {"divergence": "tv", "normalize_curvature": True})
        return
    near = batch.set(ref_logps=batch.logps + 1e-4 * batch.token_advantages)
    cost, x = pay(near, divergence=kind, normalize_curvature=True)[0], near.logps - near.ref_logps
    torch.testing.assert_close(cost, torch.where(near.valid, 0.5 * x, 0.0), rtol=1e-2, atol=1e-7)
    plain = pay(near, divergence=kind)[0]
    torch.testing.assert_close(plain, cost * divergence(kind).curvature)


def test_completions_that_nothing_could_score_do_not_pay_and_log_ratios_are_clamped():
    rewards = torch.zeros(6).double()
    rewards[2] = torch.nan
    batch = batch_of(6, rewards=rewards)
    cost, _ = pay(batch)
    assert (cost[2] == 0).all() and (cost[3] != 0).any()
    for far in (torch.inf, -torch.inf, 1e4):
        lost = batch.set(ref_logps=torch.full_like(batch.mask, far))
        paid, metrics = pay(lost, divergence="reverse_kl", clamp=3.0)
        assert paid.isfinite().all() and metrics["clamped"] == 1


def test_no_cost_leaves_the_chain_as_it_is():
    batch = batch_of(6)
    assert (pay(batch, coef=0.0)[0] == 0).all()


@pytest.mark.parametrize("kind", ["dcpo", "kl_reward"])
def test_a_reshaping_term_without_a_base_estimator_says_what_to_put_before_it(kind):
    with pytest.raises(ValueError, match=rf"{kind} reshapes advantages .* e\.g\. \[grpo"):
        ADVANTAGES.build(kind)(batch_of(0).set(advantages=None))
