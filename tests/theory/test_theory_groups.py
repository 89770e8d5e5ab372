"""What terms that look at whole prompts do to the step of a state, in exact expectation, and what estimators of the best of k estimate."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from theory.tabular import SEEDS, TOTAL, draw, entropies, slopes

from entropostat.rl.batch import TokenBatch
from entropostat.rl.coverage import coverage, coverage_slope, log_coverage, log_coverage_slope
from entropostat.rl.registry import ADVANTAGES

BASE = ("dr_grpo", {})
SCORES = torch.tensor([0.3, -1.2, 0.8, 0.1], dtype=torch.float64)
BINARY, GRADED = [0.0, 1.0, 1.0, 0.0], [0.4, 0.7, 2.0, -1.1]


def shaped(case, kind, **options):
    """(S,) slopes behind a base estimator, with and without the term."""
    return slopes(case, advantages=[BASE, (kind, options)]), slopes(case, advantages=[BASE])


@pytest.mark.parametrize("mass", ["count", "likelihood"])
def test_seed_slows_a_state_by_its_own_entropy_whichever_way_it_goes(mass):
    """The answer is the action: each of TOTAL completions has its share of the mass, under likelihood that times its own chance."""
    for seed in SEEDS:
        case = draw(seed)
        weights = case.p if mass == "count" else case.p**2 / case.p.square().sum(1, keepdim=True)
        entropy = torch.distributions.Categorical(probs=weights).entropy()
        found, plain = shaped(case, "seed", alpha=0.7, mass=mass)
        torch.testing.assert_close(found, plain / (1 + 0.7 * entropy / math.log(TOTAL)))
        if mass == "count":
            torch.testing.assert_close(entropy, entropies(case.logits))


@pytest.mark.parametrize("objective, slope", [("coverage", coverage_slope), ("log_coverage", log_coverage_slope)])
def test_dco_slows_the_states_that_mostly_succeed_whichever_way_they_go(objective, slope):
    order = []
    for seed in SEEDS:
        case = draw(seed, right=True)
        rate = (case.p * case.reward).sum(1)
        found, plain = shaped(case, "dco", n=6, objective=objective)
        torch.testing.assert_close(found, plain * slope(rate, 6))
        order += list(zip(rate.tolist(), (found / plain).tolist(), strict=True))
    factors = [factor for _, factor in sorted(order)]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(factors)) and factors[0] > 10 * factors[-1]


def test_the_weights_of_dco_are_the_slopes_of_what_they_are_named_after():
    p = torch.tensor([1e-6, 0.01, 0.2, 0.5, 0.9, 0.999], dtype=torch.float64, requires_grad=True)
    for n in (1, 2, 8, 100):
        for value, slope in ((coverage, coverage_slope), (log_coverage, log_coverage_slope)):
            (gradient,) = torch.autograd.grad(value(p, n).sum(), p)
            torch.testing.assert_close(slope(p, n), gradient, rtol=1e-9, atol=1e-12)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert coverage_slope(ends, 8).tolist() == [8, 0] and coverage_slope(ends, 1).tolist() == [1, 1]
    assert log_coverage_slope(ends[1:], 8).tolist() == [0] and log_coverage_slope(ends[1:], 1).tolist() == [1]


def test_adora_slows_the_states_that_fail_its_criterion_whichever_way_they_go():
    both = set()
    for seed in SEEDS:
        case = draw(seed, right=True)
        hard = (case.p * case.reward).sum(1) <= 0.5
        found, plain = shaped(case, "adora", criteria="difficulty", exclude_truncated=False)
        torch.testing.assert_close(found, plain * torch.where(hard, 1.0, 0.1))
        both |= set(hard.tolist())
    assert both == {True, False}


def test_copo_slows_the_states_whose_answers_agree_and_its_global_loss_has_no_effect_in_expectation():
    """A^g is a baseline of its state, as long as nothing is clipped."""
    for seed in SEEDS:
        case = draw(seed, right=True)
        w = torch.sigmoid(5 * (entropies(case.logits) / math.log(2) - 1))
        plain = slopes(case, advantages=[BASE], loss=("ppo_clip", {}))
        for coef in (1.0, 3.0):
            found = slopes(case, advantages=[BASE], loss=("copo", {"coef": coef}))
            torch.testing.assert_close(found, w * plain)


@pytest.mark.parametrize("rewards", [BINARY, GRADED], ids=["binary", "graded"])
@pytest.mark.parametrize("baseline", ["none", "loo", "loo_1"])
@pytest.mark.parametrize("n, k", [(4, 1), (4, 2), (4, 3), (3, 3)])
def test_pkpo_is_the_unbiased_gradient_of_the_expected_best_of_k(n, k, baseline, rewards):
    values = torch.tensor(rewards, dtype=torch.float64)
    z = SCORES.clone().requires_grad_()
    logp = z.log_softmax(0)
    groups, picks = (torch.tensor(list(itertools.product(range(4), repeat=size))) for size in (n, k))
    nothing = torch.zeros(groups.numel(), 1)
    batch = TokenBatch(
        nothing, nothing + 1, rewards=values[groups].flatten(), groups=torch.arange(len(groups)).repeat_interleave(n)
    )
    term = ADVANTAGES.build("pkpo", {"k": k, "baseline": baseline})
    advantages = term(batch)[0].view_as(groups)
    chance = logp[groups].sum(1).exp()
    estimate = (chance.detach() * (advantages * logp[groups]).mean(1)).sum()
    best = (logp[picks].sum(1).exp() * values[picks].amax(1)).sum()
    torch.testing.assert_close(*(torch.autograd.grad(x, z, retain_graph=True)[0] for x in (estimate, best)))
    weighted = [term(TokenBatch(nothing[:n], nothing[:n] + 1, rewards=row))[1]["max_at_k"] for row in values[groups]]
    torch.testing.assert_close((chance.detach() * torch.stack(weighted)).sum(), best.detach())
