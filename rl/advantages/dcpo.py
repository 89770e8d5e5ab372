"""DCPO: reinforce right completions as if a hotter or colder policy had drawn them.

    A_t <- (1 - alpha) A_t + alpha R rho_t,     rho_t = pi^T(o_t) / pi(o_t),   pi^T = softmax(z / (T sampling_temperature))
    alpha = x / (1 + x),   x = min(|H - target|, cap) / rate,   T = t_high where H <= target, else t_low
    R = 1 where the reward is above ``success``, else 0;   rate = mean of R

Distribution-Centric Policy Optimization, arXiv:2601.12730. All of it is the old policy's: H is the mean of its exact token
entropies over all ranks, rho is a constant, per token and not cumulative. T alone gives the direction; at the target alpha
is 0 and the chain is left alone, ``cap`` nats away from it alpha stops growing. The paper's coefficient is a small constant.

The released code, and what we changed: no right completion gives it 0 / 0 and NaN advantages, here alpha is 0. Its H is
the sampled negative log-likelihood of the last update, with 0 before the first. A few right completions give it alpha near
1; here the rate counts as at least ``least_rate``. Its rho has no bound; here it stays within [1 / bound, bound].
``reference: true`` takes these two bounds away (but exp(60) stays the largest rho).

The paper samples at temperature 1, and T is meant relative to that: log-probs of the batch are at the sampling temperature,
and T multiplies it. Hence ``sampling_temperature``, which must be the trainer's.

Not to be confused with Dynamic Clipping Policy Optimization, arXiv:2509.02333, also DCPO, which sets the clip bounds of a
token by its probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import LIMIT, Output, TokenBatch
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.reshaping import advantages_before, mean_entropy
from entropostat.rl.term import Advantage
from entropostat.rl.vocab_sums import Wanted


@ADVANTAGES.register(
    "dcpo",
    paper="arXiv:2601.12730",
    rollout_needs=("old_logps", "old_entropy", "rewards", "logit", "lse"),
    clock="rollout",
    reference="597358816/AEPO (the repository of DCPO is the same code) ray_trainer.py:813",
    provides={
        "alpha": "Share of the virtual policy's gradient; 1 - alpha is left of the chain's advantages.",
        "temperature": "T of the virtual policy, relative to the sampling temperature.",
        "rate": "Share of completions whose reward is above the threshold.",
        "entropy": "Mean entropy of the generation that is held against the target, nats.",
        "bounded": "Share of tokens whose rho is at a bound.",
    },
)
@dataclass(frozen=True)
class DCPO(Advantage):
    """Hold entropy at a target by rewarding right completions the more, the better a hotter (or colder) policy likes them.

    Reshapes the advantages before it. Costs one more pass over the language-model head per generation. Inert at the target,
    and where nothing is right. A group of right completions alone gets an advantage too; and where few completions are
    right, ``alpha`` is near its largest value for any entropy far from the target: watch it.
    """

    target: float = option(0.5, low=0.0, doc="mean token entropy to hold, nats (paper: 0.25 to 1, best 0.25)")
    cap: float = option(0.1, above=0.0, doc="distance to the target, in nats, beyond which alpha stops growing")
    t_high: float = option(1.2, above=0.0, fixed=True, doc="T at or below the target, times the sampling temperature")
    t_low: float = option(0.8, above=0.0, fixed=True, doc="T above the target, times the sampling temperature")
    sampling_temperature: float = option(1.0, above=0.0, fixed=True, doc="the trainer's sampling temperature")
    success: float = option(0.05, fixed=True, doc="a completion is right where its reward is above this")
    least_rate: float = option(0.1, low=0.0, high=1.0, fixed=True, doc="the rate counts as at least this much")
    bound: float = option(5.0, above=1.0, fixed=True, doc="rho stays within [1 / bound, bound]")
    reference: bool = option(False, doc="no least rate and no bound of rho, as the released code")

    tokenwise = True
    reshapes = True
    compares = False
    """The second part of the advantage is not relative to the other completions of a prompt."""

    @property
    def assumed_temperature(self) -> float:
        return self.sampling_temperature

    @property
    def wanted(self) -> Wanted:
        return Wanted(
            (), tuple(sorted({self.t_low * self.sampling_temperature, self.t_high * self.sampling_temperature}))
        )

    def __call__(self, batch: TokenBatch) -> Output:
        before = advantages_before(batch, "dcpo")
        entropy, rewards = mean_entropy(batch), batch.require("rewards")
        right = rewards > self.success  # never where nothing could score
        scored = (~rewards.isnan()).sum()
        hits, count = batch.reducer.sum(torch.stack([right.sum(), scored]).to(entropy.dtype)).unbind()
        rate = hits / count
        least = 1e-12 if self.reference else max(self.least_rate, 1e-12)
        x = (entropy - self.target).abs().clamp(max=self.cap) / rate.clamp(min=least)
        alpha = torch.where((hits > 0) & entropy.isfinite(), x / (1 + x), 0.0)
        hot = entropy <= self.target
        rho = torch.where(hot, self._virtual_ratio(batch, self.t_high), self._virtual_ratio(batch, self.t_low))
        bounded = torch.zeros_like(batch.valid)
        if not self.reference:
            bounded = batch.valid & ((rho > self.bound) | (rho < 1 / self.bound))
            rho = rho.clamp(1 / self.bound, self.bound)
        reinforced = torch.where(right, 1.0, 0.0).unsqueeze(1) * rho
        base = before.unsqueeze(1) if before.dim() == 1 else before
        advantages = torch.where(batch.valid, (1 - alpha) * base + alpha * reinforced, 0.0)
        t = torch.where(hot, entropy.new_tensor(self.t_high), entropy.new_tensor(self.t_low))
        t = torch.where(entropy.isnan(), torch.nan, t)
        metrics = {"alpha": alpha, "temperature": t, "rate": rate, "entropy": entropy}
        return advantages, {**metrics, **batch.means(bounded=bounded)}

    def _virtual_ratio(self, batch: TokenBatch, t: float) -> Tensor:
        """(B, T) pi^T / pi of the tokens; 1 where the mask is 0."""
        t = t * self.sampling_temperature
        lse = batch.lse
        if lse is None or t not in lse:
            raise ValueError(
                f"dcpo reads batch.lse at temperature {t:g}, which the pass over the vocabulary did not give"
            )
        log_rho = batch.require("logit") / t - lse[t] - batch.require("old_logps")
        return torch.where(batch.valid, torch.nan_to_num(log_rho, nan=0.0).clamp(-LIMIT, LIMIT), 0.0).exp()
