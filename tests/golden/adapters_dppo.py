"""Adapters of the losses of other engines that hold a token by its probability, and of verl's DRO and GSPO of today."""

from __future__ import annotations

from typing import Any

import torch
from golden.adapters import correction, losses, objective, policy_gradient
from golden.harness import Adapter, Inputs, Results, Share, Where
from golden.layouts_engines import engine_files
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.reduce import masked_sum

CLAMP = 20.0
"""verl bounds the log-ratio of DPPO here."""


def old_batch(x: Inputs) -> TokenBatch:
    """verl's, which measures against the trainer's old policy."""
    return TokenBatch(
        logps=x["log_prob"], old_logps=x["old_log_prob"], advantages=x["advantages"], mask=x["response_mask"]
    )


def sampled_batch(x: Inputs, scale: float = 1.0) -> TokenBatch:
    """Measured against the engine that sampled; a token of ``loss_weights`` 0 is none."""
    mask = x["response_mask"]
    return TokenBatch(
        logps=x["log_prob"],
        old_logps=x["rollout_log_prob"],
        sampler_logps=x["rollout_log_prob"],
        advantages=x["advantages"] * scale,
        mask=mask * (x["loss_weights"] != 0) if "loss_weights" in x else mask,
    )


def verl(total: Tensor, batch: TokenBatch, params: dict[str, Any], clamp: float | None = None) -> Results:
    """The file's aggregation. That of today's verl has a sum over the tokens of all ranks, and its norm is a mean of rows."""
    mode, world = params["loss_agg_mode"], params.get("global_batch_info") or {}
    if mode == "token-sum":
        found = losses(total, batch, params | {"loss_agg_mode": "token-mean"}, clamp)
        return found | {"loss": masked_sum(total, batch.mask) * world.get("dp_size", 1)}
    if mode == "seq-mean-token-sum-norm":
        found = losses(total, batch, params | {"loss_agg_mode": "seq-mean-token-sum"}, clamp)
        return found | {"loss": found["loss"] / world.get("loss_scale_factor", total.shape[1])}
    return losses(total, batch, params, clamp)


def kept(batch: TokenBatch, dropped: Tensor) -> Where:
    """The codes differ in what they call a token of A = 0, whose policy loss is 0 either way."""
    return Where((batch.valid & ~dropped).to(batch.mask.dtype), batch.valid & (batch.token_advantages != 0))


def dppo_verl(x: Inputs, params: dict[str, Any]) -> Results:
    batch = old_batch(x)
    bounds = {"low": params["clip_low"], "high": params["clip_high"], "cap": params["clip_ratio_c"]}
    form = {"divergence": params["method"].removeprefix("dppo_"), "behaviour": "old", "value": "score"}
    o = objective("dppo", form | bounds)
    term = o.loss.term
    total, _ = o.token_loss(batch, correction=correction(x, params))
    low, high = term.bounded(batch)
    results = verl(total, batch, params, CLAMP) | {
        "keep_mask": kept(batch, low | high),
        "truncated_ratio": Where(term._ratio(batch).clamp(max=term.cap), batch.mask),
    }
    if form["divergence"] == "kl":
        results["binary_kl"] = Where(term._divergence(batch), batch.mask)
    return results


def dppo_prime(x: Inputs, params: dict[str, Any]) -> Results:
    bounds = {"low": params["dppo_mask_low"], "high": params["dppo_mask_high"]}
    return prime(x, params, "dppo", {"cap": None, "square": params["kl_tau"], **bounds})


def ipo(x: Inputs, params: dict[str, Any]) -> Results:
    return prime(x, params, "ipo", {"threshold": params["ipo_threshold"], "square": params["kl_tau"]})


def prime(x: Inputs, params: dict[str, Any], loss: str, options: dict[str, Any]) -> Results:
    """prime-rl: the sum over the tokens divided by those of the whole step."""
    batch = sampled_batch(x, params["adv_tau"])
    o = objective(loss, options)
    total, _ = o.token_loss(batch, correction=x.get("loss_weights"))
    low, high = o.loss.term.bounded(batch)
    log_ratio = batch.set(old_logps=batch.sampler_logps).log_ratio
    return {
        "loss": masked_sum(total, batch.mask) / params["rl_scale"],
        "loss_mat": Where(torch.where(batch.valid, total, 0.0), batch.mask),
        "keep_mask": kept(batch, low | high),
        "ratio": Where(log_ratio.exp(), batch.mask),
        "log_ratio": Where(log_ratio, batch.mask),
    }


def dppo_skyrl(x: Inputs, params: dict[str, Any]) -> Results:
    batch = sampled_batch(x)
    form = {"divergence": params["dppo_type"].removeprefix("binary_"), "cap": None}
    o = objective("dppo", form | {"low": params["delta_low"], "high": params["delta_high"]})
    total, _ = o.token_loss(batch)
    low, high = o.loss.term.bounded(batch)
    return {
        "loss": masked_sum(total, batch.mask),
        "loss_mat": Where(torch.where(batch.valid, total, 0.0), batch.mask),
        "keep_mask": kept(batch, low | high),
        "ratio": Where(o.loss.term._ratio(batch), batch.mask),
        "clip_ratio": Share(batch.means(dropped=low | high)["dropped"]),
    }


def dro(x: Inputs, params: dict[str, Any]) -> Results:
    batch = old_batch(x)
    total, _ = objective("dro", {"beta": params["dro_beta"]}).token_loss(batch, correction=correction(x, params))
    return verl(total, batch, params)


def gspo(x: Inputs, params: dict[str, Any]) -> Results:
    batch = old_batch(x)
    o = objective("gspo", {"epsilon": params["clip_low"], "epsilon_high": params["clip_high"]})
    total, metrics = o.token_loss(batch, correction=correction(x, params))
    return verl(total, batch, params) | {"pg_clipfrac": Share(metrics["gspo/clip_fraction"])}


ZERO = "counts tokens of A = 0 among the dropped, on which nothing is dropped; keep_mask says which the others are"
PRIME = {
    **dict.fromkeys(
        ("is_masked*", "masked_advantage*"), "a count of the tokens that keep_mask names, A = 0 among them"
    ),
    **dict.fromkeys(("masked_mismatch_kl", "unmasked_mismatch_kl"), "a monitor over the tokens that keep_mask names"),
}

ADAPTERS = (
    Adapter(
        ("dppo_tv", "dppo_kl"),
        dppo_verl,
        engine_files,
        policy_gradient,
        {"pg_clipfrac": ZERO, "pg_clipfrac_lower": ZERO},
    ),
    Adapter(("prime_dppo",), dppo_prime, engine_files, policy_gradient, PRIME),
    Adapter(("ipo",), ipo, engine_files, policy_gradient, PRIME),
    Adapter(("skyrl_dppo_tv", "skyrl_dppo_kl"), dppo_skyrl, engine_files, policy_gradient),
    Adapter(("dro",), dro, engine_files, policy_gradient),
    Adapter(
        ("gspo_verl091",), gspo, engine_files, policy_gradient, {"pg_clipfrac_lower": "a constant 0 of the reference"}
    ),
)
