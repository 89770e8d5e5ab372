"""Adapter of ERA: the pass over the vocabulary gives what the loss reads, and a head of ones on the diagonal makes logits hidden."""

from __future__ import annotations

from typing import Any

import torch
from golden.adapters import objective, to_scalar
from golden.adapters_cited import OLD
from golden.harness import Adapter, Inputs, Record, Results, Share, Where
from golden.layouts_cited import era_files
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import masked_mean
from entropostat.rl.vocab import Tiles, vocab_statistics
from entropostat.rl.vocab_sums import Wanted

TOP_K = 20
"""Of the reference, which counts the other tokens as impossible."""
FLOAT32 = 2e-5
"""README_cited.md: logits up to 96 in float32."""


def era(x: Inputs, params: dict[str, Any]) -> Results:
    mask = x["response_mask"]
    if not mask.any(1).all():
        return {"skipped": change_by_skipping(x, params)}
    released = run(x, params, reference=True)
    return released | {f"intended_{name}": value for name, value in run(x, params, reference=False).items()}


def term(params: dict[str, Any], reference: bool) -> Objective:
    bounds = {"sharpen_below": params["era_lb"], "flatten_above": params["era_ub"], "k": float(params["era_k"])}
    clip = {
        "epsilon": params["cliprange_low"],
        "epsilon_high": params["cliprange_high"],
        "dual": params["clip_ratio_c"],
    }
    return objective("era", bounds | clip | {"scale_advantages": params["adv_scale"], "reference": reference})


def batch_of(x: Inputs, params: dict[str, Any], o: Objective) -> TokenBatch:
    """The completions, whose entropies are of all tokens even where the log-probs are of the likeliest."""
    logits, labels, mask = x["logits"], x["labels"], x["response_mask"]
    kept = logits
    if params["topk"]:
        kept = logits.masked_fill(logits < logits.topk(TOP_K).values[..., -1:], -1e9)
    (whole,) = statistics(logits, labels, Wanted(("entropy",))).values()
    found = statistics(kept, labels, Wanted(("logp", "logit"), o.loss.term.wanted.temperatures))
    return TokenBatch(
        logps=found.pop("logp"), logit=found.pop("logit"), lse=found, mask=mask.to(logits), advantages=x["advantages"],
        old_logps=x["old_log_prob"], entropy=whole, old_entropy=whole.detach(),
    )  # fmt: skip


def statistics(logits: Tensor, labels: Tensor, wanted: Wanted) -> dict[Any, Tensor]:
    flat = logits.flatten(0, -2)
    s = vocab_statistics(flat, torch.eye(flat.shape[1], dtype=flat.dtype), labels.flatten(), wanted, tiles=Tiles(4, 7))
    named = {name: getattr(s, name) for name in wanted.outputs} | dict(zip(wanted.temperatures, s.lse, strict=True))
    return {name: value.view(labels.shape) for name, value in named.items()}


def run(x: Inputs, params: dict[str, Any], reference: bool) -> Results:
    o = term(params, reference)
    batch = batch_of(x, params, o)
    # The old log-probs of the files are drawn, and are those of no logits.
    stats = {**o.loss.term.prepare(batch.detached()), "old_logps": batch.old_logps}
    total, metrics = o.token_loss(batch, {"era": stats})
    height = o.loss.term._height(batch)
    low, high = ((height < params["era_lb"]).to(total), (height > params["era_ub"]).to(total))
    activated = o.loss.term._activated(batch, batch.logps, stats["sharp"], stats["flat"])
    scale = stats["scale"] if params["adv_scale"] else torch.ones_like(height)
    slack = FLOAT32 if total.dtype == torch.float32 else 0.0
    moved = (activated - batch.old_logps).clamp(-o.loss.term.clamp, o.loss.term.clamp)
    return {
        "loss": to_scalar(total, batch.mask, params | OLD),
        "loss_mat": Where(total, batch.mask, slack),
        "log_prob": Where(activated, batch.mask, slack),
        "entropy": Where(batch.entropy, batch.mask, slack),
        "mean_top_entropy": Where(height[:, 0], torch.ones(len(height)), slack),
        "scaled_advantages": Where(batch.advantages * scale, batch.mask),
        "n_sharpened": stats["sharp"].sum(),
        "n_flattened": stats["flat"].sum(),
        "low_frac": low.mean(),
        "high_frac": high.mean(),
        "mid_frac": 1 - low.mean() - high.mean(),
        "pg_clipfrac": Share(metrics["era/clip_fraction"]),
        "ppo_kl": Where(masked_mean(-moved, batch.mask), True, max(slack, 1e-7)),
    }


def change_by_skipping(x: Inputs, params: dict[str, Any]) -> Tensor:
    """What the completions without tokens add to the loss and to the gradient on their logits, of which there is none."""
    o, found = term(params, False), []
    x = {**x, "logits": x["logits"].detach().requires_grad_()}
    kept = x["response_mask"].any(1)
    for rows in (torch.ones_like(kept), kept):
        batch = batch_of({name: value[rows] for name, value in x.items()}, params, o)
        total, _ = o.token_loss(batch, {"era": o.loss.term.prepare(batch.detached())})
        found.append(to_scalar(total, batch.mask, params))
    gradients = [torch.autograd.grad(loss, x["logits"])[0].flatten() for loss in found]
    return torch.cat([(found[0] - found[1]).view(1), gradients[0] - gradients[1]])


def gradients(record: Record) -> dict[str, tuple[str, str]]:
    kinds = ("", "intended_") if "intended_loss" in record.outputs["f64"] else ()
    return {f"{kind}grad_logits": (f"{kind}loss", "logits") for kind in kinds}


ADAPTERS = (Adapter(("era",), era, era_files, gradients),)
