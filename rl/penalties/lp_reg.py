"""Lp-Reg: keep the reasonable ones among the rare tokens that the policy is punished for.

    q = pi filtered by min-p (keep p >= kappa max p), renormalised, a constant
    P_t = coef KL(q || pi)(t)   where pi(o_t) is among the lowest rho of the tokens, q(o_t) > 0 and A_t < 0; else 0

Huang et al. 2025, Low-probability Tokens Sustain Exploration in RL with Verifiable Reward, arXiv:2510.03222. Where the
released code differs, by ``rule: released``: rho is the share of the tokens with A < 0 alone, k = max(1, int(rho n)) of
them, and nothing if k = 1; q(o_t) > pi(o_t) replaces q(o_t) > 0; a regularised token is not clipped, and neither is it
here: the penalty gives back what a PPO clip of the loss took from it, at full size whatever the weights are, but not what a
dual clip took. ``estimator: k3`` is the code's: exp(d) - d - 1 on the sampled token, d = log q - log pi, at most 10, with no
gradient beyond. Its recipes take q from the rollout policy, coef 1, kappa 0.02, rho 0.01 (14B) or 0.005 (32B).

With the current policy's q the KL is -log Z, Z the kept mass. With the rollout policy's it needs q itself: at most ``top_k``
tokens and their probabilities are kept, for the selected tokens only.

What we changed: the paper's and the code's percentile is that of the current policy in one micro-batch (``scope: micro``); the
default runs over the generation, at the rollout policy's probabilities. Proxies are those of the sampling temperature; the
code's are of temperature 1. Where a ``fixed`` filter leaves nothing, q is uniform as in the code, and ``full`` leaves the
token alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.special import xlogy

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.divergences import estimator
from entropostat.rl.info import SCOPES
from entropostat.rl.measured import Mean
from entropostat.rl.needs import when
from entropostat.rl.reduce import LOCAL, quantile, top_mask
from entropostat.rl.registry import PENALTIES, option
from entropostat.rl.soft_labels import packed
from entropostat.rl.term import TokenPenalty
from entropostat.rl.truncation import DROPPED
from entropostat.rl.vocab_sums import Wanted

LIMIT = 20.0
"""Bound of the log-ratio of a token whose clip is taken back; no gradient outside."""


@PENALTIES.register(
    "lp_reg",
    paper="arXiv:2510.03222",
    needs=(
        when(proxy="old", estimator="full").needs("soft_logp"),
        when(proxy="current").needs("min_p_logp"),
        when(proxy="current", estimator="full").needs("min_p_mass"),
        when(rule="released").needs("old_logps"),
    ),
    rollout_needs=(
        when(scope="rollout").needs("old_logps"),
        when(proxy="old").needs("min_p_logp"),
        when(proxy="old", estimator="full").needs("min_p_ids", "min_p_probs"),
    ),
    reference="CarlanLark/Lp-Reg-dev core_algos.py:648, apply_min_p",
    provides={
        "candidates": "Share of tokens that are rare enough and of the right sign.",
        "regularised": "Share of tokens that carry the penalty.",
        "kl": "Mean divergence from the proxy over the regularised tokens, nats.",
    },
)
@dataclass(frozen=True)
class LpReg(TokenPenalty):
    """Hold the policy near its own distribution without the noise, on rare tokens that would be punished away.

    Watch ``regularised``: the rarest tokens are mostly those that the filter drops, so with a small ``rho`` it may be 0
    and the term inert. Inert without negative advantages. Costs one more pass over the language-model head per
    generation; on the old proxy's full KL another over the regularised tokens, on a current proxy one over all tokens.
    """

    coef: float = option(1.0, low=0.0, doc="size of the penalty")
    rho: float = option(0.01, low=0.0, high=1.0, doc="share of tokens that count as rare, for A < 0")
    rho_pos: float = option(0.0, low=0.0, high=1.0, doc="the same for A > 0 (published recipes: 0)")
    kappa: float = option(0.02, above=0.0, high=1.0, fixed=True, doc="bar of the filter")
    filter: str = option("minp", choices=("minp", "fixed"), doc="bar in units of the largest probability, or as one")
    proxy: str = option("old", choices=("old", "current"), doc="policy that is filtered: at generation time, or now")
    estimator: str = option("full", choices=("full", "k3"), doc="KL over the vocabulary, or on the sampled token")
    rule: str = option("paper", choices=("paper", "released"), doc="which tokens, and whether they are clipped")
    top_k: int = option(64, low=1, doc="entries of the vocabulary that a proxy may hold")
    scope: str = option("rollout", choices=SCOPES, doc="what the percentile runs over")

    policy_term = True

    def __post_init__(self) -> None:
        if self._packs and self.scope != "rollout":
            raise ValueError(
                f"lp_reg.scope: {self.scope} with estimator full and proxy old: the old distributions are kept for the "
                "tokens that the rollout selects. Use scope rollout, proxy current or estimator k3"
            )

    @property
    def _packs(self) -> bool:
        """Whether whole distributions of the rollout policy are kept."""
        return self.proxy == "old" and self.estimator == "full"

    @property
    def prepared(self) -> str:
        return "rollout" if self.proxy == "old" else self.scope

    @property
    def wanted(self) -> Wanted:
        fixed = self.filter == "fixed"
        return Wanted((), min_p=self.kappa, absolute=fixed, top_k=self.top_k, kept=self._packs, soft=self._packs)

    def prepare(self, batch: TokenBatch) -> Stats:
        stats = {} if self.proxy == "current" else {"proxy_logp": batch.require("min_p_logp")}
        if self.prepared == self.scope:
            stats["candidates"] = self._candidates(batch)
        return stats | packed(batch, stats["candidates"] & _kept(stats["proxy_logp"])) if self._packs else stats

    def _candidates(self, batch: TokenBatch) -> Tensor:
        """(B, T) bool: the rare tokens of the scope, and of the sign that is regularised."""
        a = batch.token_advantages
        rare = torch.zeros_like(batch.valid)
        for share, side in ((self.rho, batch.valid & (a < 0)), (self.rho_pos, batch.valid & (a > 0))):
            if share > 0:
                rare = rare | self._rare(batch, side, share)
        return rare

    def _rare(self, batch: TokenBatch, side: Tensor, share: float) -> Tensor:
        if self.rule == "paper":
            return side & (batch.logps.exp() <= threshold(batch, share))
        count = max(1, int(int(batch.reducer.sum(side.sum())) * share))
        return top_mask(-batch.logps, side, count, batch.reducer) if count > 1 else torch.zeros_like(side)

    def __call__(self, batch: TokenBatch) -> Output:
        seen = batch.detached()
        seen = seen.set(reducer=LOCAL) if self.scope == "micro" else seen
        candidates = batch.stats["candidates"] if "candidates" in batch.stats else self._candidates(seen)
        proxy = batch.stats["proxy_logp"] if self.proxy == "old" else batch.require("min_p_logp")
        chosen = candidates & batch.valid & _kept(proxy)
        if self.rule == "released":
            chosen = chosen & (batch.logps < proxy)
        if self.estimator == "k3":
            kl = estimator(torch.where(chosen, batch.difference(proxy, -DROPPED), 0.0), "low_var_kl")
        elif self._packs:
            kl, labelled = divergence_from_packed(batch)
            chosen = chosen & labelled
        else:
            mass = batch.require("min_p_mass")
            chosen = chosen & (mass > 0)
            kl = -torch.where(chosen, mass, 1.0).log()
        penalty = self.coef * kl
        if self.rule == "released":
            penalty = penalty + unclipped(batch)
        return torch.where(chosen, penalty, 0.0), {
            **batch.means(candidates=candidates, regularised=chosen),
            "kl": Mean.over(kl, chosen),
        }


def _kept(proxy_logp: Tensor) -> Tensor:
    return proxy_logp > DROPPED / 2


def threshold(batch: TokenBatch, share: float) -> Tensor:
    """0-dim: the probability below which ``share`` of the tokens of all ranks lie; 0 without tokens."""
    pooled = batch.reducer.gather(batch.logps[batch.valid].exp())
    return quantile(pooled, share) if pooled.numel() else batch.logps.new_zeros(())


def divergence_from_packed(batch: TokenBatch) -> tuple[Tensor, Tensor]:
    """(B, T) KL(q || pi) on the tokens whose q was kept, and which those are."""
    positions, probs = batch.stats["soft_positions"], batch.stats["soft_probs"]
    soft = batch.require("soft_logp")
    labelled = torch.zeros_like(batch.valid).scatter(1, positions, probs.sum(2) > 0)
    negentropy = torch.zeros_like(soft).scatter(1, positions, xlogy(probs, probs).sum(2).to(soft.dtype))
    return torch.where(labelled & batch.valid, negentropy - soft, 0.0), labelled


def unclipped(batch: TokenBatch) -> Tensor:
    """(B, T) what takes the loss of PPO with the bounds of ``batch.clip`` to -A r."""
    if batch.clip is None:
        return torch.zeros_like(batch.logps)
    a, ratio = batch.token_advantages, batch.log_ratio.clamp(-LIMIT, LIMIT).exp()
    return -a * ratio - torch.maximum(-a * ratio, -a * ratio.clamp(*batch.clip))
