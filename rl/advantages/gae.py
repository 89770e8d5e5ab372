"""Generalised advantage estimation: what a token earns beyond the critic's value of the state it was chosen in.

    delta_t = r_t + gamma V(s_t+1) - V(s_t),     A_t = sum over k of (gamma lam)^k delta_t+k,     return_t = A_t + V(s_t)

Schulman et al. 2015, arXiv:1506.02438, as PPO uses it (arXiv:1707.06347). The reward of a completion arrives at its last
token. After EOS nothing follows; a completion that was cut off goes on, so the value of the state after its last token
stands for the rest (``bootstrap``). Tool output is skipped over: t counts the tokens that the policy chose.

``kl_coef`` puts the distance to the reference into the reward of the token, with x = log pi - log ref:

    reverse KL:  r_t <- r_t - kl_coef x        others:  r_t <- r_t - kl_coef k_f(t),   A_t <- A_t - kl_coef (f'(u_t) - f'(1) - k_f(t))

Either way a token pays f'(u_t) - f'(1) for itself and an unbiased estimate for each later token, discounted: the exact policy
gradient, see ``kl_reward``; the critic learns to expect the divergence of its own state and of those after it. For the reverse
KL x = k1 serves both (Ziegler et al. 2019, arXiv:1909.08593). TRL's removed PPO and verl also offer k3 of a token as its own
reward: that is the gradient of nothing.

What we changed: the trainers of the RLHF libraries do not bootstrap; ``bootstrap: false`` is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Metrics, Output, TokenBatch
from entropostat.rl.divergences import DIVERGENCES, divergence, k3
from entropostat.rl.measured import Mean
from entropostat.rl.needs import unless
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.returns import discounted, scored_tokens, whitened
from entropostat.rl.term import CriticAdvantage


@ADVANTAGES.register(
    "gae",
    paper="arXiv:1506.02438",
    rollout_needs=("rewards", "old_values", "truncated", unless(kl_coef=None).needs("old_logps", "ref_logps")),
    clock="rollout",
    reference="verl compute_gae_advantage_return",
    provides={
        "std": "Standard deviation of the advantages before whitening, over the tokens of all ranks.",
        "truncated": "Share of the completions that ran into the length limit.",
        "kl": "KL(pi || ref) of the policy that generated, k3, token mean, nats: whatever the divergence.",
        "cost": "What is taken off the reward of a token on average, likewise; for its own token with the correction.",
        "clamped": "Share of tokens whose log-ratio to the reference is not inside (-clamp, clamp).",
    },
)
@dataclass(frozen=True)
class GAE(CriticAdvantage):
    """Advantages of tokens from a critic: the base estimator of PPO.

    ``lam: 1`` is the return minus the value: no bias, all the noise of the completion. ``lam: 0`` looks one token ahead and
    is right only as far as the critic is. A completion that nothing could score gets 0, and the value it had as its return.
    ``bootstrap`` adds the critic's forecast to a score that the cut completion already got: turn it off where that score
    is final, or the value of cut states feeds on itself.
    """

    gamma: float = option(1.0, above=0.0, high=1.0, fixed=True, doc="discount per token")
    lam: float = option(0.95, low=0.0, high=1.0, doc="decay of the temporal differences of later tokens")
    whiten: bool = option(True, doc="advantages with mean 0 and deviation 1 over the tokens of the generation")
    bootstrap: bool = option(True, doc="a completion cut off by length goes on at the value of its last state")
    kl_coef: float | None = option(
        None, low=0.0, doc="size of the divergence in the reward; null: none, and no reference model"
    )
    divergence: str = option("reverse_kl", choices=DIVERGENCES, doc="which divergence; js is twice jsd")
    alpha: float = option(
        0.5, above=0.0, below=1.0, fixed=True, doc="of divergence alpha; 0: reverse KL, 1: forward KL"
    )
    clamp: float = option(20.0, above=0.0, high=28.0, fixed=True, doc="bound of |log pi - log ref|")

    tokenwise = True
    compares = False
    """A critic stands in for the other completions of a prompt."""

    def __call__(self, batch: TokenBatch) -> Output:
        advantages, _ = self.estimate(batch)
        scored = scored_tokens(batch)
        white, std = whitened(advantages, scored, batch)
        truncated = batch.require("truncated")
        metrics: Metrics = {"std": std, "truncated": Mean.over(truncated.to(std.dtype), torch.ones_like(truncated))}
        if self.kl_coef is not None:
            x, value, own = self._divergence(batch)
            cost = torch.where(scored, self.kl_coef * (value + own), 0.0)
            metrics |= batch.means(kl=k3(x), cost=cost, clamped=(x.abs() >= self.clamp).to(x.dtype))
        return white if self.whiten else advantages, metrics

    def estimate(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """(B, T) advantages before whitening, and (B, T) returns for the critic to learn; 0 where the mask is 0.

        Nothing was learnt from a completion without a score: advantage 0, and the old value as the return.
        """
        scored, values, truncated = scored_tokens(batch), batch.require("old_values"), batch.require("truncated")
        # A row's own tokens first, in order: the recursion then runs over them as if nothing stood between.
        order = batch.valid.long().argsort(dim=1, descending=True, stable=True)
        length = batch.valid.sum(1, keepdim=True)
        last = torch.arange(order.shape[1], device=order.device) == length - 1
        states = torch.where(batch.valid, values[:, :-1], 0.0)
        after = values.gather(1, (order * last).sum(1, keepdim=True) + 1)
        goes_on = last & truncated.bool().unsqueeze(1) if self.bootstrap else torch.zeros_like(last)
        own = torch.zeros_like(states)
        paid = torch.zeros_like(states)
        if self.kl_coef is not None:
            _, value, correction = self._divergence(batch)
            own, paid = -self.kl_coef * correction, torch.where(batch.valid, -self.kl_coef * value, 0.0)
        state = states.gather(1, order)
        following = torch.where(goes_on, after, torch.nn.functional.pad(state[:, 1:], (0, 1)))
        final = torch.where(last, batch.require("rewards").unsqueeze(1), 0.0)
        delta = final + paid.gather(1, order) + self.gamma * following - state
        summed = torch.zeros_like(delta).scatter(1, order, discounted(delta, self.gamma * self.lam))
        return torch.where(scored, summed + own, 0.0), torch.where(scored, summed, 0.0) + states

    def _divergence(self, batch: TokenBatch) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T) x, the divergence of a token as the states before it see it, and what its own choice pays beside that."""
        x = batch.difference(batch.require("ref_logps"), self.clamp)
        if self.divergence == "reverse_kl":
            return x, x, torch.zeros_like(x)
        chosen = divergence(self.divergence, self.alpha)
        value = chosen.k(x)
        return x, value, chosen.slope(x) - chosen.slope(torch.zeros_like(x)) - value
