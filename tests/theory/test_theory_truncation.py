"""Truncated sampling on a tabular softmax policy: the gradient that its samples stand for, and the one without the correction."""

from __future__ import annotations

import pytest
import torch

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import aggregate
from entropostat.rl.vocab import SoftLabels, Wanted, vocab_statistics

# Mass .8 on three tokens and .2 on four rare ones; min-p at .3 keeps the three, with probabilities 1/2, 1/4 and 1/4 among
# themselves: four draws, one of them twice, are the whole distribution.
LOGITS = torch.tensor([0.4, 0.2, 0.2, 0.05, 0.05, 0.05, 0.05], dtype=torch.float64).log()
DRAWS = torch.tensor([0, 0, 1, 2])
REWARD = torch.tensor([1.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
KEPT = slice(0, 3)
MIN_P = 0.3


def gradient(baseline, corrected, logits=LOGITS, loss="unclipped", **options):
    """Of the loss on the four draws, by the logits; ``logits`` is the policy now, LOGITS that of the generation."""
    penalties = [("truncated_policy", "truncated_policy", {"min_p": MIN_P, "top_k": 4})] if corrected else []
    o = Objective.build({"loss": (loss, loss, options), "penalties": penalties})
    advantages = REWARD[DRAWS] - baseline
    old = vocab_statistics(
        LOGITS.expand(4, -1),
        torch.eye(7, dtype=torch.float64),
        DRAWS,
        Wanted(("logp",), min_p=MIN_P, top_k=4, kept=True),
    )
    seen = {"old_logps": old.logp.unsqueeze(1), "mask": torch.ones(4, 1), "advantages": advantages}
    ids, probs = old.min_p_ids.unsqueeze(1), old.min_p_probs.unsqueeze(1)
    stats = o.rollout(
        TokenBatch(
            logps=seen["old_logps"], min_p_ids=ids, min_p_probs=probs, min_p_mass=old.min_p_mass.unsqueeze(1), **seen
        )
    ).stats
    z = logits.clone().requires_grad_()
    soft = SoftLabels(ids[:, 0], probs[:, 0])
    now = vocab_statistics(z.expand(4, -1), torch.eye(7, dtype=torch.float64), DRAWS, Wanted(("logp",)), soft=soft)
    batch = TokenBatch(logps=now.logp.unsqueeze(1), soft_logp=now.soft_logp.unsqueeze(1), clip=o.loss.term.clip, **seen)
    return torch.autograd.grad(aggregate(o.token_loss(batch, stats)[0], batch.mask), z)[0]


def truth(logits=LOGITS):
    """Minus the gradient of the expected reward of the policy that min-p makes of ``logits``, on the set that is kept."""
    z = logits.clone().requires_grad_()
    return -torch.autograd.grad((z[KEPT].softmax(0) * REWARD[KEPT]).sum(), z)[0]


@pytest.mark.parametrize("baseline", [0.0, 0.625, -3.0])
def test_the_gradient_is_that_of_the_policy_which_was_sampled_whatever_the_baseline(baseline):
    torch.testing.assert_close(gradient(baseline, corrected=True), truth(), rtol=1e-12, atol=1e-14)


def test_without_the_correction_the_rare_tokens_are_pushed_by_the_mean_advantage():
    # A grad log pi pulls the mass of the kept set up by the mean advantage, and there is none in the truth.
    plain = gradient(0.0, corrected=False)
    assert (plain[3:] > 1e-3).all() and (truth()[3:] == 0).all()
    torch.testing.assert_close(
        gradient(0.625, corrected=False)[3:].abs().max(), torch.tensor(0.0).double(), atol=1e-12, rtol=0
    )


def test_a_later_update_comes_closer_to_the_truth_the_smaller_the_change_and_closer_than_without():
    shift = torch.tensor([0.3, -0.2, 0.1, 0.4, -0.1, 0.2, 0.0], dtype=torch.float64)
    moved = [LOGITS + size * shift for size in (0.02, 0.01)]
    errors = [float((gradient(0.2, True, z) - weighted_truth(z, 0.2)).norm()) for z in moved]
    assert errors[1] < 0.6 * errors[0]
    assert errors[0] < 0.1 * float((gradient(0.2, False, moved[0]) - weighted_truth(moved[0], 0.2)).norm())


def weighted_truth(logits, baseline):
    """As ``truth``, of (R - baseline) under a ratio: the draws are still the old policy's."""
    z = logits.clone().requires_grad_()
    old, now = LOGITS[KEPT].log_softmax(0), z[KEPT].log_softmax(0)
    return torch.autograd.grad(-(old.exp() * (now - old).exp() * (REWARD[KEPT] - baseline)).sum(), z)[0]


def test_tokens_that_the_clip_holds_are_not_corrected():
    moved = LOGITS.clone()
    moved[0] += (
        1.0  # ratios 1.6, .6 and .6, advantages .5, 0 and -.5: all beyond .2 on the side that their advantage asks for
    )
    held, free = (gradient(0.5, True, moved, "ppo_clip", epsilon=e) for e in (0.2, 0.9))
    assert torch.equal(held, gradient(0.5, False, moved, "ppo_clip", epsilon=0.2))
    assert not torch.allclose(free, gradient(0.5, False, moved, "ppo_clip", epsilon=0.9), atol=1e-3)
