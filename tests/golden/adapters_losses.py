"""Adapters of the surrogates beside PPO's clip, and of the exact divergences."""

from __future__ import annotations

from typing import Any

import torch
from golden.adapters import correction, losses, objective, policy_gradient, token_batch
from golden.harness import Adapter, Inputs, Record, Results, Share
from golden.layouts import covariance_files, plain_files
from golden.layouts_losses import divergence_files, setting_files
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.divergences import divergence, estimator
from entropostat.rl.reduce import aggregate
from entropostat.rl.registry import PENALTIES
from entropostat.rl.sequence import row_mean

BY_SEQUENCE = {"loss_agg_mode": "seq-mean-token-mean"}
"""What some references always use, whatever they are told."""


def gspo(x: Inputs, params: dict[str, Any]) -> Results:
    batch = token_batch(x)
    o = objective("gspo", {"epsilon": params["clip_low"], "epsilon_high": params["clip_high"]})
    total, metrics = o.token_loss(batch, correction=correction(x, params))
    return losses(total, batch, params | BY_SEQUENCE) | {"pg_clipfrac": Share(metrics["gspo/clip_fraction"])}


def geo_mean(x: Inputs, params: dict[str, Any]) -> Results:
    batch = token_batch(x)
    o = objective("gmpo", {"epsilon": params["clip_low"], "epsilon_high": params["clip_high"]})
    rho = correction(x, params)
    if rho is not None:  # the reference corrects a sequence by one number, the geometric mean over its tokens
        rho = row_mean((rho + 1e-10).log(), batch).exp().expand_as(rho)
    total, metrics = o.token_loss(batch, correction=rho)
    rows = float(total.shape[0])  # the reference counts fully masked rows, and nothing beyond this batch
    loss = aggregate(total, batch.mask, BY_SEQUENCE["loss_agg_mode"], rows=rows)
    return {
        "loss": loss,
        "ppo_kl": losses(total, batch, params | BY_SEQUENCE)["ppo_kl"],
        "pg_clipfrac": Share(metrics["gmpo/outside_up"]),
        "pg_clipfrac_lower": Share(metrics["gmpo/outside_down"]),
    }


def sapo(x: Inputs, params: dict[str, Any]) -> Results:
    batch = token_batch(x)
    o = objective("sapo", {"tau_pos": params["tau_pos"], "tau_neg": params["tau_neg"]})
    total, _ = o.token_loss(batch, correction=correction(x, params))
    return losses(total, batch, params | BY_SEQUENCE, o.loss.term.clamp)


def cispo(x: Inputs, params: dict[str, Any]) -> Results:
    batch = token_batch(x)
    o = objective("cispo", {"epsilon": params["clip_low"], "epsilon_high": params["clip_high"]})
    total, metrics = o.token_loss(batch, correction=correction(x, params))
    share = Share(metrics["cispo/clip_fraction"])
    return losses(total, batch, params, o.loss.term.clamp) | {"pg_clipfrac": share}


def gpg(x: Inputs, params: dict[str, Any]) -> Results:
    batch = token_batch(x)
    total, _ = objective("gpg", {}).token_loss(batch, correction=correction(x, params))
    return losses(total, batch, params)


def plain_batch(x: Inputs, **changes: Tensor) -> TokenBatch:
    return TokenBatch(logps=x["logp"], old_logps=x["old_logp"], advantages=x["adv"], mask=x["mask"], **changes)


def ce_gppo(x: Inputs, params: dict[str, Any]) -> Results:
    batch = plain_batch(x)
    results: Results = {}
    for i, cfg in enumerate(params["settings"]):
        clip = {"epsilon": cfg["clip_low"], "epsilon_high": cfg["clip_high"], "dual": cfg["c"]}
        o = objective("ce_gppo", clip | {"beta_low": cfg["beta1"], "beta_high": cfg["beta2"]})
        total, metrics = o.token_loss(batch)
        outside = metrics["ce_gppo/low_fraction"] + metrics["ce_gppo/high_fraction"]
        results |= {
            f"{i}_loss": aggregate(total, batch.mask),
            f"{i}_clipfrac": Share(outside),
            f"{i}_clipfrac_c": Share(metrics["ce_gppo/dual_fraction"]),
        }
    return results


def ce_gppo_gradients(record: Record) -> dict[str, tuple[str, str]]:
    count = len(record.params["settings"])
    return {f"{i}_grad_logp": (f"{i}_loss", "logp") for i in range(count)}


def archer(x: Inputs, params: dict[str, Any]) -> Results:
    if not params["per_sequence"]:
        raise ValueError("archer: the project takes the quantile within each sequence only")
    clip = {"epsilon_know": params["low_clip"], "epsilon_reason": params["high_clip"], "dual": params["c"]}
    o = objective("archer", clip | {"quantile": params["quantile"]})
    batch = plain_batch(x, entropy=x["entropy"])
    total, metrics = o.token_loss(batch)
    reasoning = o.loss.term._reasoning(batch)
    return {
        "low_entropy_mask": batch.valid & ~reasoning,
        "high_entropy_mask": reasoning,
        "loss": aggregate(total, batch.mask),
        "clipfrac": Share(metrics["archer/clip_fraction"]),
    }


def divergence_exact(x: Inputs, params: dict[str, Any]) -> Results:
    """Every action is one token, weighted by its probability: means over tokens are expectations."""
    results: Results = {}
    for case in params["cases"]:
        logits, ref, old = (x[f"{name}/{case}"] for name in ("policy_logits", "ref_logits", "old_logits"))
        for kind in params["kinds"]:
            options: dict[str, Any] = {"divergence": kind}
            if kind.startswith("alpha_"):
                options = {"divergence": "alpha", "alpha": float(kind.removeprefix("alpha_"))}
            ours = divergence(*options.values())
            p, u = logits.detach().softmax(0), logits.detach().log_softmax(0) - ref.log_softmax(0)
            k = ours.k(u)
            exact, exact_grad = expected(options, logits, ref, old)
            _, pathwise_grad = expected(options | {"gradient": "pathwise"}, logits, ref, logits)
            values = {
                "D": (p * k).sum(),
                "fprime_of_u": ours.slope(u),
                "pseudo_reward": -ours.slope(u),
                "k": k,
                "var_k": variance(p, k),
                "min_k": k.min(),
                "grad_exact": exact_grad,
                "expected_pathwise_grad_of_k": pathwise_grad,
                "expected_IS_grad": exact_grad,
                "expected_IS_value": exact,
            }
            results |= {f"{name}/{kind}/{case}": value for name, value in values.items()}
        for kind in params["estimators"]:
            z = logits.detach().requires_grad_()
            value = estimator(z.log_softmax(0) - ref.log_softmax(0), kind)
            p = z.detach().softmax(0)
            mean = (p * value).sum()
            values = {"value": value, "expectation": mean, "variance": variance(p, value)}
            values["expected_pathwise_grad"] = torch.autograd.grad(mean, z, retain_graph=True)[0]
            results |= {f"{name}/{kind}/{case}": value for name, value in values.items()}
    return results


def expected(options: dict[str, Any], logits: Tensor, ref: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient of the penalty's expectation over the old policy."""
    z = logits.detach().requires_grad_()
    batch = TokenBatch(
        logps=z.log_softmax(0).view(1, -1),
        old_logps=old.log_softmax(0).view(1, -1),
        ref_logps=ref.log_softmax(0).view(1, -1),
        mask=torch.ones(1, z.numel(), dtype=z.dtype),
    )
    penalty, _ = PENALTIES.build("kl_ref", {"coef": 1.0, "clamp": 80.0, **options})(batch)
    mean = (old.softmax(0) * penalty.view(-1)).sum()
    return mean.detach(), torch.autograd.grad(mean, z)[0]


def variance(p: Tensor, value: Tensor) -> Tensor:
    return (p * (value - (p * value).sum()).square()).sum()


NO_CLIP = dict.fromkeys(("pg_clipfrac", "pg_clipfrac_lower"), "a constant 0 of the reference")
NOT_OURS = {
    "f_of_u/*": "the generator: the project holds its estimator and its slope",
    "k_naive/*": "the estimator without its control variate",
    "var_naive/*": "the estimator without its control variate",
    "trl_score/*": "scores of TRL's DPO, which TRL computes",
    "entropy/*": "a property of the policy, of no divergence",
}

ADAPTERS = (
    Adapter(("gspo",), gspo, covariance_files, policy_gradient, {"pg_clipfrac_lower": NO_CLIP["pg_clipfrac_lower"]}),
    Adapter(("geo_mean",), geo_mean, covariance_files, policy_gradient),
    Adapter(("sapo",), sapo, covariance_files, policy_gradient, NO_CLIP),
    Adapter(("cispo",), cispo, covariance_files, policy_gradient, {"pg_clipfrac_lower": NO_CLIP["pg_clipfrac_lower"]}),
    Adapter(("gpg",), gpg, covariance_files, policy_gradient),
    Adapter(("cegppo",), ce_gppo, setting_files, ce_gppo_gradients),
    Adapter(("archer",), archer, plain_files, lambda r: {"grad_logp": ("loss", "logp")}),
    Adapter(("divergence_exact",), divergence_exact, divergence_files, out_of_scope=NOT_OURS),
)
