"""What reward a given KL to the first policy can buy: the tilted optimum, best-of-N, and where a trained policy stands.

    tilted      phi_beta(y) = p(y) exp(beta r(y)) / Z: the most reward at its KL, and the least KL at its reward
                KL(w || phi) = KL(w || p) - KL(phi || p) - beta (E_w r - E_phi r) for every policy w
    best-of-N   pi_N(y) = p(y) (F(r)^N - F(r-)^N) / P(R = r), ties drawn at random; KL at most log N - (N - 1) / N, which is exact
                where no two rewards are equal and no one outcome weighs anything, and far too much for rewards of 0 and 1

From n samples of one prompt: self-normalised importance sampling for the first, the unbiased sum over order statistics for the
second. Averages over prompts are at equal beta: the optimum spends its KL where it buys the most.

Sources: Yang et al., arXiv:2404.01730; Beirami et al., arXiv:2401.01879. Float64 throughout; KL in nats per completion.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

LEAST = 20.0
"""Effective samples below which an estimate of the tilted optimum is not told."""
MOST = 0.5
"""Share of the prompts at which an estimate over all of them must be usable."""
STEPS = 60
"""Bisections: more than the digits of a float64."""
LARGEST = 1e9
"""Standard deviations of the reward: beyond it all the mass is on the largest."""


class Point(NamedTuple):
    """Of one policy."""

    reward: Tensor
    kl: Tensor


class Estimate(NamedTuple):
    """Of a policy that nobody has sampled from."""

    reward: Tensor
    kl: Tensor
    effective: Tensor
    """1 / sum w^2: as many samples as count."""

    @property
    def usable(self) -> Tensor:
        return self.effective >= LEAST


Of = Callable[[Estimate], Tensor]


def tilted_shares(p: Tensor, reward: Tensor, beta: float) -> Tensor:
    """(..., n) the optimum itself."""
    return (p.log() + beta * reward).softmax(-1)


def tilted(p: Tensor, reward: Tensor, beta: float) -> Point:
    """Exact, over (..., n) outcomes of probability ``p``."""
    w = tilted_shares(p, reward, beta)
    return Point((w * reward).sum(-1), divergence(w, p))


def divergence(w: Tensor, p: Tensor) -> Tensor:
    """(..., n) -> (...) KL(w || p)."""
    parts: Tensor = torch.special.xlogy(w, w) - torch.special.xlogy(w, p)
    return parts.sum(-1)


def excess_kl(w: Tensor, p: Tensor, reward: Tensor, beta: float) -> Tensor:
    """KL(w || phi_beta), from rewards and divergences alone."""
    best = tilted(p, reward, beta)
    return divergence(w, p) - best.kl - beta * ((w * reward).sum(-1) - best.reward)


def best_of_n(p: Tensor, reward: Tensor, n: int) -> Point:
    """Exact, over (n,) outcomes, ties included."""
    levels, level = torch.unique(reward, return_inverse=True)
    mass = p.new_zeros(levels.numel()).index_add_(0, level, p)
    upto = mass.cumsum(0).clamp(max=1.0)
    won = upto**n - (upto - mass).clamp(min=0.0) ** n
    w = torch.where(mass[level] > 0, p * won[level] / mass[level], 0.0)
    return Point((w * reward).sum(-1), divergence(w, p))


def best_of_n_bound(n: int) -> float:
    return math.log(n) - (n - 1) / n


def estimated_tilted(rewards: Tensor, beta: float) -> Estimate:
    """From (..., n) rewards of samples of the first policy."""
    w = (beta * rewards.double()).softmax(-1)
    kl = math.log(rewards.shape[-1]) + torch.special.xlogy(w, w).sum(-1)
    return Estimate((w * rewards).sum(-1), kl.clamp(min=0.0), 1 / w.square().sum(-1))


def estimated_best_of_n(rewards: Tensor, n: int) -> Tensor:
    """(..., samples) -> (...) unbiased mean of the largest of ``n``: sum_i r_(i) C(i-1, n-1) / C(samples, n)."""
    samples = rewards.shape[-1]
    if not 1 <= n <= samples:
        raise ValueError(f"the best of {n} cannot be told from {samples} samples")
    place = torch.arange(1, samples + 1, dtype=torch.float64, device=rewards.device)
    last = place >= n
    # C(i-1, n-1) / C(samples, n), in logarithms
    log = torch.lgamma(place) - torch.lgamma((place - n + 1).clamp(min=1)) - math.lgamma(n)
    log = log - (math.lgamma(samples + 1) - math.lgamma(samples - n + 1) - math.lgamma(n + 1))
    return (rewards.double().sort(-1).values * torch.where(last, log.exp(), 0.0)).sum(-1)


def least_kl(rewards: Tensor, reward: float) -> float:
    """Of the tilted optimum that earns ``reward`` on average over (P, n) samples of P prompts, one beta for all of them; NaN where
    no beta does, or too few samples count at it."""
    beta = _beta(rewards, lambda found: found.reward, reward)
    return _usable(rewards, beta, lambda found: found.kl)


def most_reward(rewards: Tensor, kl: float) -> float:
    """The same the other way round: what ``kl`` could have earned."""
    beta = _beta(rewards, lambda found: found.kl, kl)
    return _usable(rewards, beta, lambda found: found.reward)


def efficiency(rewards: Tensor, reward: float, kl: float) -> float:
    """Share of the reward that its KL could have bought, of a policy with ``reward`` and ``kl``; NaN where that is not known."""
    first = float(rewards.double().mean())
    gain = most_reward(rewards, kl) - first
    return (reward - first) / gain if gain > 0 else math.nan


def _beta(rewards: Tensor, of: Of, goal: float) -> float:
    """Both reward and KL rise with beta; NaN where the goal is out of reach."""

    def at(beta: float) -> float:
        return float(of(estimated_tilted(rewards, beta)).mean())

    spread = float(rewards.double().std())
    if not spread > 0 or not at(0.0) <= goal:
        return math.nan
    low, high = 0.0, 1 / spread
    while at(high) < goal:
        low, high = high, 2 * high
        if high * spread > LARGEST:
            return math.nan
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle) < goal else (low, middle)
    return high


def _usable(rewards: Tensor, beta: float, of: Of) -> float:
    if math.isnan(beta):
        return math.nan
    found = estimated_tilted(rewards, beta)
    return float(of(found).mean()) if bool(found.usable.double().mean() >= MOST) else math.nan
