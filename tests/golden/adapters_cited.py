"""Adapters of the methods that other engines' users cite: README_cited.md."""

from __future__ import annotations

from typing import Any

import torch
from golden.adapters import losses, objective, policy_gradient, to_scalar, token_batch
from golden.harness import Adapter, Inputs, Results, Share, Where
from golden.layouts import covariance_files
from golden.layouts_cited import bapo_files, ends, epo_files
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.reduce import aggregate, masked_mean
from entropostat.rl.registry import PENALTIES
from entropostat.rl.sequence import row_quantile


def fipo(x: Inputs, params: dict[str, Any]) -> Results:
    """ms-swift's ``delta`` is one number for the weight and for the loss, and its clip_range of 0 is none."""
    delta, high = params["delta"], params["epsilon_high"]
    clip = {"epsilon": params["epsilon_low"], "epsilon_high": high, "clamp": None}
    if delta is not None:  # the free branch is capped for both signs, and the clipped one is not
        clip |= {"epsilon_high": min(high, delta - 1), "dual": max(delta, 1 + high)}
    weight = {
        "half_life": params["fipo_decay_rate"],
        "clip_range": params["fipo_clip_range"] or None,
        "high_only": params["fipo_clip_high_only"],
        "safety": params["fipo_safety_threshold"],
        "delta": delta,
        "clamp": 80.0,  # the reference does not bound its exponent
    }
    o, batch = objective("ppo_clip", clip, weights=[{"fipo": weight}]), token_batch(x)
    total, metrics = o.token_loss(batch)
    term, seen = o.weights[0].term, batch.detached()
    held = Where(~term._unsafe(seen), batch.mask)
    low, high = (masked_mean(end.to(batch.mask), batch.mask) for end in o.loss.term.bounded(seen))
    return {
        "loss": aggregate(total, batch.mask, tokens=params["num_items_in_batch"] / params["num_processes"]),
        "loss_mat": Where(torch.where(batch.valid, total, 0.0), batch.mask),
        "weights": Where(term(seen)[0], batch.mask),
        "future_kl": Where(term._future(seen), batch.mask),
        "safety_mask": held,
        "future_kl_mean": Share(metrics["fipo/future_kl"]),
        "influence_weight_mean": Share(metrics["fipo/mean"]),
        "safety_keep_ratio": Share(1 - metrics["fipo/safe_fraction"]),
        "low_clip_mean": Share(low),
        "low_clip_min": Share(low),
        "high_clip_mean": Share(high),
        "high_clip_max": Share(high),
        "region_clip_mean": Share(low + high),
    }


def aspo(x: Inputs, params: dict[str, Any]) -> Results:
    """The reference's ``high_entropy_mask`` holds the tokens at or below the quantile; it is compared as it is."""
    o = objective(
        "aspo",
        {
            "quantile": params["token_entropy_quantile"],
            "epsilon_know": params["negative_low_entropy_clip_ratio_low"],
            "epsilon_reason": params["negative_high_entropy_clip_ratio_low"],
            "epsilon_know_high": params["positive_low_entropy_clip_ratio_high"],
            "epsilon_reason_high": params["positive_high_entropy_clip_ratio_high"],
            "cap": params["positive_clip_ratio_c"],
            "dual": params["negative_clip_ratio_c"],
        },
    )
    batch = token_batch(x, entropy=x["entropys"])
    total, metrics = o.token_loss(batch)
    term, seen = o.loss.term, batch.detached()
    reasoning = term._reasoning(seen)
    rewarded = seen.advantages >= 0
    above = rewarded & (term._ratio(seen) > term._band(seen, reasoning)[1])  # without an advantage, too
    return {
        "loss": to_scalar(total, batch.mask, params | OLD),
        "loss_mat": Where(torch.where(batch.valid, total, 0.0), batch.mask),
        "high_entropy_mask": batch.valid & ~reasoning,
        "q80": row_quantile(batch.entropy, params["token_entropy_quantile"], batch),
        "pg_clipfrac_upper": Share(masked_mean(above.to(batch.mask), batch.mask)),
        "pg_clipfrac_lower": Share(masked_mean(term.bounded(seen)[0].to(batch.mask), batch.mask)),
        "positive_pg_clipfrac_dual": Share(among(metrics["aspo/cap_fraction"], rewarded, batch.mask)),
        "negative_pg_clipfrac_dual": Share(among(metrics["aspo/dual_fraction"], ~rewarded, batch.mask)),
    }


def among(share: Tensor, some: Tensor, mask: Tensor) -> Tensor:
    """A share of all tokens as one of ``some`` of them; 0 where there is none of those."""
    return share / masked_mean(some.to(mask), mask).clamp(min=1e-30)


def bapo(x: Inputs, params: dict[str, Any]) -> Results:
    o = objective(
        "bapo", {"scope": "micro", "target": params["adv_ratio_target"], "dual": params["clip_ratio_c"]} | ends(params)
    )
    batch = token_batch(x)
    total, metrics = o.token_loss(batch)
    stats = o.for_loss(batch, {}).stats
    low, high = stats["lower"], stats["upper"]
    negative = stats["negative"]  # without any the reference's quotient is infinite, and ours a share of 1
    return losses(total, batch, params, o.loss.term.clamp) | {
        "bounds": torch.stack([low, high]).double(),
        "clip_low": low,
        "clip_high": high,
        "pos_neg_ratio": Where(stats["positive"] / (negative + params["eps"]), negative > 0),
        "pg_clipfrac": Share(metrics["bapo/clip_fraction"]),
        "pg_clipfrac_lower": Share(metrics["bapo/dual_fraction"]),
    }


def epo(x: Inputs, params: dict[str, Any]) -> Results:
    """Every row has a history of its own there, and a term has one: a row is a batch."""
    released = {
        "coef": params["factor"],
        "low": params["entropy_smooth_min_ratio"],
        "high": params["entropy_smooth_max_ratio"],
        "step": params["entropy_smooth_out_range_penalty"],
        "per": {"token": "token", "seq": "sequence"}[params["entropy_smooth_mask_mode"]],
        "reference": True,
    }
    mask, entropy, rows = x["response_mask"], x["entropys"], []
    for i, history in enumerate(x["entropy_history"][x["rollout_step"]].tolist()):
        row = TokenBatch(logps=mask[i : i + 1], mask=mask[i : i + 1], entropy=entropy[i : i + 1])
        rows.append(PENALTIES.build("ent_smooth", released | {"history": history})(row)[0])
    penalty = torch.cat(rows)
    held = to_scalar(penalty, mask, params | OLD)
    smoothed = to_scalar(entropy, mask, params | OLD) - params["entropy_smooth_coeff"] * held
    return {
        "penalty": Where(penalty, mask),
        "penalty_loss": held,
        "smoothed_entropy": smoothed,
        "loss": -params["entropy_coeff"] * smoothed,
    }


OLD = {"fork": True}
"""Of verl as these repositories have it: fully masked rows count in a mean over rows."""
PADDING = {"entropy_mask_ratio": "a share of all positions, padding among them"}


ADAPTERS = (
    Adapter(("epo",), epo, epo_files, lambda r: {"grad_entropys": ("loss", "entropys")}, PADDING),
    Adapter(("bapo",), bapo, bapo_files, policy_gradient),
    Adapter(("fipo",), fipo, covariance_files, policy_gradient),
    Adapter(("aspo",), aspo, covariance_files, policy_gradient),
)
