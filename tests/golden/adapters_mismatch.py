"""Adapters of what other engines, verl and TRL do about a sampler whose probabilities are not the trainer's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from golden.adapters import objective, policy_gradient
from golden.harness import Adapter, Inputs, Results, Share, Where
from golden.layouts_engines import correction_files, engine_files
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.mismatch import sampler_log_ratio
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import masked_mean, masked_sum
from entropostat.rl.registry import WEIGHTS

WIDE = {"clamp": 80.0}
"""These references do not bound their exponent."""
NEAR = 1e-8
"""NeMo-RL adds it to the global counts."""


def engine_batch(x: Inputs) -> TokenBatch:
    mask = x["response_mask"]
    return TokenBatch(
        logps=x["log_prob"] if "log_prob" in x else x["old_log_prob"],
        old_logps=x.get("old_log_prob"),
        sampler_logps=x["rollout_log_prob"],
        advantages=x.get("advantages"),
        mask=mask * x["tool_mask"] if "tool_mask" in x else mask,
    )


def masked_ppo(kind: str, options: dict[str, Any], low: float, high: float, dual: float | None) -> Objective:
    clip = {"epsilon": low, "epsilon_high": high, "dual": dual, "clamp": None}
    return objective("ppo_clip", clip, weights=[{kind: options | WIDE}])


def parts(o: Objective, batch: TokenBatch) -> tuple[Tensor, Tensor, Results]:
    """The weighted loss of a token, its weight, and what every engine records of both."""
    total, _ = o.token_loss(batch)
    weight, metrics = o.weight(batch, {})
    assert weight is not None
    seen = torch.where(batch.valid, total, 0.0)
    return total, weight, {"loss_mat": Where(seen, batch.mask), "is_weights": Where(weight, batch.mask), **metrics}


NEMO = {
    "tis": lambda low, high: ("truncated_is", {"low": low, "cap": high}),
    "icepop": lambda low, high: ("icepop", {"low": low, "high": high}),
    "seq-mask-tis": lambda low, high: ("sequence_mask", {"low": low, "high": high}),
}


def nemo(x: Inputs, params: dict[str, Any]) -> Results:
    ends = (f"truncated_importance_sampling_ratio{end}" for end in ("_min", ""))
    kind, options = NEMO[params["truncated_importance_sampling_type"]](*(params[end] for end in ends))
    clip = (params[f"ratio_clip_{end}"] for end in ("min", "max", "c"))
    o, batch = masked_ppo(kind, options, *clip), engine_batch(x)
    total, weight, results = parts(o, batch)
    used = batch.mask * x["sample_mask"].unsqueeze(1)
    if params["token_level_loss"]:
        loss = masked_sum(total, used) / (params["global_valid_toks"] + NEAR)
    else:
        rows = torch.where(used.bool(), total, 0.0).sum(1) / (used.sum(1) + NEAR)
        loss = rows.sum() / (params["global_valid_seqs"] + NEAR)
    clipped, _ = o.surrogate(batch)
    results |= {"loss": loss, "clip_loss": Where(torch.where(batch.valid, clipped, 0.0), batch.mask)}
    if kind == "icepop":
        results["keep_mask"] = Where((weight != 0).to(batch.mask.dtype), batch.mask)
    if kind == "sequence_mask":
        results |= sequences(o, batch)
    return results


def sequences(o: Objective, batch: TokenBatch) -> Results:
    term = o.weights[0].term
    ratio, kept = term._sequences(sampler_log_ratio(batch), batch)
    return {"seq_geomean_ratio": ratio.squeeze(1), "seq_keep_mask": kept.squeeze(1).to(batch.mask.dtype)}


def slime(x: Inputs, params: dict[str, Any]) -> Results:
    icepop = params["method"].endswith("icepop")
    ends = {"low": params["tis_clip_low"], ("high" if icepop else "cap"): params["tis_clip"]}
    clip = (params[name] for name in ("eps_clip", "eps_clip_high", "eps_clip_c"))
    o, batch = masked_ppo("icepop" if icepop else "truncated_is", ends, *clip), engine_batch(x)
    total, weight, results = parts(o, batch)
    seen = torch.where(batch.valid, total, 0.0).sum(1)
    if not params["calculate_per_token_loss"]:
        seen = seen / batch.mask.sum(1).clamp(min=1)
    cut = (weight != sampler_log_ratio(batch).exp()).to(batch.mask.dtype)
    return results | {"loss": seen.sum(), "clipfrac_mat": Where(cut, batch.mask)}


def trl(x: Inputs, params: dict[str, Any]) -> Results:
    level, kind = params["vllm_importance_sampling_mode"].split("_")
    low, high = (params[f"vllm_importance_sampling_clip_{end}"] for end in ("min", "max"))
    batch = engine_batch(x)
    if kind == "truncate":
        name, options = "truncated_is", {"low": low, "cap": high, "level": level}
    elif level == "token":
        name, options = "icepop", {"low": low, "high": high}
    else:
        name, options = "sequence_mask", {"low": low, "high": high, "window": "product", "carries": "sequence"}
    weight, _ = WEIGHTS.build(name, options | WIDE)(batch)
    return {
        "is_weights": weight if level == "token" else weight[:, :1],
        "log_ratio": sampler_log_ratio(batch),
    }


def trl_opsm(x: Inputs, params: dict[str, Any]) -> Results:
    weight, _ = WEIGHTS.build("off_policy_mask", {"threshold": params["off_policy_threshold"]})(engine_batch(x))
    valid = x["response_mask"].bool()
    return {"keep_mask": torch.where(valid, weight, 1.0).amin(1, keepdim=True)}


def rollout_corr(x: Inputs, params: dict[str, Any]) -> Results:
    d, mask = x["log_ratio"], x["response_mask"]
    batch = TokenBatch(logps=d, old_logps=d, sampler_logps=torch.zeros_like(d), mask=mask)
    results: Results = {}
    for name, setting in params["settings"].items():
        terms = list(rejections(**setting) if "option" in setting else [truncation(setting)])
        found = [WEIGHTS.build(kind, options) for kind, options in terms]
        weight = torch.stack([of(prepared(of, batch))[0] for of in found]).prod(0)
        results[name] = weight * mask
        if "option" in setting:
            results[f"{name}_fraction"] = Share(masked_mean(1 - weight, mask))
    return results


def prepared(term: Any, batch: TokenBatch) -> TokenBatch:
    return batch.set(stats=term.prepare(batch)) if term.prepared == "micro" else batch


def truncation(setting: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    options = {"cap": setting["rollout_is_threshold"], "level": setting["rollout_is"], "scope": "micro"}
    return "truncated_is", options | {"normalise": setting.get("rollout_is_batch_normalize", False)}


def rejections(option: str, threshold: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """One term for each of the chained options. verl's window of k1 is on the ratio of sampler to trainer, ours on its inverse."""
    for spelt, bound in zip(option.split(","), threshold.split(","), strict=True):
        *over, estimator = spelt.removeprefix("seq_").split("_")
        ends: dict[str, Any] = {"threshold": float(bound)} if estimator != "k1" else {}
        if estimator == "k1":
            low, high = map(float, bound.split("_"))
            ends = {"low": 1 / high, "high": 1 / low}
        yield "rejection", {"estimator": estimator, "over": over[0], **ends}


MONITORS = dict.fromkeys(
    (
        *("probs_ratio*", "kl_penalty", "token_mult_prob_error", "gen_kl_error", "policy_kl_error", "approx_entropy"),
        *("js_divergence_error", "sampling_importance_ratio", "num_valid_samples", "positive_nll_loss", "is_oob_ratio"),
    ),
    "a monitor of the reference, of nothing that its weights do",
)

ADAPTERS = (
    Adapter(("nemo_icepop", "nemo_seq_mask_tis", "nemo_tis"), nemo, engine_files, policy_gradient, MONITORS),
    Adapter(
        ("slime_icepop", "slime_tis"),
        slime,
        engine_files,
        policy_gradient,
        {"mean_tis*": "a mean over padding, too, of numbers that is_weights and clipfrac_mat hold"},
    ),
    Adapter(("trl_token_mask", "trl_token_truncate", "trl_sequence_mask", "trl_sequence_truncate"), trl, engine_files),
    Adapter(("trl_opsm",), trl_opsm, engine_files),
    Adapter(("rollout_corr",), rollout_corr, correction_files),
)
