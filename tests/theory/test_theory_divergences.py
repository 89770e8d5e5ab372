"""Every f-divergence of the reference penalty against exact enumeration over a categorical."""

from __future__ import annotations

import math

import pytest
import torch
from theory.tabular import entropies
from theory.test_theory_entropy import ACTIONS, LOGITS, OFF, REF, objective, tokens

from entropostat.rl.divergences import DIVERGENCES, divergence, k3
from entropostat.rl.reduce import aggregate
from entropostat.rl.registry import PENALTIES

A = 0.3
FORMULAS = {
    "reverse_kl": lambda u: u * u.log(),
    "forward_kl": lambda u: -u.log(),
    "js": lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
    "jsd": lambda u: (u * u.log() - (u + 1) * ((u + 1) / 2).log()) / 2,
    "alpha": lambda u: (u ** (1 - A) - (1 - A) * u - A) / (A * (A - 1)),
    "tv": lambda u: (u - 1).abs() / 2,
    "chi2_pi_ref": lambda u: (u - 1) ** 2,
    "chi2_ref_pi": lambda u: (1 - u) ** 2 / u,
    "hellinger2": lambda u: (u.sqrt() - 1) ** 2,
    "jeffreys": lambda u: (u - 1) * u.log(),
}
"""f(u) with u = pi / ref, as published: D_f(pi || ref) = E_ref[f(u)]."""
each = pytest.mark.parametrize("kind", FORMULAS)


def penalty(kind, z, ref=REF, **options):
    """Expectation of the term over the old policy's tokens."""
    o = objective(penalties=("kl_ref", {"coef": 1.0, "divergence": kind, "alpha": A, **options}))
    batch = tokens(z, ref_logps=ref.log_softmax(0)[ACTIONS])
    return aggregate(o.penalty(o.penalties[0], batch, {})[0], batch.mask)


def exact(kind, z):
    ref = REF.softmax(0)
    return (ref * FORMULAS[kind](z.softmax(0) / ref)).sum()


def value_and_gradient(function, at):
    z = at.clone().requires_grad_()
    value = function(z)
    return value.detach(), torch.autograd.grad(value, z)[0]


def test_every_divergence_is_tested():
    assert set(FORMULAS) == set(DIVERGENCES)


@each
@pytest.mark.parametrize("at", [LOGITS, OFF], ids=["on-policy", "off-policy"])
def test_the_ratio_corrected_estimator_is_the_divergence_in_value_and_gradient(kind, at):
    got, want = (value_and_gradient(lambda z, f=f: f(kind, z), at) for f in (penalty, exact))
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


@each
def test_the_slope_weighs_the_score_in_the_exact_gradient(kind):
    log_p = OFF.log_softmax(0)
    weight = log_p.exp() * divergence(kind, A).slope(log_p - REF.log_softmax(0))
    score_gradient = weight - OFF.softmax(0) * weight.sum()
    torch.testing.assert_close(
        score_gradient, value_and_gradient(lambda z: exact(kind, z), OFF)[1], rtol=1e-9, atol=1e-12
    )


@each
def test_the_pathwise_gradient_is_another_one(kind):
    gradients = [
        value_and_gradient(lambda z, g=g: penalty(kind, z, gradient=g), LOGITS)[1] for g in ("exact", "pathwise")
    ]
    assert (gradients[1] - gradients[0]).norm() > 0.01 * gradients[0].norm()


@each
def test_the_estimator_is_nowhere_negative_and_zero_at_the_reference_with_the_stated_curvature(kind):
    chosen = divergence(kind, A)
    x = torch.linspace(-6, 6, 401, dtype=torch.float64)
    assert (chosen.k(x) >= -1e-15).all() and chosen.k(torch.zeros(1)) == 0
    near = torch.tensor([-1e-3, 1e-3], dtype=torch.float64)
    if chosen.curvature is None:
        torch.testing.assert_close(chosen.k(near), near.abs() / 2, rtol=2e-3, atol=0)
    else:
        torch.testing.assert_close(chosen.k(near), chosen.curvature * near.square() / 2, rtol=2e-3, atol=0)


def test_alpha_runs_from_the_reverse_to_the_forward_kl():
    x = torch.linspace(-3, 3, 51, dtype=torch.float64)
    torch.testing.assert_close(divergence("alpha", 1e-6).k(x), divergence("reverse_kl").k(x), rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(divergence("alpha", 1 - 1e-6).k(x), divergence("forward_kl").k(x), rtol=1e-4, atol=1e-9)
    hellinger = divergence("hellinger2")
    torch.testing.assert_close(divergence("alpha", 0.5).k(x), 2 * hellinger.k(x))


def test_the_true_jensen_shannon_divergence_stays_below_log_2_and_the_other_is_twice_as_large():
    apart = (
        torch.tensor([30.0, 0.0], dtype=torch.float64).log_softmax(0),
        torch.tensor([0.0, 30.0]).double().log_softmax(0),
    )
    x = apart[0] - apart[1]
    jsd = (apart[0].exp() * divergence("jsd").k(x)).sum()
    assert 0.99 * math.log(2) < jsd < math.log(2)
    torch.testing.assert_close(divergence("js").k(x), 2 * divergence("jsd").k(x))


def test_the_default_is_the_reverse_kl_bit_for_bit():
    at = OFF.clone()
    batch = tokens(at, ref_logps=REF.log_softmax(0)[ACTIONS])
    x = batch.logps - batch.ref_logps
    default = PENALTIES.build("kl_ref", {"coef": 0.3})(batch)[0]
    assert torch.equal(default, 0.3 * (k3(x) * (batch.logps - batch.old_logps).exp()))


@each
def test_normalised_by_its_curvature_every_divergence_pulls_alike_near_the_reference(kind):
    if kind == "tv":
        with pytest.raises(ValueError, match="tv has a kink"):
            PENALTIES.build("kl_ref", {"divergence": "tv", "normalize_curvature": True})
        return
    near = REF + 1e-4 * torch.tensor([1.0, -2.0, 0.5, 1.5, -1.0], dtype=torch.float64)
    got, want = (
        value_and_gradient(lambda z, k=k: penalty(k, z, normalize_curvature=True), near)[0]
        for k in (kind, "reverse_kl")
    )
    torch.testing.assert_close(got, want, rtol=1e-2, atol=0)


@each
def test_a_flat_reference_raises_entropy_and_a_peaked_one_lowers_it(kind):
    for ref, sign in ((torch.zeros(5).double(), 1), (2 * LOGITS, -1)):
        gradient = value_and_gradient(lambda z, r=ref: penalty(kind, z, r), LOGITS)[1]
        assert torch.sign(entropies(LOGITS - 1e-4 * gradient) - entropies(LOGITS)) == sign


@each
def test_the_logged_divergence_is_that_which_is_penalised_and_kl_stays_the_kl(kind):
    batch = tokens(OFF, ref_logps=REF.log_softmax(0)[ACTIONS])
    x = (batch.logps - batch.ref_logps).view(-1)
    _, metrics = PENALTIES.build("kl_ref", {"divergence": kind, "alpha": A, "coef": 3.0})(batch)
    torch.testing.assert_close(metrics["divergence"], divergence(kind, A).k(x).mean())
    torch.testing.assert_close(metrics["kl"], k3(x).mean())
