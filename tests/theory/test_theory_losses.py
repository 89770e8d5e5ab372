"""What each surrogate claims, against exact numbers: on-policy all are the policy gradient, off-policy they differ."""

from __future__ import annotations

import math

import pytest
import torch
from theory.tabular import entropies
from theory.test_theory_entropy import ACTIONS, LOGITS, advantage
from unit.rl_support import batch_of, with_leaves

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import aggregate
from entropostat.rl.registry import LOSSES
from entropostat.rl.sequence import row_quantile

APART = ("era", "copo", "flowrl", "none")
"""A loss of another policy (test_theory_cited), one of whole prompts (test_theory_groups), one towards the reference (test_theory_flow), none."""
OURS = [kind for kind in LOSSES.names() if not LOSSES[kind].delegated and kind not in APART]
KEEPING = {"cispo": {}, "sapo": {}, "ce_gppo": {}, "gpg": {}, "unclipped": {}}
"""Losses that keep a gradient where PPO's clip has none."""
RARE = 4


def objective(kind, options=None, **slots):
    return Objective.build({"loss": (kind, kind, options or {}), **slots})


def one_token_rows(logits, old, values, h=None):
    """Each action as a sequence of one token, as often as the old policy takes it."""
    actions = ACTIONS.view(-1, 1)
    return TokenBatch(
        logps=logits.log_softmax(-1)[actions],
        old_logps=old.log_softmax(-1)[actions],
        sampler_logps=old.log_softmax(-1)[actions],
        advantages=values[actions],
        mask=torch.ones(actions.shape, dtype=torch.float64),
        entropy=(entropies(logits) if h is None else h).expand(actions.shape),
    )


def gradient(kind, at, values, options=None):
    z = at.clone().requires_grad_()
    batch = one_token_rows(z, LOGITS, values)
    loss = aggregate(objective(kind, options).token_loss(batch)[0], batch.mask)
    return torch.autograd.grad(loss, z)[0]


def entropy_after(kind, at, values, options=None, lr=0.1):
    return entropies(at - lr * gradient(kind, at, values, options))


def only(action, size):
    """An advantage on one action alone: no baseline, so that its own gradient is all there is."""
    values = torch.zeros(5, dtype=torch.float64)
    values[action] = size
    return values


@pytest.mark.parametrize("kind", OURS)
def test_on_policy_every_surrogate_has_the_policy_gradient_whose_entropy_change_the_theorem_gives(kind):
    want = -LOGITS.softmax(0) * advantage()
    torch.testing.assert_close(gradient(kind, LOGITS, advantage()), want, rtol=1e-9, atol=1e-12)
    assert entropy_after(kind, LOGITS, advantage()) < entropies(LOGITS)


def moved(by):
    """A policy that has moved the rare action out of the band, and nothing else far."""
    at = LOGITS.clone()
    at[RARE] += by
    return at


@pytest.mark.parametrize("kind, options", KEEPING.items(), ids=KEEPING)
def test_a_rare_rewarded_token_above_the_band_raises_entropy_where_the_clip_lets_it_do_nothing(kind, options):
    at, values = moved(0.5), only(RARE, 1.0)
    assert (gradient("ppo_clip", at, values) == 0).all()
    assert gradient(kind, at, values, options)[RARE] < 0
    assert entropy_after(kind, at, values, options) > entropies(at) + 1e-6


def test_ce_gppo_has_two_handles_on_entropy_and_is_ppo_without_them():
    above, below = (moved(0.5), only(RARE, 1.0)), (moved(-0.5), only(RARE, -1.0))
    raised = [entropy_after("ce_gppo", *above, {"beta_high": b}) for b in (0.0, 0.5, 1.0)]
    lowered = [entropy_after("ce_gppo", *below, {"beta_low": b}) for b in (0.0, 0.5, 1.0)]
    assert raised[0] == entropies(above[0]) and raised[0] < raised[1] < raised[2]
    assert lowered[0] == entropies(below[0]) and lowered[0] > lowered[1] > lowered[2]
    off = {"beta_low": 0.0, "beta_high": 0.0}
    for at in (moved(0.5), moved(-0.5), LOGITS.flip(0)):
        for values in (advantage(), -advantage()):
            ppo = gradient("ppo_clip", at, values, {"dual": 10.0})
            torch.testing.assert_close(gradient("ce_gppo", at, values, off), ppo, rtol=1e-12, atol=1e-15)


def test_ce_gppo_gives_a_returned_token_the_gradient_of_the_edge_of_the_band():
    values = only(RARE, 1.0)
    probability = LOGITS.softmax(0)[RARE]
    score = 1 - moved(0.5).softmax(0)[RARE]
    want = -0.7 * 1.28 * probability * score
    slope = gradient("ce_gppo", moved(0.5), values, {"beta_high": 0.7, "epsilon_high": 0.28})[RARE]
    torch.testing.assert_close(slope, want)


def test_sapos_gate_fades_with_distance_and_sooner_for_the_temperature_that_is_higher():
    def share(by, size, options):
        soft, plain = (gradient(k, moved(by), only(RARE, size), o)[RARE] for k, o in options)
        return float(soft / plain)

    for size, name in ((1.0, "tau_pos"), (-1.0, "tau_neg")):
        near, far = (share(by, size, [("sapo", {name: 1.0}), ("unclipped", {})]) for by in (0.3, 1.5))
        sharp = share(1.5, size, [("sapo", {name: 2.0}), ("unclipped", {})])
        assert 1 > near > far > sharp > 0


def sequences(seed=3):
    """Rows of several tokens with one advantage each."""
    return with_leaves(batch_of(seed, rows=5, width=6))


@pytest.mark.parametrize("kind", ["gspo", "gmpo"])
def test_the_token_form_of_a_sequence_loss_has_the_value_and_gradient_of_the_sequence_form(kind):
    batch = sequences()
    loss = aggregate(objective(kind, {"epsilon": 0.1, "epsilon_high": 0.2}).token_loss(batch)[0], batch.mask, MODE)
    logps = batch.logps.detach().clone().requires_grad_()
    a, m = batch.advantages, batch.mask
    d = logps - batch.old_logps
    if kind == "gspo":
        ratio = ((d * m).sum(1) / m.sum(1)).exp()
        rows = torch.maximum(-a * ratio, -a * ratio.clamp(0.9, 1.2))
    else:
        up = a.sign().unsqueeze(1)
        bounded = up * torch.minimum(up * d, up * d.clamp(-0.1, 0.2))
        rows = -a * ((bounded * m).sum(1) / m.sum(1)).exp()
    want = rows.mean()
    assert (rows != -a).all()
    torch.testing.assert_close(loss, want, rtol=1e-7, atol=1e-9)
    grads = torch.autograd.grad(loss, batch.logps)[0], torch.autograd.grad(want, logps)[0]
    torch.testing.assert_close(*grads, rtol=1e-7, atol=1e-9)
    assert grads[0].abs().sum() > 0.01


MODE = "seq-mean-token-mean"


@pytest.mark.parametrize("kind", OURS)
def test_a_token_of_weight_zero_has_no_policy_gradient_and_the_others_keep_theirs(kind):
    batch = sequences(7)
    weights = [("w", "high_entropy", {"fraction": 0.5, "scope": "micro"})]
    o = objective(kind, weights=weights)
    weight, _ = o.weight(batch, {})
    grad, plain = (
        torch.autograd.grad(aggregate(x.token_loss(batch)[0], batch.mask), batch.logps)[0] for x in (o, objective(kind))
    )
    stopped = (weight == 0) & batch.valid
    assert stopped.any() and (plain[stopped] != 0).any()
    assert (grad[stopped] == 0).all()
    torch.testing.assert_close(grad, plain * weight)


def test_archer_gives_room_to_the_uncertain_tokens_of_each_sequence_alone():
    batch = batch_of(5, rows=6, width=9)
    threshold = row_quantile(batch.entropy, 0.8, batch)
    for row, bar in enumerate(threshold):
        want = torch.quantile(batch.entropy[row][batch.valid[row]], 0.8)
        torch.testing.assert_close(bar[0], want)
    term = objective("archer").loss.term
    reasoning = term._reasoning(batch)
    assert torch.equal(reasoning, batch.valid & (batch.entropy > threshold))
    far = batch.set(logps=batch.old_logps + 0.35 * batch.mask, advantages=torch.ones(6, dtype=torch.float64))
    far = with_leaves(far)
    grad = torch.autograd.grad(objective("archer").token_loss(far)[0].sum(), far.logps)[0]
    assert torch.equal(grad != 0, reasoning)


def test_archer_with_one_clip_for_all_is_ppo():
    batch = sequences(9).set(old_logps=batch_of(9, rows=5, width=6).old_logps - 1.5)
    same = {"epsilon_know": 0.3, "epsilon_reason": 0.3, "dual": 1.7}
    archer, ppo = objective("archer", same), objective("ppo_clip", {"epsilon": 0.3, "dual": 1.7})
    torch.testing.assert_close(archer.token_loss(batch)[0], ppo.token_loss(batch)[0])


def test_a_sequence_without_tokens_leaves_its_neighbours_alone():
    batch = batch_of(2, rows=4, width=5)
    mask = batch.mask.clone()
    mask[1] = 0
    for kind in OURS:
        whole = objective(kind).token_loss(batch.set(mask=mask))[0]
        keep = torch.tensor([0, 2, 3])
        part = TokenBatch(
            logps=batch.logps[keep],
            old_logps=batch.old_logps[keep],
            sampler_logps=batch.sampler_logps[keep],
            advantages=batch.advantages[keep],
            entropy=batch.entropy[keep],
            mask=mask[keep],
        )
        valid = part.valid
        torch.testing.assert_close(whole[keep][valid], objective(kind).token_loss(part)[0][valid])
        assert whole.isfinite().all()


def test_gspos_sequence_ratio_is_bounded_and_has_no_gradient_beyond():
    batch = with_leaves(batch_of(4, rows=3, width=4, advantages=-torch.ones(3, dtype=torch.float64)))
    far = batch.set(old_logps=batch.logps.detach() - 12 * batch.mask)
    loss = objective("gspo").token_loss(far)[0]
    torch.testing.assert_close(loss[far.valid], torch.full_like(loss[far.valid], math.exp(10)))
    assert (torch.autograd.grad(loss.sum(), far.logps)[0] == 0).all()
