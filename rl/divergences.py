"""Sampled divergence estimators on log-ratios, in nats. x = log pi - log ref on tokens drawn from pi (or its old self).

Schulman 2020, Approximating KL divergence. Naive autograd through a fixed-sample estimator is wrong: E[grad k1] = 0 and
E[grad k3] is the gradient of the *forward* KL. Multiplied by the differentiable ratio pi / pi_old, the gradient of k3 is
exactly that of KL(pi || ref).

The same holds for every f-divergence D_f(pi || ref) = E_ref[f(u)], u = pi / ref = e^x. With r = 1 / u and
g(r) = r f(1 / r), its non-negative, unbiased estimator on tokens of pi is

    k_f = g(r) - g'(1) (r - 1),      and      grad D_f = E_pi[f'(u) grad log pi] = grad E_old[(pi / pi_old) k_f]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

KINDS = ("k1", "abs", "k2", "k3", "low_var_kl")


def estimator(x: Tensor, kind: str) -> Tensor:
    """Per-token estimate of KL(pi || ref) from x = log pi - log ref. A trailing '+' keeps the value and takes the
    gradient of k2 (straight-through), whose expectation is the KL's.

    k1 x; abs |x|; k2 x^2 / 2; k3 exp(-x) + x - 1; low_var_kl: k3 with verl's clamps (-x to [-20, 20], k3 to [-10, 10]).
    """
    if kind.endswith("+"):
        k2 = x.square() / 2
        return k2 - k2.detach() + estimator(x, kind[:-1]).detach()
    if kind == "k1":
        return x
    if kind == "abs":
        return x.abs()
    if kind == "k2":
        return x.square() / 2
    if kind == "k3":
        return k3(x)
    if kind == "low_var_kl":
        return k3(-((-x).clamp(-20, 20))).clamp(-10, 10)
    raise ValueError(f"unknown estimator {kind!r}; known: {', '.join(KINDS)}, each with an optional '+'")


def k3(x: Tensor) -> Tensor:
    """exp(-x) - (-x) - 1 >= 0: unbiased for KL(pi || ref), with less variance than k1 near 0."""
    return torch.exp(-x) + x - 1


@dataclass(frozen=True)
class Divergence:
    """One f-divergence of the policy from the reference, by x = log pi - log ref on tokens of the policy."""

    k: Callable[[Tensor], Tensor]
    """k_f >= 0, 0 at x = 0: what one sampled token contributes."""
    slope: Callable[[Tensor], Tensor]
    """f'(u): the weight of a token's own score in the exact gradient. Minus this is f-DPG's pseudo-reward."""
    curvature: float | None
    """f''(1): near the reference D_f is about curvature * x^2 / 2. None where f has a kink there."""


def _generalised(a: float) -> Divergence:
    """The alpha-divergence: a -> 0 is the reverse KL, a -> 1 the forward one."""
    return Divergence(
        lambda x: (torch.expm1(-a * x) - a * torch.expm1(-x)) / (a * (a - 1)), lambda x: -torch.expm1(-a * x) / a, 1.0
    )


def _js(x: Tensor) -> Tensor:
    """Twice the Jensen-Shannon divergence, KL(pi || m) + KL(ref || m): the form that f-DPG calls JS."""
    r = torch.exp(-x)
    return -r * x - (1 + r) * (softplus(-x) - math.log(2))


def _js_slope(x: Tensor) -> Tensor:
    return math.log(2) + logsigmoid(x)


TABLE = {
    "reverse_kl": Divergence(k3, lambda x: x + 1, 1.0),
    "forward_kl": Divergence(lambda x: -x * torch.exp(-x) - torch.expm1(-x), lambda x: -torch.exp(-x), 1.0),
    "js": Divergence(_js, _js_slope, 0.5),
    "jsd": Divergence(lambda x: _js(x) / 2, lambda x: _js_slope(x) / 2, 0.25),
    "tv": Divergence(lambda x: torch.expm1(-x).abs() / 2, lambda x: x.sign() / 2, None),
    "chi2_pi_ref": Divergence(lambda x: 4 * torch.sinh(x / 2).square(), lambda x: 2 * torch.expm1(x), 2.0),
    "chi2_ref_pi": Divergence(lambda x: torch.expm1(-x).square(), lambda x: -torch.expm1(-2 * x), 2.0),
    "hellinger2": Divergence(lambda x: torch.expm1(-x / 2).square(), lambda x: -torch.expm1(-x / 2), 0.5),
    "jeffreys": Divergence(lambda x: -x * torch.expm1(-x), lambda x: x - torch.expm1(-x), 2.0),
}
"""chi2_pi_ref is Pearson's (u - 1)^2, chi2_ref_pi Neyman's; js is twice the true jsd, which is at most log 2."""

DIVERGENCES = (*TABLE, "alpha")


def divergence(name: str, alpha: float = 0.5) -> Divergence:
    """``alpha`` in (0, 1) matters to the one that is named after it."""
    return _generalised(alpha) if name == "alpha" else TABLE[name]
