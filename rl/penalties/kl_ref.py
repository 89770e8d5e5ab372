"""A divergence from the reference policy, in the loss; by default the KL.

    P_t = coef * rho_t * k_f(x),   x = log pi - log ref,  rho = pi / pi_old;     reverse KL: k_f = k3 = exp(-x) + x - 1

Reverse KL, KL(pi || ref), is GRPO's (arXiv:2402.03300, Eq. 4); the f-divergences are those of Go et al. 2023
(arXiv:2302.08215), each with its non-negative unbiased estimator. With ``gradient: exact`` the differentiable ratio rho
multiplies it: the expected gradient is exactly that of the per-token divergence, also off-policy; for reverse KL it is
TRL 1.16's ``beta`` with ``use_bias_correction_kl`` (to the digit, for importance sampling at the token level).
``gradient: pathwise`` drops rho: that is GRPO's original formula, whose gradient is that of the forward KL at
pi = pi_old; for the other divergences it is the gradient of nothing. Neither carries the effect of a token on the
divergence of later tokens, and no divergence but the reverse KL sums over tokens to that of the sequence.

forward_kl, chi2_ref_pi and jeffreys grow as ref / pi, or its square, on tokens that the reference finds likelier, and
chi2_pi_ref as pi / ref on the others: watch ``clamped``. TRL's DPO coefficient of alpha_divergence is 1 - ``alpha``.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.divergences import DIVERGENCES, divergence, k3
from entropostat.rl.registry import PENALTIES, option


@PENALTIES.register(
    "kl_ref",
    paper="arXiv:2402.03300",
    needs=("ref_logps", "old_logps"),
    reference="TRL 1.16 beta; verl core_algos.py:1841",
    provides={
        "kl": "KL(pi || ref), k3, token mean, nats: whatever the divergence.",
        "k1": "The same by k1: unbiased, may be negative.",
        "divergence": "The penalised divergence by its own estimator, token mean, before any normalisation.",
        "clamped": "Share of tokens whose log-ratio to the reference is not inside (-clamp, clamp).",
    },
)
@dataclass(frozen=True)
class KLRef:
    """Pull the policy towards a frozen reference: the anchor of RLHF, and what brings back what a phase has erased.

    Costs one reference model and one forward per generation. ``coef: 0`` measures and has no effect. With
    ``normalize_curvature`` one ``coef`` pulls about equally hard near the reference whatever the divergence; tv, which
    has a kink there, cannot have it.
    """

    coef: float = option(1e-3, low=0.0, doc="size of the penalty")
    divergence: str = option("reverse_kl", choices=DIVERGENCES, doc="which divergence; js is twice jsd")
    alpha: float = option(
        0.5, above=0.0, below=1.0, fixed=True, doc="of divergence alpha; 0: reverse KL, 1: forward KL"
    )
    gradient: str = option("exact", choices=("exact", "pathwise"), doc="exact: times the differentiable ratio")
    normalize_curvature: bool = option(False, doc="divide by the curvature f''(1) of the divergence at the reference")
    clamp: float = option(20.0, above=0.0, fixed=True, doc="bound of |log pi - log ref|; no gradient outside")

    kind = "token"
    policy_term = False

    def __post_init__(self) -> None:
        if self.normalize_curvature and self.divergence == "tv":
            raise ValueError("kl_ref.normalize_curvature: divergence tv has a kink at the reference; set it to false")

    def __call__(self, batch: TokenBatch) -> Output:
        x = batch.difference(batch.require("ref_logps"), self.clamp)
        chosen = divergence(self.divergence, self.alpha)
        value = chosen.k(x)
        corrected = value
        if self.gradient == "exact":
            corrected = value * batch.difference(batch.reference_logps, self.clamp).exp()
        coef = self.coef
        if self.normalize_curvature and chosen.curvature is not None:
            coef = self.coef / chosen.curvature
        kl = value if self.divergence == "reverse_kl" else k3(x.detach())
        return coef * corrected, batch.means(kl=kl, k1=x, divergence=value, clamped=x.detach().abs() >= self.clamp)
