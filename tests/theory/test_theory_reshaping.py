"""The direction in which re-weighting moves entropy, on a tabular softmax policy; one token is a whole completion."""

from __future__ import annotations

import pytest
import torch
from theory.tabular import entropies

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import aggregate

COUNTS = torch.tensor([18, 18, 2, 1, 1])
RIGHT = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
LOGITS = (COUNTS.double() / COUNTS.sum()).log()
ALL = torch.repeat_interleave(torch.arange(5), COUNTS)
"""Every completion as often as it comes: a mean over them is an exact expectation under the policy."""
LIKELY = torch.tensor([0, 1])
"""A sample of two, one right and one wrong, both well above exp(-H)."""
GRPO = ("grpo", {})


def completions(logits, actions, **changes):
    batch = TokenBatch(
        logps=logits.log_softmax(-1)[actions].unsqueeze(1),
        old_logps=LOGITS.log_softmax(-1)[actions].unsqueeze(1),
        mask=torch.ones(len(actions), 1, dtype=torch.float64),
        old_entropy=entropies(LOGITS).expand(len(actions), 1),
        rewards=RIGHT[actions],
        groups=torch.zeros(len(actions), dtype=torch.long),
    )
    return batch.set(**changes)


def change(*advantages, weight=None, actions=ALL, lr=1e-4):
    """Change of entropy per lr by one gradient step."""
    spec = {
        "loss": ("unclipped", "unclipped", {}),
        "advantages": [(kind, kind, options) for kind, options in advantages],
    }
    o = Objective.build(spec | {"weights": [] if weight is None else [(weight[0], *weight)]})
    rollout, z = o.rollout(completions(LOGITS, actions)), LOGITS.clone().requires_grad_()
    batch = completions(z, actions, advantages=rollout.advantages)
    loss = aggregate(o.token_loss(batch, rollout.stats)[0], batch.mask)
    stepped = (z - lr * torch.autograd.grad(loss, z)[0]).detach()
    return float(entropies(stepped) - entropies(LOGITS)) / lr


def w_reinforce(positive, negative):
    return "w_reinforce", {"positive": positive, "negative": negative}


def test_in_expectation_reward_and_punishment_alone_are_the_same_step_and_their_weights_add():
    psr, nsr = change(w_reinforce(1.0, 0.0)), change(w_reinforce(0.0, 1.0))
    assert abs(psr) > 1e-3
    assert psr == pytest.approx(nsr, rel=1e-9)
    assert change(w_reinforce(0.1, 1.0)) == pytest.approx(1.1 * psr, rel=1e-3)


def test_on_a_sample_of_likely_completions_reward_lowers_entropy_and_punishment_raises_it():
    assert change(w_reinforce(1.0, 0.0), actions=LIKELY) < -0.005
    assert change(w_reinforce(0.0, 1.0), actions=LIKELY) > 0.005


def test_entrocraft_lowers_entropy_above_its_band_and_raises_it_below():
    def at(lower, upper):
        options = {"lower": lower, "upper": upper, "center": 0.5, "gain": 2.0}
        return change(GRPO, ("entrocraft", options), actions=LIKELY)

    now = float(entropies(LOGITS))
    assert at(now - 0.2, now - 0.1) == pytest.approx(change(w_reinforce(1.0, 0.0), actions=LIKELY))
    assert at(now + 0.1, now + 0.2) == pytest.approx(change(w_reinforce(0.0, 1.0), actions=LIKELY))
    assert at(now - 0.1, now + 0.1) == pytest.approx(change(GRPO, actions=LIKELY))


def test_a_positive_alpha_lowers_entropy_and_a_negative_one_raises_it():
    changes = [change(GRPO, ("entropic", {"alpha": a}), actions=LIKELY) for a in (-0.8, -0.3, 0.0, 0.3, 0.8)]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > 0.01 and changes[-1] < -0.005
    assert changes[2] == pytest.approx(change(GRPO, actions=LIKELY))


@pytest.mark.parametrize("omega", ["theorem", "released"])
def test_steer_limits_the_speed_of_entropy_the_more_the_smaller_its_least_weight(omega):
    for actions in (ALL, LIKELY[:1].repeat(2)):
        base = GRPO if len(actions) > 2 else w_reinforce(1.0, 0.0)
        changes = [
            change(base, weight=("steer", {"omega": omega, "lambda_min": least}), actions=actions)
            for least in (1.0, 0.7, 0.3)
        ]
        assert changes[0] == pytest.approx(change(base, actions=actions))
        assert abs(changes[0]) > abs(changes[1]) > abs(changes[2])


def test_clip_b_drops_the_punishments_that_lower_entropy_most():
    rare = torch.tensor([0, 1, 3, 3])  # the right mode, the wrong one, and a wrong completion far in the tail
    plain, clipped = (change(GRPO, weight=w, actions=rare) for w in (None, ("clip_b", {"mu": 0.5})))
    assert clipped > plain + 1e-3
    assert change(GRPO, weight=("clip_b", {"mu": 50.0}), actions=rare) == pytest.approx(plain)
