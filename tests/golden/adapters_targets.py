"""Adapters of the terms that hold entropy at a target: DCPO, SIREN and the targeted entropy penalty."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from golden.adapters import losses, objective
from golden.harness import Adapter, Inputs, Record, Results, Share, Where
from golden.layouts_targets import confucius_files, dcpo_files, siren_files
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.registry import ADVANTAGES, DATA, PENALTIES
from entropostat.rl.sequence import row_quantile
from entropostat.rl.vocab import Tiles, unpacked, vocab_statistics

EPSILON = 1e-6
"""Added to the standard deviation by the reference."""
DUAL = 3.0
"""Dual clip of the reference: a constant of its configuration, in no file."""


def own(logits: Tensor, tokens: Tensor) -> Tensor:
    return logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def dcpo(x: Inputs, params: dict[str, Any]) -> Results:
    chain = [{"grpo": {"epsilon": EPSILON}}, {"dcpo": {"target": params["entropy_base"], "reference": True}}]
    o = objective("ppo_clip", {"dual": DUAL}, advantages=chain)
    old, new, tokens = x["old_logits"], x["new_logits"], x["responses"]
    term = o.advantages[1].term
    mask, rewards = x["response_mask"].to(old.dtype), x["token_level_scores"].sum(1)
    batch = TokenBatch(
        logps=own(old.log_softmax(-1), tokens),
        old_logps=own(old.log_softmax(-1), tokens),
        old_entropy=torch.full_like(mask, params["entropy"]),  # the file gives the mean that the reference holds
        mask=mask,
        rewards=rewards,
        groups=x["groups"],
        logit=own(old, tokens),
        lse={t: (old / t).logsumexp(-1) for t in term.wanted.temperatures},
    )
    base = o.advantages[0].term(batch)[0]
    rollout = o.rollout(batch)
    told = {name: rollout.metrics[f"dcpo/{name}"] for name in ("temperature", "alpha", "rate")}
    rho = term._virtual_ratio(batch, term.t_high if told["temperature"] > 1 else term.t_low)
    batch = batch.set(logps=own(new.log_softmax(-1), tokens), advantages=rollout.advantages)
    total, metrics = o.token_loss(batch)
    return losses(total, batch, {"loss_agg_mode": "token-mean", "fork": False}, o.loss.term.clamp) | {
        "temperature": told["temperature"],
        "alpha": told["alpha"],
        "true_ratio": told["rate"],
        "bool_reward": rewards > term.success,
        "old_log_probs": batch.old_logps,
        "old_log_probs_t": Where(rho.log() + batch.old_logps, mask),
        "rho": Where(rho, mask),
        "grpo_advantages": Where(base.unsqueeze(1).expand_as(mask), mask),
        "advantages": Where(rollout.advantages, mask),
        "clipfrac_high": Share(metrics["ppo_clip/clip_fraction"]),
        "clipfrac_low": Share(metrics["ppo_clip/dual_fraction"]),
    }


def siren(x: Inputs, params: dict[str, Any]) -> Results:
    options = {"anchor": params["anchor"], "coef": params["coef"], "top_p": params["top_p"], "top_k": params["topk"]}
    options |= {"quantile": params["quantile"], "reference": True, "scope": "micro"}
    term = PENALTIES.build("siren", options)
    logits, mask = x["logits"], x["mask"].to(x["logits"].dtype)
    flat, width = logits.flatten(0, 1), logits.shape[-1]
    wanted = replace(term.wanted, outputs=("entropy",))
    labels = torch.zeros(len(flat), dtype=torch.long)
    stats = vocab_statistics(flat, torch.eye(width, dtype=flat.dtype), labels, wanted, tiles=Tiles(4, 5))
    nucleus, entropy = (unpacked(v, torch.ones_like(mask)) for v in (stats.nucleus_entropy, stats.entropy))
    batch = TokenBatch(logps=torch.zeros_like(mask), mask=mask, nucleus_entropy=nucleus)
    loss, metrics = term(batch.set(stats=term.prepare(batch.detached())))
    return {
        "topp_entropy": nucleus,
        "full_entropy": entropy,
        "lower_bound": row_quantile(nucleus.detach(), params["quantile"], batch),
        "quantile_mask": Where(term._selected(batch)[1], mask),  # the reference selects in padding too
        "masked_entropy_mean": metrics["entropy"],
        "reg_loss": loss,
    }


def confucius(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for i in params["groups"]:
        rewards = x[f"R{i}"]
        token = torch.zeros_like(rewards).unsqueeze(1)
        batch = TokenBatch(token, torch.ones_like(token), rewards=rewards)
        advantages, told = ADVANTAGES.build("pshw")(batch)
        results |= {f"adv{i}": advantages, f"D{i}": told["weight"], f"mu{i}": rewards.mean()}
    for i, options in params["settings"].items():
        entropy = x[f"entropy{i}"].view(1, 1)
        term = PENALTIES.build("ter", options | {"scope": "micro"})
        batch = TokenBatch(logps=torch.zeros(1, 1), mask=torch.ones(1, 1), entropy=entropy)
        results[f"loss_term{i}"] = term(batch.set(stats=term.prepare(batch.detached())))[0]
    for i, trace in params["traces"].items():
        results |= {f"{name}{i}": rows for name, rows in recovery_trace(x[f"sampled{i}"], **trace).items()}
    return results


def recovery_trace(sampled: torch.Tensor, places: int, size: int, steps: int) -> Results:
    """Algorithm 1 of Confucius3: (step, prompt, right answers) in, (step, prompt) out of each list that it keeps.

    A step without enough groups samples on: what it has is pending, and stands first in the next.
    """
    refill, recovery = DATA.build("dynamic_sampling"), DATA.build("rsr", {"max_age": steps})
    told: dict[str, list[tuple[int, int]]] = {name: [] for name in ("kept", "trained", "recovered", "pending")}
    waiting: list[int] = []
    for at in range(steps):
        came = [(int(prompt), int(right)) for step, prompt, right in sampled.tolist() if step == at]
        kept = [prompt for prompt, right in came if refill.teaches([1.0] * right + [0.0] * (size - right))]
        trained, rest = recovery.split(waiting, kept, places)
        short = len(trained) < places
        lists = {"kept": kept, "trained": [] if short else trained, "recovered": [] if short else rest}
        waiting = list(trained if short else rest)
        for name, prompts in (lists | {"pending": waiting if short else []}).items():
            told[name] += [(at, prompt) for prompt in prompts]
    return {name: torch.tensor(rows, dtype=torch.int64).reshape(-1, 2) for name, rows in told.items()}


def slopes(record: Record) -> dict[str, tuple[str, str]]:
    return {f"dloss_dentropy{i}": (f"loss_term{i}", f"entropy{i}") for i in record.params["settings"]}


ADAPTERS = (
    Adapter(
        ("dcpo",),
        dcpo,
        dcpo_files,
        lambda r: {"grad_new_logits": ("loss", "new_logits")},
        {"entropy_loss_metric": "the sampled negative log-likelihood, which our entropy is not"},
    ),
    Adapter(("siren",), siren, siren_files, lambda r: {"grad_logits": ("reg_loss", "logits")}),
    Adapter(
        ("confucius3",),
        confucius,
        confucius_files,
        slopes,
    ),
)
