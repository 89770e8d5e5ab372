"""Adapter of AEPO's released code: which tempered rows replace which ordinary ones, and the loss of the mixed batch."""

from __future__ import annotations

from typing import Any

import torch
from golden.adapters import objective
from golden.harness import Adapter, Inputs, Record, Results, Share, Where
from golden.layouts_aepo import aepo_files
from torch import Tensor

from entropostat.rl.advantages.grpo import GRPO
from entropostat.rl.batch import TokenBatch
from entropostat.rl.penalties.aepo import AEPO
from entropostat.rl.reduce import aggregate, masked_mean

PPO = {"epsilon": 0.2, "dual": 3.0}
"""Constants of the reference, in no file."""
FLOAT32 = 1e-6
"""The reference takes mean and standard deviation of a group in float32."""


def part(x: Inputs, kind: str, n: int) -> TokenBatch:
    """Log-probs of the sampled tokens, rewards and groups of one of the two rollouts; rows are prompt-major."""
    logps = [_of_tokens(x[f"{kind}_{which}_logits"], x[f"{kind}_responses"]) for which in ("new", "old")]
    rows = torch.arange(logps[0].shape[0])
    return TokenBatch(
        logps=logps[0],
        old_logps=logps[1],
        mask=x[f"{kind}_response_mask"],
        rewards=x[f"{kind}_token_level_scores"].sum(1),
        groups=rows // n,
        uids=rows,
    )


def aepo(x: Inputs, params: dict[str, Any]) -> Results:
    term = AEPO(
        reference=True,
        target=float(x["entropy_base"]),
        t_high=float(x["T_high"]),
        t_low=float(x["T_low"]),
        samples=int(x["limit"]),
        margin=float(x["adv_threshold"]),
    )
    entropy, n = float(x["entropy"]), int(x["n"])
    plain, tempered = part(x, "T1", n), part(x, "TT", n)
    results: Results = {"temperature": torch.tensor(term._temperature(entropy), dtype=torch.float64)}
    if params["fails"]:
        return results | {"error": not term.select(tempered, entropy)[0].any()}
    weights, _ = term.select(tempered, entropy)
    everything, _ = AEPO(reference=True, samples=10**6, target=entropy, margin=term.margin).select(tempered, entropy)
    taken = weights.nonzero()[:, 0]
    k = len(taken)
    own, _ = GRPO(epsilon=1e-6)(plain)
    ordinary = torch.arange(k, plain.logps.shape[0])
    mixed = TokenBatch(
        logps=torch.cat([tempered.logps[taken], plain.logps[ordinary]]),
        old_logps=torch.cat([tempered.old_logps[taken], plain.old_logps[ordinary]]),
        mask=torch.cat([tempered.mask[taken], plain.mask[ordinary]]),
        advantages=torch.cat([torch.ones(k), own[ordinary]]),
    )
    o = objective("ppo_clip", PPO)
    loss, metrics = o.token_loss(mixed)
    source = [(1, int(i)) for i in taken] + [(0, int(i)) for i in ordinary]
    return results | {
        "num_selected": everything.sum(),
        "sample_num": torch.tensor(k),
        "row_source": torch.tensor(source),
        "advantages": Where(mixed.advantages.unsqueeze(1).expand_as(mixed.mask), mixed.mask, FLOAT32),
        "old_log_probs": mixed.old_logps,
        "response_mask": mixed.mask,
        "T1_advantages": Where(own.unsqueeze(1).expand_as(plain.mask), plain.mask, FLOAT32),
        "loss": aggregate(loss, mixed.mask),
        "clipfrac_high": Share(metrics["ppo_clip/clip_fraction"]),
        "clipfrac_low": Share(metrics["ppo_clip/dual_fraction"]),
        "ppo_kl": masked_mean(-mixed.log_ratio, mixed.mask),
        "entropy_loss_metric": -masked_mean(mixed.logps, mixed.mask),
    }


def _of_tokens(logits: Tensor, tokens: Tensor) -> Tensor:
    return logits.log_softmax(-1).gather(-1, tokens.unsqueeze(-1))[..., 0]


def gradients(record: Record) -> dict[str, tuple[str, str]]:
    return {} if record.params["fails"] else {f"grad_{kind}": ("loss", f"{kind}_new_logits") for kind in ("T1", "TT")}


ADAPTERS = (Adapter(("aepo",), aepo, aepo_files, gradients),)
