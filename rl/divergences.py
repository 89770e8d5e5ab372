"""Sampled divergence estimators on log-ratios, in nats. x = log pi - log ref on tokens drawn from pi (or its old self).

Schulman 2020, Approximating KL divergence. Naive autograd through a fixed-sample estimator is wrong: E[grad k1] = 0 and
E[grad k3] is the gradient of the *forward* KL. Multiplied by the differentiable ratio pi / pi_old, the gradient of k3 is
exactly that of KL(pi || ref).
"""

from __future__ import annotations

import torch
from torch import Tensor

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
