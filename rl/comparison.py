"""f-divergences of two whole distributions: what each entry of the vocabulary adds, and how it pulls at the student.

    D(p, q) = sum_v value(p_v, q_v),      dD / dx_v = push_v - p_v sum push,      push_v = d value / d log p_v

p is the student's, q the teacher's, x the student's logits over the temperature; u = p / q. They are the ten of
``divergences.py``, exact where those are estimated on the sampled token, and every value is at least 0:

    reverse_kl    KL(p || q)                        hellinger2    sum (sqrt p - sqrt q)^2
    forward_kl    KL(q || p)                        tv            sum |p - q| / 2
    jsd           beta KL(q || m) + (1 - beta) KL(p || m),   m = beta q + (1 - beta) p;     js: twice jsd at beta 1/2
    chi2_pi_ref   sum (p - q)^2 / q                 jeffreys      KL(p || q) + KL(q || p)
    chi2_ref_pi   sum (q - p)^2 / p                 alpha         (sum q^a p^(1 - a) - 1) / (a (a - 1))

``beta`` is that of GKD's generalised JSD (Agarwal et al. 2023, arXiv:2306.13649). log u is held inside of +-``clamp`` where it
is a factor; value and gradient then stay those of one function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.divergences import DIVERGENCES

CLAMP = 80.0
"""exp(CLAMP) is finite in float32."""


@dataclass(frozen=True)
class Comparison:
    """One divergence from the teacher."""

    divergence: str = "reverse_kl"
    alpha: float = 0.5
    """Of alpha: 0 is the reverse KL, 1 the forward one."""
    beta: float = 0.5
    """Of jsd: the teacher's share of the mixture."""
    clamp: float = CLAMP
    top_k: int | None = None
    """Only the entries that the teacher finds likeliest count, both distributions renormalised over them; None: all."""

    def __post_init__(self) -> None:
        if self.divergence not in DIVERGENCES:
            raise ValueError(f"no divergence {self.divergence!r}; known: {', '.join(DIVERGENCES)}")
        for name, value in (("alpha", self.alpha), ("beta", self.beta)):
            if not 0 < value < 1:
                raise ValueError(f"divergence from the teacher: {name} {value} must be above 0 and below 1")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"divergence from the teacher: top_k {self.top_k} must be at least 1")

    @property
    def key(self) -> str:
        """Equal for comparisons that mean the same."""
        of = {"alpha": f" {self.alpha!r}", "jsd": f" {self.beta!r}"}.get(self.divergence, "")
        clamp = f" clamp {self.clamp!r}" if self.divergence in CLAMPED else ""
        return f"{self.divergence}{of}{clamp}" + ("" if self.top_k is None else f" top {self.top_k}")

    def pointwise(self, log_p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
        """(value, push) of every entry, both of the shape of the log-probabilities."""
        return POINTWISE[self.divergence](self, log_p, log_q)


Pair = tuple[Tensor, Tensor]


def _ratio(c: Comparison, log_p: Tensor, log_q: Tensor) -> Pair:
    """log u inside of the clamp, and where it is."""
    raw = log_p - log_q
    return raw.clamp(-c.clamp, c.clamp), raw.abs() < c.clamp


def _reverse_kl(c: Comparison, log_p: Tensor, log_q: Tensor) -> Pair:
    x, inside = _ratio(c, log_p, log_q)
    p = log_p.exp()
    return p * x - p + log_q.exp(), p * (x - torch.where(inside, 0.0, 1.0))


def _forward_kl(c: Comparison, log_p: Tensor, log_q: Tensor) -> Pair:
    x, inside = _ratio(c, log_p, log_q)
    p, q = log_p.exp(), log_q.exp()
    return p - q - q * x, p - torch.where(inside, q, 0.0)


def _jeffreys(c: Comparison, log_p: Tensor, log_q: Tensor) -> Pair:
    x, inside = _ratio(c, log_p, log_q)
    p, q = log_p.exp(), log_q.exp()
    return (p - q) * x, p * x + torch.where(inside, p - q, 0.0)


def _chi2_pi_ref(c: Comparison, log_p: Tensor, log_q: Tensor) -> Pair:
    x, inside = _ratio(c, log_p, log_q)
    p, more = log_p.exp(), torch.expm1(x)
    return (p - log_q.exp()) * more, p * more * torch.where(inside, 2.0, 1.0)


def _chi2_ref_pi(c: Comparison, log_p: Tensor, log_q: Tensor) -> Pair:
    x, inside = _ratio(c, log_p, log_q)
    p, q, less = log_p.exp(), log_q.exp(), torch.expm1(-x)
    return (q - p) * less, -less * (p + torch.where(inside, q, 0.0))


def _jsd(c: Comparison, log_p: Tensor, log_q: Tensor) -> Pair:
    log_m = torch.logaddexp(log_q + math.log(c.beta), log_p + math.log1p(-c.beta))
    push = (1 - c.beta) * log_p.exp() * (log_p - log_m)
    return push + c.beta * log_q.exp() * (log_q - log_m), push


def _js(c: Comparison, log_p: Tensor, log_q: Tensor) -> Pair:
    value, push = _jsd(Comparison("jsd"), log_p, log_q)
    return 2 * value, 2 * push


def _tv(c: Comparison, log_p: Tensor, log_q: Tensor) -> Pair:
    p = log_p.exp()
    return (p - log_q.exp()).abs() / 2, p * (log_p - log_q).sign() / 2


def _hellinger2(c: Comparison, log_p: Tensor, log_q: Tensor) -> Pair:
    p, q = (log_p / 2).exp(), (log_q / 2).exp()
    return (p - q).square(), p * (p - q)


def _alpha(c: Comparison, log_p: Tensor, log_q: Tensor) -> Pair:
    a, p, q = c.alpha, log_p.exp(), log_q.exp()
    mixed = (a * log_q + (1 - a) * log_p).exp()
    return (a * q + (1 - a) * p - mixed) / (a * (1 - a)), (p - mixed) / a


POINTWISE = {
    "reverse_kl": _reverse_kl,
    "forward_kl": _forward_kl,
    "js": _js,
    "jsd": _jsd,
    "tv": _tv,
    "chi2_pi_ref": _chi2_pi_ref,
    "chi2_ref_pi": _chi2_ref_pi,
    "hellinger2": _hellinger2,
    "jeffreys": _jeffreys,
    "alpha": _alpha,
}
CLAMPED = ("reverse_kl", "forward_kl", "jeffreys", "chi2_pi_ref", "chi2_ref_pi")
"""Those that may be infinite."""
