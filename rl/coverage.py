"""Coverage: the chance that one of N draws is right, of a success rate p, without cancellation near 0 and 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_all_wrong(p: Tensor, n: float) -> Tensor:
    """log (1 - p)^n; 0 for n = 0, whatever p is."""
    log: Tensor = torch.special.xlog1py(n, -p)
    return log


def coverage(p: Tensor, n: float) -> Tensor:
    """1 - (1 - p)^n."""
    return -torch.expm1(log_all_wrong(p, n))


def log_coverage(p: Tensor, n: float) -> Tensor:
    """-inf at p = 0."""
    wrong = log_all_wrong(p, n)
    return torch.where(wrong < -math.log(2), torch.log1p(-wrong.exp()), (-torch.expm1(wrong)).log())


def coverage_slope(p: Tensor, n: float) -> Tensor:
    """d coverage / d p = n (1 - p)^(n - 1)."""
    return n * log_all_wrong(p, n - 1).exp()


def log_coverage_slope(p: Tensor, n: float) -> Tensor:
    """d log coverage / d p; times p it is DCO's factor, which is 1 for n = 1 or a small p, and nearly 0 for p far above 1 / n."""
    return coverage_slope(p, n) / coverage(p, n)
