"""FlowRL's gradient is that of the divergence from the reward-tilted reference, in exact expectation."""

from __future__ import annotations

import pytest
import torch
from theory.tabular import SEEDS, draw, entropies, tokens

from entropostat.rl.reduce import aggregate
from entropostat.rl.registry import LOSSES

BETA = 2.0
FLOW = LOSSES.build("flowrl", {"beta": BETA})


def stepped(case, target, log_z):
    """(S, V) the gradient at the logits, and (S,) at log Z, where the tilted reference is ``target`` (S, V): the reference is
    flat, and the advantages make up the rest."""
    z, log_z = case.logits.clone().requires_grad_(), log_z.clone().requires_grad_()
    (s, a), flat = case.all(), -torch.tensor(float(target.shape[1])).double().log()
    advantages = (target.log_softmax(1) - flat)[s, a] / BETA
    batch = tokens(case, z, (s, a)).set(advantages=advantages, ref_logps=flat.expand(len(s), 1), log_z=log_z[s])
    loss, _ = FLOW(batch)
    return torch.autograd.grad(aggregate(loss, batch.mask), [z, log_z])


def divergence(z, target):
    """0-dim: KL(policy || target), the mean over states."""
    return (z.softmax(1) * (z.log_softmax(1) - target.log_softmax(1))).sum(1).mean()


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_flowrls_policy_gradient_is_twice_that_of_the_divergence_whatever_log_z_says(seed):
    case, target = draw(seed), draw(seed + 1).logits
    z = case.logits.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(divergence(z, target), z)
    for size in (0.0, 3.0):
        found, by_z = stepped(case, target, torch.full((3,), size, dtype=torch.float64))
        torch.testing.assert_close(found, 2 * wanted)
        assert (by_z.abs() > 1e-6).all()


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_flowrl_rests_where_the_policy_is_the_tilted_reference_and_log_z_its_normaliser(seed):
    case = draw(seed)
    found, by_z = stepped(case, case.logits, torch.zeros(3, dtype=torch.float64))
    assert found.abs().max() < 1e-12 and by_z.abs().max() < 1e-12


def test_flowrl_raises_the_entropy_of_a_policy_that_is_surer_than_the_tilted_reference_and_lowers_that_of_a_flatter_one():
    for seed in SEEDS:
        case = draw(seed)
        z = case.logits.clone().requires_grad_()
        (up,) = torch.autograd.grad(entropies(z).sum(), z)
        surer, flatter = (stepped(case, case.logits * t, torch.zeros(3, dtype=torch.float64))[0] for t in (0.5, 2.0))
        assert (-(surer * up).sum(1) > 1e-6).all() and (-(flatter * up).sum(1) < -1e-6).all()
