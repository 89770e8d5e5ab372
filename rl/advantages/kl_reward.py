"""A divergence from the reference policy in the reward, with the weight that makes its gradient exact.

    A_t <- A_t - coef ( f'(u_t) - f'(1) + sum over t' > t of k_f(t') ),     u = pi / ref,  x = log u

For D_f(pi || ref) = E_ref[f(u)] at every state, summed over the states that the policy visits, the policy gradient is

    E sum_t grad log pi_t ( f'(u_t) + sum over t' > t of D_f(state t') )

(f'(u_t): Go et al. 2023, arXiv:2302.08215; the second sum: what a token does to the states after it, which no penalty on the
token itself carries, see ``kl_ref``). k_f is the unbiased estimator of divergences.py, and f'(1) a constant that changes no
expectation and makes the weight 0 at the reference: for the reverse KL it is x itself.

What others do: the estimator of the token itself in the reward (k3, as TRL's experimental PPO and verl offer) instead of
f'(u_t) - f'(1). That is another gradient for every divergence, and right for one: k1 = x of the reverse KL (Ziegler et al.
2019, arXiv:1909.08593). ``future: false`` leaves the second sum out: then it is ``kl_ref``'s gradient in the form of an
advantage, and goes through the clip of the loss as advantages do.

All of it is the old policy's, once per generation, without gradient. The sum over later tokens grows with their number: the
same ``coef`` weighs more than in ``kl_ref``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.divergences import DIVERGENCES, divergence, k3
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.reshaping import advantages_before
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "kl_reward",
    paper="arXiv:2302.08215",
    rollout_needs=("old_logps", "ref_logps", "rewards"),
    clock="rollout",
    provides={
        "kl": "KL(pi || ref) of the policy that generated, k3, token mean, nats: whatever the divergence.",
        "divergence": "The penalised divergence by its own estimator, likewise, before any normalisation.",
        "cost": "Mean size of what is taken off the advantage of a token, likewise.",
        "clamped": "Share of tokens whose log-ratio to the reference is not inside (-clamp, clamp).",
    },
)
@dataclass(frozen=True)
class KLReward(Advantage):
    """Pull the policy towards a frozen reference through the advantages: each token pays for itself and for what follows.

    Reshapes the advantages before it. Costs one reference model and one forward
    per generation. Inert at ``coef: 0`` and while policy and reference are equal. The sum over later tokens is exact on
    average and noisy on one completion, the more the longer it is: watch ``cost`` against the size of the advantages.
    A completion that nothing could score is left out.
    """

    coef: float = option(1e-3, low=0.0, doc="size of the penalty")
    divergence: str = option("reverse_kl", choices=DIVERGENCES, doc="which divergence; js is twice jsd")
    alpha: float = option(
        0.5, above=0.0, below=1.0, fixed=True, doc="of divergence alpha; 0: reverse KL, 1: forward KL"
    )
    future: bool = option(True, doc="a token also pays for the divergence of the tokens after it")
    normalize_curvature: bool = option(False, doc="divide by the curvature f''(1) of the divergence at the reference")
    clamp: float = option(20.0, above=0.0, high=28.0, fixed=True, doc="bound of |log pi - log ref|")

    tokenwise = True
    reshapes = True
    compares = False
    """The distance to the reference is not relative to the other completions of a prompt."""

    def __post_init__(self) -> None:
        if self.normalize_curvature and self.divergence == "tv":
            raise ValueError(
                "kl_reward.normalize_curvature: divergence tv has a kink at the reference; set it to false"
            )

    def __call__(self, batch: TokenBatch) -> Output:
        before = advantages_before(batch, "kl_reward")
        x = batch.difference(batch.require("ref_logps"), self.clamp)
        chosen = divergence(self.divergence, self.alpha)
        value = chosen.k(x)  # 0 where the mask is 0, as x is
        cost = chosen.slope(x) - chosen.slope(torch.zeros_like(x))
        if self.future:
            later = torch.cat([value[:, 1:], torch.zeros_like(value[:, :1])], dim=1)
            cost = cost + later.flip(1).cumsum(1).flip(1)
        coef = self.coef
        if self.normalize_curvature and chosen.curvature is not None:
            coef = self.coef / chosen.curvature
        paying = batch.valid & ~batch.require("rewards").isnan().unsqueeze(1)
        cost = torch.where(paying, coef * cost, 0.0)
        base = before.unsqueeze(1) if before.dim() == 1 else before
        advantages = torch.where(batch.valid, base - cost, 0.0)
        return advantages, batch.means(kl=k3(x), divergence=value, cost=cost.abs(), clamped=x.abs() >= self.clamp)
