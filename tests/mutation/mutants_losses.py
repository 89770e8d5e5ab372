"""Faults of the surrogates beside PPO's clip, and of the divergences from the reference."""

from __future__ import annotations

from mutation.mutants import Mutant

SHARED = (
    "tests/golden",
    "tests/unit/test_rl_properties.py",
    "tests/unit/test_rl_declared.py",
    "tests/unit/test_rl_terms.py",
)
ONLY_LOSSES = ("tests/theory/test_theory_losses.py", *SHARED)
ONLY_DIVERGENCES = ("tests/theory/test_theory_divergences.py", *SHARED)


def loss(name: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(name, f"losses/{file}.py", old, new, ONLY_LOSSES)


def shape(name: str, old: str, new: str) -> Mutant:
    return Mutant(name, "divergences.py", old, new, ONLY_DIVERGENCES)


SURROGATES = (
    loss("gspo keeps the graph of its mean", "gspo", "row_mean(d, batch).detach()", "row_mean(d, batch)"),
    loss("gspo takes the token's ratio", "gspo", "row_mean(d, batch).detach() + d - d.detach()", "d"),
    loss("gspo takes the better bound", "gspo", "torch.maximum(free, clipped)", "torch.minimum(free, clipped)"),
    loss("gspo loses its bound", "gspo", "d.detach()).clamp(max=self.clamp)", "d.detach())"),
    loss("gmpo forgets the sign", "gmpo", "a.sign(), d.clamp", "a.sign().abs(), d.clamp"),
    loss("gmpo pushes the wrong way", "gmpo", "return -row_mean", "return row_mean"),
    loss("gmpo takes each token's advantage", "gmpo", "-row_mean(a, batch)", "-a"),
    loss("gmpo does not clip", "gmpo", "sign * torch.minimum(sign * d, sign * bounded)", "d"),
    loss("gmpo swaps its metrics", "gmpo", "outside_up=outside & (a > 0)", "outside_up=outside & (a < 0)"),
    loss("sapo swaps its temperatures", "sapo", "torch.where(a > 0,", "torch.where(a < 0,"),
    loss("sapo does not divide by its temperature", "sapo", "gate * 4 / tau", "gate * 4"),
    loss("sapo detaches its gate", "sapo", "return -a * gate", "return -a * s"),
    loss("cispo differentiates its weight", "cispo", "batch.log_ratio.detach()", "batch.log_ratio"),
    loss("cispo does not clip", "cispo", "ratio.clamp(1 - self.epsilon, 1 + self.epsilon_high)", "ratio"),
    loss("cispo pushes the wrong way", "cispo", "return -weight", "return weight"),
    loss("cispo drops clipped tokens", "cispo", "return -weight *", "return -weight * (weight == ratio) *"),
    loss("gpg pushes the wrong way", "gpg", "return -batch", "return batch"),
    loss("gpg lets infinities in", "gpg", "batch.difference(batch.logps.new_zeros(()), self.floor)", "batch.logps"),
    loss("ce_gppo swaps its handles", "ce_gppo", "self.beta_low * bottom", "self.beta_high * bottom"),
    loss("ce_gppo returns the whole ratio", "ce_gppo", "self.beta_high * top * one", "self.beta_high * ratio"),
    loss("ce_gppo returns nothing", "ce_gppo", "(d - d.detach()).exp()", "(d - d).exp()"),
    loss(
        "ce_gppo returns the wrong sign",
        "ce_gppo",
        "low, high = beyond(batch, ratio",
        "high, low = beyond(batch, ratio",
    ),
    loss("ce_gppo has no dual clip", "ce_gppo", "loss = torch.where(capped, -a * self.dual, loss)", ""),
    loss("archer swaps its groups", "archer", "entropy > row_quantile", "entropy <= row_quantile"),
    loss("archer divides elsewhere", "archer", "self.quantile, batch)", "1 - self.quantile, batch)"),
    loss("archer takes the better bound", "archer", "torch.maximum(free, clipped)", "torch.minimum(free, clipped)"),
    loss("archer caps A > 0", "archer", "capped = (a < 0) & (", "capped = (a > 0) & ("),
    Mutant("row means count padding", "sequence.py", "torch.where(batch.valid, x, 0.0).sum(1", "x.sum(1", ONLY_LOSSES),
    Mutant("row quantiles see padding", "sequence.py", "x.masked_fill(batch.invalid, torch.inf)", "x", ONLY_LOSSES),
    Mutant("row quantiles do not interpolate", "sequence.py", "(rank - below).to(low)", "0.0", ONLY_LOSSES),
)

DIVERGENCES = (
    shape("alpha turned round", "torch.expm1(-a * x) - a * torch.expm1(-x)", "torch.expm1(a * x) - a * torch.expm1(x)"),
    shape("alpha loses its scale", "/ (a * (a - 1))", "/ (a - 1)"),
    shape("js loses its constant", "(softplus(-x) - math.log(2))", "softplus(-x)"),
    shape("jsd is js", "lambda x: _js(x) / 2,", "lambda x: _js(x),"),
    shape("js has another slope", "math.log(2) + logsigmoid(x)", "math.log(2) + logsigmoid(-x)"),
    shape("forward KL turned round", "-x * torch.exp(-x) - torch.expm1(-x)", "x * torch.exp(x) - torch.expm1(x)"),
    shape("tv loses its half", "torch.expm1(-x).abs() / 2", "torch.expm1(-x).abs()"),
    shape("pearson loses its half", "torch.sinh(x / 2)", "torch.sinh(x)"),
    shape("neyman turned round", "lambda x: torch.expm1(-x).square()", "lambda x: torch.expm1(x).square()"),
    shape("neyman has pearson's slope", "lambda x: -torch.expm1(-2 * x)", "lambda x: torch.expm1(2 * x)"),
    shape("hellinger turned round", "torch.expm1(-x / 2).square()", "torch.expm1(x / 2).square()"),
    shape("jeffreys loses its sign", "lambda x: -x * torch.expm1(-x), ", "lambda x: x * torch.expm1(-x), "),
    shape("jeffreys has another curvature", "x - torch.expm1(-x), 2.0)", "x - torch.expm1(-x), 1.0)"),
    Mutant(
        "kl_ref multiplies by the curvature",
        "penalties/kl_ref.py",
        "self.coef / chosen.curvature",
        "self.coef * chosen.curvature",
        ONLY_DIVERGENCES,
    ),
    Mutant(
        "kl_ref forgets alpha",
        "penalties/kl_ref.py",
        "self.divergence, self.alpha)",
        "self.divergence)",
        ONLY_DIVERGENCES,
    ),
    Mutant(
        "kl_ref logs the divergence as KL", "penalties/kl_ref.py", "else k3(x.detach())", "else value", ONLY_DIVERGENCES
    ),
)
