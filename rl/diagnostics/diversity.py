"""How many kinds there are in a set of things: Hill numbers, the Vendi score, and what lies between them.

For shares p (..., n) and a similarity Z (..., n, n) with ones on its diagonal, of order q:

    Leinster-Cobbold   (sum_i p_i (Zp)_i^(q-1))^(1/(1-q))          q = 1: prod (Zp)_i^(-p_i)       q = inf: 1 / max (Zp)_i
    Hill               the same with Z = identity: 0 counts the kinds, 1 is exp(Shannon entropy), 2 the inverse of Simpson's index
    Vendi              Hill number of the eigenvalues of sqrt(p_i p_j) K_ij         q = 2: 1 / sum_ij p_i p_j K_ij^2, without them

Sources: Leinster and Cobbold 2012; Friedman and Dieng, arXiv:2210.02410 (vertaix/Vendi-Score@c791c30). With Z that says "the
same answer" and equal p, order 1 is exp of the entropy of the answers. The released Vendi score of order below 1 counts what
rounding leaves of an eigenvalue 0 as a kind; here it is 0. All are at least 1 and at most n; 0 where p is 0 throughout.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ROUNDING = 1e-12
"""Eigenvalues, which sum to 1, below this are 0."""


def hill(p: Tensor, q: float) -> Tensor:
    """(..., n) -> (...). What has no share is no kind, whatever the order."""
    return _of_order(p, p, q)


def leinster_cobbold(p: Tensor, similarity: Tensor, q: float) -> Tensor:
    """(..., n) and (..., n, n) -> (...)."""
    return _of_order(p, (similarity @ p.unsqueeze(-1)).squeeze(-1), q)


def vendi(kernel: Tensor, p: Tensor, q: float) -> Tensor:
    """(..., n, n) with ones on the diagonal, and the (..., n) shares of its members -> (...)."""
    if q == 2:
        return _inverse((p.unsqueeze(-1) * p.unsqueeze(-2) * kernel.square()).sum((-2, -1)))
    root = p.sqrt()
    return hill(_eigenvalues(root.unsqueeze(-1) * kernel * root.unsqueeze(-2)), q)


def vendi_of_vectors(unit: Tensor, q: float) -> Tensor:
    """Of (..., n, d) vectors of length 1 with equal shares, from d x d numbers: for fewer dimensions than vectors."""
    return hill(_eigenvalues(unit.mT @ unit / unit.shape[-2]), q)


def vendi_1_and_2(kernel: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    """Of (P, G, G) kernels of ``n`` (P,) members with equal shares each, 0 beyond them: both orders in a few operations."""
    scaled = kernel / n.view(-1, 1, 1)
    values = torch.linalg.eigvalsh(scaled).clamp(min=0.0)
    return torch.special.entr(values).sum(-1).exp(), 1 / scaled.square().sum((-2, -1))


def internal_diversity(kernel: Tensor, power: float = 1.0) -> Tensor:
    """1 less the mean of the kernel's powers, all pairs and each with itself."""
    return 1 - kernel.pow(power).mean((-2, -1))


def rankme(features: Tensor) -> Tensor:
    """(n, d) -> exp of the entropy of the singular values, as shares of their sum: RankMe, arXiv:2210.02885. At most min(n, d)."""
    values = torch.linalg.svdvals(features.double())
    return hill(values / values.sum().clamp(min=torch.finfo(torch.float64).tiny), 1.0)


def _eigenvalues(matrix: Tensor) -> Tensor:
    values = torch.linalg.eigvalsh(matrix)
    return torch.where(values > ROUNDING, values, 0.0)


def _of_order(p: Tensor, ordinary: Tensor, q: float) -> Tensor:
    """``ordinary`` (..., n) is how common each member is: the share of what is like it."""
    there = p > 0
    common = torch.where(there, ordinary, 1.0)
    if q == 1:
        return torch.where(there.any(-1), (-(p * common.log()).sum(-1)).exp(), 0.0)
    if math.isinf(q):
        return _inverse(torch.where(there, ordinary, 0.0).amax(-1))
    total = torch.where(there, p * common.pow(q - 1), 0.0).sum(-1)
    return torch.where(there.any(-1), total.pow(1 / (1 - q)), 0.0)


def _inverse(x: Tensor) -> Tensor:
    return torch.where(x > 0, 1 / x, 0.0)
