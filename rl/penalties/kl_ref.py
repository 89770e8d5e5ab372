"""A divergence from the reference policy, in the loss; by default the KL.

    P_t = coef * rho_t * k_f(x),   x = log pi - log ref,  rho = pi / pi_old;     reverse KL: k_f = k3 = exp(-x) + x - 1

Reverse KL, KL(pi || ref), is GRPO's (arXiv:2402.03300, Eq. 4; its coefficient of 0.04 is from memory, not confirmed);
the f-divergences are those of Go et al. 2023 (arXiv:2302.08215), each with its non-negative unbiased estimator. With
``gradient: exact`` the differentiable ratio rho multiplies it: the expected gradient is exactly that of the per-token
divergence, also off-policy; for reverse KL it is TRL 1.16's ``beta`` with ``use_bias_correction_kl`` (to the digit, for
importance sampling at the token level).
``gradient: pathwise`` drops rho: that is GRPO's original formula, whose gradient is that of the forward KL at
pi = pi_old; for the other divergences it is the gradient of nothing. Neither carries the effect of a token on the
divergence of later tokens, and no divergence but the reverse KL sums over tokens to that of the sequence.

forward_kl, chi2_ref_pi and jeffreys grow as ref / pi, or its square, on tokens that the reference finds likelier, and
chi2_pi_ref as pi / ref on the others: watch ``clamped``. TRL's DPO coefficient of alpha_divergence is 1 - ``alpha``.

The reference may move, so that the anchor stays near enough to matter. theta are the weights of the policy:

    ema    ref <- decay ref + (1 - decay) theta   after every applied optimizer step
    reset  ref <- theta                           every ``every`` of them, or after ``patience`` evaluations without a gain

``ema`` is the anchor of WARP (arXiv:2406.16768) and, at every step, the soft update of TR-DPO (arXiv:2404.09656); resets
are TR-DPO's hard update and ProRL's (arXiv:2505.24864; when it resets, and that it then starts the optimizer anew, which we
do not, we know from summaries only: not confirmed). TRL's ``sync_ref_model`` averages in the precision of the model, which
in bfloat16 rounds small steps to nothing, and forgets the moved reference at a resume: ours averages in float32 and is part
of the checkpoint. A gain is a mean held-out pass@1, or mean reward where TRL evaluates, above the best so far. With LoRA the
reference is a second adapter, averaged factor by factor. A generation is scored once: a move acts from the next one on.
There is one reference in a run: whatever else compares with it sees it move, the signals kl and kl_k1 included.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.divergences import DIVERGENCES, divergence, k3
from entropostat.rl.registry import PENALTIES, option
from entropostat.rl.term import TokenPenalty

REFERENCES = ("initial", "ema", "reset")


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
class KLRef(TokenPenalty):
    """Pull the policy towards a reference: the anchor of RLHF, and what brings back what a phase has erased.

    Costs one reference model and one forward per generation. ``coef: 0`` measures and has no effect. With
    ``normalize_curvature`` one ``coef`` pulls about equally hard near the reference whatever the divergence; tv, which
    has a kink there, cannot have it.

    A reference that moves pulls less the faster it follows: its horizon is 1 / (1 - decay) steps. After a phase of n steps
    decay^n of it is still the policy from before the phase (``anchor/initial_share`` counts from the start of the run).
    On the curriculum-switch task a share of .79 or .30 after the easy phase brought the erased skill back, .018 did not:
    such an anchor has forgotten what the policy forgot, as has a copy taken at the start of the hard phase. ``kl`` near 0
    says then that the anchor follows, not that the policy holds. An ``ema`` costs one pass over the weights a step, and
    4 bytes a parameter more where they are not float32.
    """

    coef: float = option(1e-3, low=0.0, doc="size of the penalty")
    divergence: str = option("reverse_kl", choices=DIVERGENCES, doc="which divergence; js is twice jsd")
    alpha: float = option(
        0.5, above=0.0, below=1.0, fixed=True, doc="of divergence alpha; 0: reverse KL, 1: forward KL"
    )
    gradient: str = option("exact", choices=("exact", "pathwise"), doc="exact: times the differentiable ratio")
    normalize_curvature: bool = option(False, doc="divide by the curvature f''(1) of the divergence at the reference")
    clamp: float = option(
        20.0, above=0.0, high=80.0, fixed=True, doc="bound of |log pi - log ref|; no gradient outside"
    )
    reference: str = option(
        "initial", choices=REFERENCES, doc="the initial policy, its average with later ones, or resets"
    )
    decay: float = option(0.999, above=0.0, below=1.0, fixed=True, doc="of ema: what remains of the reference per step")
    every: int = option(0, low=0, doc="of reset: applied optimizer steps from one to the next; 0: not by steps")
    patience: int = option(0, low=0, doc="of reset: evaluations without a new best that cause one; 0: not by them")

    policy_term = False

    @property
    def moves_reference(self) -> bool:  # type: ignore[override]  # of no other penalty it depends on an option
        return self.reference != "initial"

    def __post_init__(self) -> None:
        if self.normalize_curvature and self.divergence == "tv":
            raise ValueError("kl_ref.normalize_curvature: divergence tv has a kink at the reference; set it to false")
        if self.reference == "reset" and not (self.every or self.patience):
            raise ValueError("kl_ref.reference: reset never happens without `every` or `patience`; give one of them")

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


def movement(term: KLRef) -> tuple[str, float, int, int]:
    """How the reference moves, with 0 for what that kind does not read: equal means the same reference."""
    ema, reset = term.reference == "ema", term.reference == "reset"
    return term.reference, ema * term.decay, reset * term.every, reset * term.patience
