"""How what controllers read is measured; signals.py says what each is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.bounds import Bounded
from entropostat.rl.divergences import k3
from entropostat.rl.reduce import masked_mean, top_mask

BOUND = 20.0
"""Log-ratios beyond this are cut in the KL signals."""
TOP = 0.2
"""Share of tokens in ``entropy_top``."""
SOLVED = 0.5
"""Reward above which a completion counts as right."""
DECAY = 0.95
"""Of the reward's average, whose change is the velocity."""


@torch.no_grad()
def token_sums(
    batch: TokenBatch, wanted: frozenset[str], bounded: Bounded | None = None
) -> tuple[tuple[str, ...], Tensor]:
    """Names, and sums over the valid tokens of the micro-batch. Divided by ``tokens`` (``entropy_seq``: by ``rows``)
    they are signals. What is logged anyway is always there, the rest where ``wanted``; ``bounded`` is what the loss holds."""
    values = {"tokens": torch.ones_like(batch.logps)}
    if batch.entropy is not None:
        values["entropy"] = batch.entropy
    if batch.ref_logps is not None:
        x = batch.difference(batch.ref_logps, BOUND)
        values |= {"kl": k3(x), "kl_k1": x}
    if batch.old_logps is not None:
        values["kl_old"] = k3(batch.difference(batch.old_logps, BOUND))
    if "nll" in wanted:
        values["nll"] = -batch.logps
    if bounded is not None:
        values["clip_fraction"] = (bounded[0] | bounded[1]).to(batch.logps.dtype).expand_as(batch.logps)
    if "entropy_seq" in wanted:
        dtype = torch.promote_types(batch.logps.dtype, torch.float32)
        share = (1 / batch.valid.sum(1, keepdim=True, dtype=dtype).clamp(min=1)).expand_as(batch.logps)
        values |= {"rows": share, "entropy_seq": share * batch.require("entropy")}
    stacked = torch.stack(list(values.values())).masked_fill_(batch.invalid, 0.0)
    return tuple(values), stacked.sum((1, 2), dtype=torch.float64)


@torch.no_grad()
def extremes(batch: TokenBatch) -> Tensor:
    """(2,) largest log-ratio, and the negative of the smallest; -inf without a token."""
    x = batch.log_ratio
    return torch.stack([x, -x]).masked_fill(batch.invalid, -torch.inf).amax((1, 2)).double()


@torch.no_grad()
def rollout_signals(batch: TokenBatch, ref_entropy: Tensor | None, wanted: frozenset[str]) -> dict[str, float]:
    """The wanted ones of a generation; the same on every rank."""
    signals: dict[str, float] = {}
    if wanted & {"reward", "reward_std", "reward_velocity", "solved", "length"}:
        signals |= _rewards(batch)
    if wanted & {"entropy_old", "entropy_top", "entropy_ratio"}:
        entropy = batch.require("old_entropy")
        mean = masked_mean(entropy, batch.mask, batch.reducer)
        signals["entropy_old"] = float(mean)
        if "entropy_top" in wanted:
            tokens = int(batch.reducer.sum(batch.valid.sum()))
            top = top_mask(entropy, batch.valid, max(round(TOP * tokens), 1), batch.reducer)
            signals["entropy_top"] = float(masked_mean(entropy, top.to(entropy.dtype), batch.reducer))
    if ref_entropy is not None:
        signals["entropy_ref"] = float(masked_mean(ref_entropy, batch.mask, batch.reducer))
        if "entropy_old" in signals:
            signals["entropy_ratio"] = signals["entropy_old"] / clamped(signals["entropy_ref"])
    return {name: value for name, value in signals.items() if name in wanted | {"reward"}}


def _rewards(batch: TokenBatch) -> dict[str, float]:
    rewards, groups = batch.require("rewards").double(), batch.require("groups")
    scored = ~rewards.isnan()
    sums = [scored, rewards.nan_to_num(), batch.mask.sum(1), batch.valid.any(1)]
    count, total, tokens, rows = batch.reducer.sum(torch.stack([x.double().sum() for x in sums])).tolist()
    mean = total / count if count else math.nan
    off = torch.where(scored, rewards - mean, 0.0).square().sum()
    spread = float(batch.reducer.sum(off.unsqueeze(0))[0])
    right = batch.reducer.gather(torch.stack([groups.double(), (rewards > SOLVED).double()], dim=1)[scored])
    every, hit = right[:, 0].unique(), right[right[:, 1] > 0, 0].unique()
    return {
        "reward": mean,
        "reward_std": math.sqrt(spread / (count - 1)) if count > 1 else math.nan,
        "length": tokens / rows if rows else math.nan,
        "solved": hit.numel() / every.numel() if every.numel() else math.nan,
    }


def clamped(x: float) -> float:
    """Off 0, to be divided by; NaN stays NaN."""
    return x if math.isnan(x) else max(x, 1e-12)


def velocity(state: dict[str, float], reward: float) -> dict[str, float]:
    """The average of the reward and its change, from those of the generation before; NaN where this one has no reward."""
    if math.isnan(reward):
        return {**state, "reward_velocity": math.nan}
    before = state.get("reward_average", reward)
    after = DECAY * before + (1 - DECAY) * reward
    return {"reward_average": after, "reward_velocity": after - before}
