"""Adapters of the token weights STEER and Clip_B, and of advantages that are reshaped by sign or entropy."""

from __future__ import annotations

from typing import Any

import torch
from golden.adapters import losses, objective, policy_gradient, token_batch
from golden.harness import Adapter, GoldenError, Inputs, Results, Share, Where
from golden.layouts import covariance_files
from golden.layouts_reshaping import clip_b_files, reward_files
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.reduce import aggregate
from entropostat.rl.registry import ADVANTAGES, CONTROLLERS, WEIGHTS
from entropostat.rl.weights.clip_b import discriminator

FLOOR = 0.02
"""Lower bound of the maximum under the released exponential map: a constant of the reference, in no file."""
RIGHT = 0.1
"""Entrocraft's copy of W-REINFORCE has this weight in the code, and in no file."""
EPSILON = 1e-6
"""Added to the standard deviation by the references."""


def steer(x: Inputs, params: dict[str, Any]) -> Results:
    options = {"omega": "released", "map": "linear" if params["linear"] else "exp", "scope": "micro", "floor": FLOOR}
    options |= {"lambda_min": params["token_weight_min"], "lambda_max": params["token_weight_max"]}
    clip = {"epsilon": params["clip_low"], "epsilon_high": params["clip_high"], "dual": params["clip_ratio_c"]}
    o = objective("ppo_clip", clip, weights=[{"steer": options}])
    batch = token_batch(x, old_entropy=x["entropys"], clip=o.loss.term.clip)
    total, metrics = o.token_loss(batch)
    weight, _ = o.weight(batch, {})
    return losses(total, batch, params, o.loss.term.clamp) | {
        "token_weights": torch.where(batch.valid, weight, 0.0),
        "token_weights_mean": metrics["steer/mean"],
        "token_weights_min": metrics["steer/smallest"],
        "token_weights_max": weight[batch.valid].max(),
        "pg_clipfrac": Share(metrics["ppo_clip/clip_fraction"]),
        "pg_clipfrac_lower": Share(metrics["ppo_clip/dual_fraction"]),
    }


def steer_theorem(x: Inputs, params: dict[str, Any]) -> Results:
    term = WEIGHTS.build("steer", {"lambda_min": params["lambda_min"], "scope": "micro"})
    bounds = 1 - params["clip_low"], 1 + params["clip_high"]
    batch = token_batch(x, old_entropy=x["entropys"], clip=bounds).detached()
    weight, _ = term(batch.set(stats=term.prepare(batch)))
    free = term._change(batch.set(clip=None), x["entropys"])
    omega = term._change(batch, x["entropys"])
    return {
        "omega": omega,
        "token_weights": torch.where(batch.valid, weight, 0.0),
        "i_clip": Where((omega != 0).to(omega.dtype), free != 0),
    }


def clip_b(x: Inputs, params: dict[str, Any]) -> Results:
    mask, rewards, groups = x["response_mask"].to(x["entropy"].dtype), x["token_level_rewards"].sum(1), x["groups"]
    o = objective(
        "unclipped",
        {},
        advantages=[{"grpo": {"epsilon": EPSILON}}],
        weights=[{"clip_b": {"mu": params["mu"], "denominator": "kept", "scope": "micro"}}],
    )
    logps = x["logits"].log_softmax(-1).gather(-1, x["responses"].unsqueeze(-1)).squeeze(-1)
    batch = TokenBatch(
        logps=logps, old_logps=x["logp"], entropy=x["entropy"], mask=mask, rewards=rewards, groups=groups
    )
    # The reference gives a completion without siblings its reward, and decides on its tokens by that.
    lonely = (groups.unsqueeze(0) == groups.unsqueeze(1)).sum(1) == 1
    batch = batch.set(advantages=torch.where(lonely, rewards, o.rollout(batch.detached()).advantages))
    stats = o.weights[0].term.prepare(batch.detached())
    total, metrics = o.token_loss(batch, {"clip_b": stats})
    negative = batch.valid & (batch.token_advantages < 0)
    return {
        "S": Where(discriminator(batch, batch.entropy), mask),
        "advantages": Where(batch.token_advantages, mask),
        "clipped_mask": (batch.valid & ~stats["dropped"]).to(x["response_mask"].dtype),
        "loss": aggregate(total, mask),
        "frac_clipped": Share(metrics["clip_b/fraction"]),
        "frac_clipped_neg": Share((stats["dropped"] & negative).sum() / negative.sum().clamp(min=1)),
        "frac_clipped_pos": Share((stats["dropped"] & ~negative).sum() / batch.count),
        "ES": Share(metrics["clip_b/mean"]),
        "varS": Share(metrics["clip_b/std"].square()),
    }


def clip_v(x: Inputs, params: dict[str, Any]) -> Results:
    """The file gives E S itself: it stands for H sum p^2 + sum p^2 log p with the first sum 0."""
    mask, rewards, groups = x["response_mask"].to(x["entropy"].dtype), x["token_level_rewards"].sum(1), x["groups"]
    options = {"mu": params["mu"], "max_fraction": params["max_frac"], "denominator": "kept", "reference": True}
    o = objective("unclipped", {}, advantages=[{"grpo": {"epsilon": EPSILON}}], weights=[{"clip_v": options}])
    logps = x["logits"].log_softmax(-1).gather(-1, x["responses"].unsqueeze(-1)).squeeze(-1)
    batch = TokenBatch(
        logps=logps, old_logps=x["logp"], old_entropy=x["entropy"], mask=mask, rewards=rewards, groups=groups,
        sum_p2=torch.zeros_like(x["nec"]), sum_p2_logp=x["nec"],
    )  # fmt: skip
    lonely = (groups.unsqueeze(0) == groups.unsqueeze(1)).sum(1) == 1
    batch = batch.set(advantages=torch.where(lonely, rewards, o.rollout(batch.detached()).advantages))
    stats = o.weights[0].term.prepare(batch.detached())
    total, metrics = o.token_loss(batch, {"clip_v": stats})
    negative = batch.valid & (batch.token_advantages < 0)
    s = discriminator(batch, batch.old_entropy)
    return {
        "S": Where(s, mask),
        "S_minus_E": Where(s - x["nec"], mask),
        "advantages": Where(batch.token_advantages, mask),
        "clipped_mask": (batch.valid & ~stats["dropped"]).to(x["response_mask"].dtype),
        "loss": aggregate(total, mask),
        "frac_clipped": Share(metrics["clip_v/fraction"]),
        "frac_clipped_neg": Share((stats["dropped"] & negative).sum() / negative.sum().clamp(min=1)),
        "frac_clipped_pos": Share((stats["dropped"] & (batch.token_advantages > 0)).sum() / batch.count),
        "stdD": Share(metrics["clip_v/std"]),
    }


def reward_batch(x: Inputs, **changes: Any) -> TokenBatch:
    """Sequences with the sum of their token rewards, which is their return at every token before it."""
    return TokenBatch(logps=torch.zeros_like(x["mask"]), mask=x["mask"], rewards=x["token_rewards"].sum(1), **changes)


def over_tokens(term: Any, batch: TokenBatch) -> Tensor:
    return batch.set(advantages=term(batch)[0]).token_advantages * batch.mask


def psr_nsr(x: Inputs, params: dict[str, Any]) -> Results:
    if params["gamma"] != 1:
        raise GoldenError(f"gamma {params['gamma']}: our advantages are not discounted")
    modes = {"positive": (1.0, 0.0), "negative": (0.0, 1.0), "weighted": (params["lambda_pos"], 1.0)}
    return {
        name: over_tokens(ADVANTAGES.build("w_reinforce", {"positive": right, "negative": wrong}), reward_batch(x))
        for name, (right, wrong) in modes.items()
    }


def entrocraft(x: Inputs, params: dict[str, Any]) -> Results:
    batch = reward_batch(x, groups=x["groups"])
    results: Results = {"w_reinforce": over_tokens(ADVANTAGES.build("w_reinforce", {"positive": RIGHT}), batch)}
    batch = batch.set(advantages=ADVANTAGES.build("grpo", {"epsilon": EPSILON})(batch)[0])
    for name, (shape, entropy, step) in params["bands"].items():
        band = {}
        for end in ("lower", "upper"):
            first, last = params[end]
            points = ((0.0, first), (params["total_steps"], last))
            schedule = CONTROLLERS.build("schedule", {"points": points, "shape": "cosine" if shape == "cos" else shape})
            band[end] = schedule.update(schedule.init(), {"step": step})[1]
        term = ADVANTAGES.build("entrocraft", band)
        values = over_tokens(term, batch.set(old_entropy=torch.full_like(batch.mask, entropy)))
        results[name] = Where(values, torch.ones_like(values), EPSILON)  # mean and std of a group are float32 there

    given = params["entropic"]
    rule = CONTROLLERS.build(
        "entropic", {"target": given["target"], "kp": given["Kp"], "ki": given["Ki"], "limit": None}
    )
    state, integrals = rule.init(), []
    for i, entropy in enumerate(x["entropy"].tolist(), start=1):
        state, alpha = rule.update(state, {"entropy": entropy})
        integrals.append(state["integral"])
        term = ADVANTAGES.build("entropic", {"alpha": alpha, "bound": None})
        results[f"entropic_{i}"] = over_tokens(term, batch.set(advantages=batch.rewards))
    return results | {"entropic_integral": torch.tensor(integrals, dtype=torch.float64)}


BY_SIDE = dict.fromkeys(
    ("pg_clipfrac_high", "pg_clipfrac_low", "clip_high_count", "clip_low_count", "total_clipped_count"),
    "the loss's clipped tokens by side: we report their share of all tokens",
)

ADAPTERS = (
    Adapter(("steer",), steer, covariance_files, policy_gradient, BY_SIDE),
    Adapter(("steer_theorem",), steer_theorem, covariance_files),
    Adapter(
        ("clipb",),
        clip_b,
        clip_b_files,
        lambda r: {"grad_logits": ("loss", "logits")},
        {"S_minus_E": "needs sums over the vocabulary, which Clip_B does not read"},
    ),
    Adapter(("clipv",), clip_v, clip_b_files, lambda r: {"grad_logits": ("loss", "logits")}),
    Adapter(("psr_nsr",), psr_nsr, reward_files),
    Adapter(("entrocraft",), entrocraft, reward_files),
)
