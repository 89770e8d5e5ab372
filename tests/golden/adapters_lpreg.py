"""Adapters of Lp-Reg: from logits, through the vocabulary pass with an identity as its head, to the loss."""

from __future__ import annotations

from typing import Any

import torch
from golden.adapters import objective
from golden.harness import Adapter, Inputs, Record, Results, Share, Where
from golden.layouts import plain_files
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.divergences import estimator
from entropostat.rl.penalties.lp_reg import threshold
from entropostat.rl.reduce import aggregate, masked_mean
from entropostat.rl.truncation import DROPPED
from entropostat.rl.vocab import SoftLabels, Tiles, VocabStats, Wanted, vocab_statistics


def statistics(logits: Tensor, tokens: Tensor, wanted: Wanted, soft: SoftLabels | None = None) -> VocabStats:
    """In tiles smaller than these vocabularies."""
    identity = torch.eye(logits.shape[-1], dtype=logits.dtype)
    return vocab_statistics(logits, identity, tokens, wanted, tiles=Tiles(4, 5), soft=soft)


def batch_of(x: Inputs, wanted: dict[str, Any]) -> tuple[TokenBatch, Tensor, Tensor]:
    """Current log-probs and the old policy's proxies; the whole proxies, and the tokens that they keep."""
    shape, size = x["mask"].shape, x["old_logits"].shape[-1]
    tokens = x["responses"].flatten()
    old = statistics(x["old_logits"].view(-1, size), tokens, Wanted(("logp",), **wanted))
    new = statistics(x["new_logits"].view(-1, size), tokens, Wanted(("logp",)))
    batch = TokenBatch(
        logps=new.logp.view(shape),
        old_logps=old.logp.view(shape),
        mask=x["mask"],
        advantages=x["advantages"],
        min_p_logp=old.min_p_logp.view(shape),
        min_p_ids=old.min_p_ids.view(*shape, -1),
        min_p_probs=old.min_p_probs.view(*shape, -1),
    )
    proxy = torch.zeros_like(x["old_logits"]).scatter(2, batch.min_p_ids.long(), batch.min_p_probs)
    return batch, proxy, proxy > 0


def asked(params: dict[str, Any], vocabulary: int) -> dict[str, Any]:
    """The filter of the file; every entry of the vocabulary is kept, so that the proxy may be compared whole."""
    return {"min_p": params["kappa"], "absolute": params["type"] == "fixed", "top_k": vocabulary, "kept": True}


def released(x: Inputs, params: dict[str, Any]) -> Results:
    clip = {"epsilon": params["clip_low"], "epsilon_high": params["clip_high"], "clamp": None}
    term = {"coef": params["beta"], "rho": params["rho_neg"], "rho_pos": params["rho_pos"], "kappa": params["kappa"]}
    term |= {"filter": params["type"], "estimator": "k3", "rule": "released", "scope": "micro"}
    o = objective("ppo_clip", clip, penalties=[{"lp_reg": term}])
    batch, _, kept = batch_of(x, asked(params, x["old_logits"].shape[-1]))
    batch = batch.set(clip=o.loss.term.clip)
    total, metrics = o.token_loss(batch, {"lp_reg": o.penalties[0].term.prepare(batch.detached())})
    return {
        "proxy_kept": kept,
        "old_logp": batch.old_logps,
        # A token that is filtered out is as unlikely as its floor: the reference's also counts the mass that is left.
        "proxy_logp": Where(batch.min_p_logp, batch.min_p_logp > DROPPED / 2),
        "logp": batch.logps,
        "loss": aggregate(total, batch.mask, params["agg"]),
        "clipfrac": Share(metrics["ppo_clip/clip_fraction"]),
        "kl_metric": Share(masked_mean(estimator(batch.log_ratio, "low_var_kl"), batch.mask)),
    }


def formula(x: Inputs, params: dict[str, Any]) -> Results:
    term = {"coef": params["beta"], "rho": params["rho"], "kappa": params["kappa"], "filter": params["type"]}
    o = objective("unclipped", {"clamp": float(torch.tensor(params["ratio_cap"]).log())}, penalties=[{"lp_reg": term}])
    size = x["old_logits"].shape[-1]
    batch, proxy, _ = batch_of(x, asked(params, size))
    # The file takes the percentile at the current policy, as if it were the one that generated.
    stats = o.penalties[0].term.prepare(batch.detached())
    positions = stats["soft_positions"]
    rows = torch.arange(len(positions)).unsqueeze(1).expand_as(positions)
    soft = SoftLabels(stats["soft_ids"].flatten(0, 1), stats["soft_probs"].flatten(0, 1))
    logits, tokens = x["new_logits"][rows, positions], x["responses"][rows, positions]
    means = statistics(logits.flatten(0, 1), tokens.flatten(), Wanted(()), soft).soft_logp
    used = stats["soft_probs"].sum(2) > 0
    soft_logp = torch.zeros_like(batch.logps).index_put((rows[used], positions[used]), means.view_as(used)[used])
    batch = batch.set(soft_logp=soft_logp)
    total, _ = o.token_loss(batch, {"lp_reg": stats})
    every = SoftLabels(batch.min_p_ids.flatten(0, 1), batch.min_p_probs.flatten(0, 1))
    across = statistics(x["new_logits"].view(-1, size), x["responses"].flatten(), Wanted(()), every).soft_logp
    return {
        "proxy": proxy,
        "kl_fwd": torch.special.xlogy(proxy, proxy).sum(2) - across.view(batch.mask.shape),
        "selected": torch.zeros_like(batch.valid).scatter(1, positions, used),
        "delta": threshold(batch.detached(), params["rho"]),
        "loss": aggregate(total, batch.mask),
    }


def gradient(record: Record) -> dict[str, tuple[str, str]]:
    return {"grad_new_logits": ("loss", "new_logits")}


ADAPTERS = (
    Adapter(("lpreg",), released, plain_files, gradient),
    Adapter(("lpreg_formula",), formula, plain_files, gradient),
)
