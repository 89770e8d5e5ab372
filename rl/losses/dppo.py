"""DPPO: a trust region on the probability of a token, not on its ratio.

    r = exp(log pi - log mu),  p = pi, q = mu of the sampled token,  mu: the policy that sampled it
    tv:  D = |p - q|           kl:  D = q log (q / p) + (1 - q) log ((1 - q) / (1 - p))
    dropped:  A > 0, p > q and D > high,   or  A < 0, p < q and D > low
    L_t = -A min(r, cap) [not dropped],    gradient -A min(r, cap) d log pi

Divergence Proximal Policy Optimization, arXiv:2602.04879 (not confirmed in the paper: known to us by three released codes).
A ratio of 1.2 is a large move for a token of probability 0.5 and none for one of 1e-4, yet PPO's clip holds both: the rare
tokens, which carry the entropy, are clipped first. D is that of the Bernoulli variable "this token or another".

Where the codes differ. verl measures against the trainer's old policy (``behaviour: old``), which is the sampler only where both
are one engine; its value is -A min(r, cap) log pi (``value: score``), of the same gradient; its cap is 3 in every run, as the
actor's configuration always sets one, although the function asks for 20, ours. SkyRL and prime-rl have none (``cap: null``);
prime-rl adds ``square`` (log pi - log mu)^2, also on dropped tokens. The bound of kl is 0.05 in SkyRL's advice and here, and
0.2 in verl, which has one default for both divergences. 1e-8 stands beside 1 - p and 1 - q, as in verl.

What we changed: a dropped, impossible or masked token has no product with what it is not, so nothing turns to NaN; tokens of
A = 0 are not counted as dropped; infinite log-ratios are bounded by ``clamp``.

Not to be confused with Diffusion Policy Policy Optimization, arXiv:2409.00588, also DPPO, of robotics.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.bounds import Bounded
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.mismatch import behaviour, log_likelihood, probabilities
from entropostat.rl.needs import when
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.term import Surrogate

BOUND = {"tv": 0.2, "kl": 0.05}
NEAR = 1e-8


@LOSSES.register(
    "dppo",
    paper="arXiv:2602.04879",
    needs=("old_logps", when(behaviour="sampler").needs("sampler_logps")),
    reference="verl 0.9.1 core_algos.py:1380, 1461; prime-rl loss.py:109; SkyRL ppo_utils.py:867",
    provides={
        "low_fraction": "Share of tokens with A < 0 that were dropped.",
        "high_fraction": "Share of tokens with A > 0 that were dropped.",
        "divergence": "Mean divergence of a token's Bernoulli variable from the policy that sampled it.",
        "capped": "Share of tokens whose ratio the cap cut off.",
    },
)
@dataclass(frozen=True)
class DPPO(Surrogate):
    """Drop a token once its probability, and not its ratio, has moved too far from the policy that sampled it.

    With the sampler as ``behaviour`` the ratio is also the correction for the sampler's log-probs: TRL's own must then be off.
    Inert where every generation serves one update and the trainer samples itself: pi is then mu. ``square`` is for
    ``prime-rl``'s form; a penalty (``kl_ref``) is the general way.
    """

    type: str = option("dapo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    divergence: str = option("tv", choices=tuple(BOUND), doc="total variation or KL of the token's Bernoulli variable")
    low: float | None = option(None, low=0.0, doc="bound for A < 0; null: 0.2 for tv, 0.05 for kl")
    high: float | None = option(None, low=0.0, doc="bound for A > 0; null: 0.2 for tv, 0.05 for kl")
    behaviour: str = option("sampler", choices=("sampler", "old"), doc="mu: the engine that sampled, or the old policy")
    cap: float | None = option(20.0, above=1.0, doc="largest weight of a token (verl: 3); null: none")
    value: str = option("ratio", choices=("ratio", "score"), doc="what the loss reads; the gradient is the same")
    square: float = option(0.0, low=0.0, doc="coefficient of (log pi - log mu)^2 (prime-rl: 1e-3)")
    clamp: float = option(20.0, above=0.0, high=80.0, fixed=True, doc="bound of |log ratio|")

    stops_gradient = True
    holds = "ratio"
    corrects_sampler = True

    def _ratio(self, batch: TokenBatch) -> Tensor:
        """(B, T), a constant."""
        return batch.difference(behaviour(batch, self.behaviour), self.clamp).detach().exp()

    def _divergence(self, batch: TokenBatch) -> Tensor:
        """(B, T), a constant; 0 where the mask is 0."""
        log_p, log_q, p, q = probabilities(batch, behaviour(batch, self.behaviour))
        if self.divergence == "tv":
            return (p - q).abs()
        return q * (log_q - log_p) + (1 - q) * ((1 - q + NEAR) / (1 - p + NEAR)).log()

    def bounded(self, batch: TokenBatch) -> Bounded:
        """The dropped tokens."""
        a, d = batch.token_advantages, self._divergence(batch)
        _, _, p, q = probabilities(batch, behaviour(batch, self.behaviour))
        low, high = (BOUND[self.divergence] if bound is None else bound for bound in (self.low, self.high))
        return batch.valid & (a < 0) & (p < q) & (d > low), batch.valid & (a > 0) & (p > q) & (d > high)

    def __call__(self, batch: TokenBatch) -> Output:
        low, high = self.bounded(batch)
        ratio = self._ratio(batch)
        weight = ratio if self.cap is None else ratio.clamp(max=self.cap)
        score = log_likelihood(batch)
        one = score if self.value == "score" else (score - score.detach()).exp()
        loss = torch.where(low | high, 0.0, -batch.token_advantages * weight * one)
        if self.square:
            loss = loss + self.square * batch.difference(behaviour(batch, self.behaviour), self.clamp).square()
        metrics = {"low_fraction": low, "high_fraction": high, "divergence": self._divergence(batch)}
        return loss, batch.means(**metrics, capped=weight != ratio)
