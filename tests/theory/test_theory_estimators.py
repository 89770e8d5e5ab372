"""What estimators of advantages are said to be the gradient or the optimum of, by enumeration."""

from __future__ import annotations

import itertools

import pytest
import torch
from theory.tabular import draw, tokens

from entropostat.rl.batch import TokenBatch
from entropostat.rl.registry import ADVANTAGES

SCORES = torch.tensor([0.3, -1.2, 0.8, 0.1], dtype=torch.float64)
REWARDS = torch.tensor([0.0, 0.7, 2.0, 1.1], dtype=torch.float64)


@pytest.mark.parametrize("size", [2, 3])
def test_the_best_of_a_group_alone_has_the_gradient_of_the_expected_best_reward(size):
    z = SCORES.clone().requires_grad_()
    logp = z.log_softmax(0)
    groups = torch.tensor(list(itertools.product(range(4), repeat=size)))
    batch = TokenBatch(
        logps=torch.zeros(groups.numel(), 1),
        mask=torch.ones(groups.numel(), 1),
        rewards=REWARDS[groups].flatten(),
        groups=torch.arange(len(groups)).repeat_interleave(size),
    )
    advantages = ADVANTAGES.build("passk_best", {"scale": "none"})(batch)[0].view_as(groups)
    chance = logp[groups].sum(1).exp()
    expected = (chance.detach() * (advantages * logp[groups]).sum(1)).sum()
    want = (chance * REWARDS[groups].amax(1)).sum()
    torch.testing.assert_close(*(torch.autograd.grad(x, z, retain_graph=True)[0] for x in (expected, want)))


def test_no_other_constant_gives_less_variance_than_the_optimal_token_baseline():
    for seed in range(20):
        case = draw(seed, states=1)
        batch = tokens(case, case.logits, case.all())
        advantages = ADVANTAGES.build("otb")(batch)[0].flatten()
        baseline = batch.rewards - advantages
        assert baseline.std() < 1e-6
        score = torch.eye(case.p.shape[1]) - case.p  # of each action, on the logits

        def spread(b, case=case, score=score):
            gradient = (case.reward[0] - b).unsqueeze(1) * score
            return float((case.p[0] * gradient.square().sum(1)).sum())

        best = float(baseline[0])
        assert spread(best) < min(spread(best - 1e-3), spread(best + 1e-3), spread(float((case.p * case.reward).sum())))
