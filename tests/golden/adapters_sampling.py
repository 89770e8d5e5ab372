"""Adapters of what a sampler keeps, and of where entropy spikes."""

from __future__ import annotations

from typing import Any

import torch
from golden.harness import Adapter, Inputs, Results
from golden.layouts_sampling import decoding_files
from torch import Tensor
from transformers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    MinPLogitsWarper,
    TopHLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from entropostat.rl import sampling
from entropostat.rl.diagnostics.spikes import spikes

LIBRARY: dict[str, Any] = {
    "hf_top_h": TopHLogitsWarper,
    "hf_typical": TypicalLogitsWarper,
    "hf_min_p": MinPLogitsWarper,
    "hf_top_p": TopPLogitsWarper,
    "hf_eta": lambda eta: EtaLogitsWarper(epsilon=eta),
    "hf_epsilon": EpsilonLogitsWarper,
}
"""Samplers that the project takes from transformers; its top_h is there under generation_kwargs alone."""


def decoding(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for at, case in params["cases"].items():
        if case["kind"] == "warpers":
            logits = x[f"logits{at}"]
            results |= {f"{name}{at}": value for name in case["sets"] if (value := kept(name, logits)) is not None}
        elif case["kind"] == "mirostat":
            for trace, whole in (("v2_orig", True), ("v2_renorm", False)):
                steps = mirostat(x[f"logits{at}"], x[f"uniforms{at}"], case["tau"], case["v2_eta"], whole)
                results |= {f"{trace}/{name}{at}": value for name, value in steps.items()}
        elif case["kind"] == "srgen_trigger":
            entropy = x[f"entropies{at}"].unsqueeze(0)
            options = {"window": case["N"], "k": case["K"], "least_std": case["minimal_std"]}
            options |= {"least": case["minimal_threshold"], "first": case["base_threshold"]}
            results[f"triggered{at}"] = spikes(entropy, torch.ones_like(entropy), **options)[0]
    return results


def kept(name: str, logits: Tensor) -> Tensor | None:
    rule, _, size = name.rpartition("_")
    if rule == "paper_greedy_renormalised":
        return sampling.top_h(logits, float(size))
    warper = LIBRARY.get(rule)
    if warper is None:
        return None
    scores = logits.float().unsqueeze(0)
    return ~warper(float(size))(torch.zeros(1, 1, dtype=torch.long), scores.clone())[0].isneginf()


def mirostat(logits: Tensor, uniforms: Tensor, tau: float, eta: float, whole: bool) -> dict[str, Tensor]:
    """One trace; tokens are drawn by the inverse of the distribution function, the likeliest first."""
    mu = torch.tensor([2 * tau], dtype=torch.float64)
    trace: dict[str, list[Tensor]] = {name: [] for name in ("k", "token", "surprise_bits", "mu_before", "mu_after")}
    for row, u in zip(logits, uniforms, strict=True):
        bits = sampling.surprise(row.unsqueeze(0))
        keep = sampling.mirostat(bits, mu)
        p = torch.where(keep, torch.exp2(-bits), 0.0)[0]
        order = p.argsort(descending=True, stable=True)
        token = order[(p[order] / p.sum()).cumsum(0).gt(u).long().argmax()]
        after = sampling.mirostat_step(mu, bits, keep, token.unsqueeze(0), tau, eta, whole)
        values = (keep.sum(), token, (mu - after) / eta + tau, mu, after)
        for name, value in zip(trace, values, strict=True):
            trace[name].append(value.double().reshape(()))
        mu = after
    return {name: torch.stack(values) for name, values in trace.items()}


ADAPTERS = (
    Adapter(
        ("decoding",),
        decoding,
        decoding_files,
        out_of_scope={
            "authors_top_h*": "the authors' rule, which is transformers': hf_top_h is compared",
            "v1_trace*": "mirostat's first version, which fails on ties and is not offered",
            "ead_rolling_from_formula*": "a sampler of two models, which the project does not offer",
        },
    ),
)
