"""KL to the reference policy, in the loss.

    P_t = coef * rho_t * k3_t,   k3 = exp(-x) + x - 1,  x = log pi - log ref,  rho = pi / pi_old

Reverse KL, KL(pi || ref). With ``gradient: exact`` the differentiable ratio rho multiplies k3: its expected gradient is
exactly that of the per-token KL, also off-policy, and it is TRL 1.16's ``beta`` with ``use_bias_correction_kl`` (to the
digit, for importance sampling at the token level). ``gradient: pathwise`` drops rho: that is GRPO's original formula
(arXiv:2402.03300, Eq. 4), whose gradient is that of the forward KL at pi = pi_old. Neither carries the effect of a token
on the divergence of later tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.divergences import k3
from entropostat.rl.registry import PENALTIES, option


@PENALTIES.register(
    "kl_ref",
    paper="arXiv:2402.03300",
    needs=("ref_logps", "old_logps"),
    reference="TRL 1.16 beta; verl core_algos.py:1841",
    provides={
        "kl": "KL(pi || ref), k3, token mean, nats.",
        "k1": "The same by k1: unbiased, may be negative.",
        "clamped": "Share of tokens whose log-ratio to the reference is not inside (-clamp, clamp).",
    },
)
@dataclass(frozen=True)
class KLRef:
    """Pull the policy towards a frozen reference: the anchor of RLHF, and what brings back what a phase has erased.

    Costs one reference model and one forward per generation. ``coef: 0`` measures and has no effect.
    """

    coef: float = option(1e-3, low=0.0, doc="size of the penalty")
    divergence: str = option("reverse_kl", choices=("reverse_kl",), doc="which divergence")
    gradient: str = option("exact", choices=("exact", "pathwise"), doc="exact: times the differentiable ratio")
    clamp: float = option(20.0, above=0.0, fixed=True, doc="bound of |log pi - log ref|; no gradient outside")

    kind = "token"
    policy_term = False

    def __call__(self, batch: TokenBatch) -> Output:
        x = batch.difference(batch.require("ref_logps"), self.clamp)
        value = k3(x)
        corrected = value
        if self.gradient == "exact":
            corrected = value * batch.difference(batch.reference_logps, self.clamp).exp()
        return self.coef * corrected, batch.means(kl=value, k1=x, clamped=x.detach().abs() >= self.clamp)
