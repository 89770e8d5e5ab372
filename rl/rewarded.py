"""From the rewards of the verifiers to those that the advantages see: the links of the slot ``rewards``, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Metrics, TokenBatch
from entropostat.rl.info import LARGEST_REWARD, State
from entropostat.rl.measured import Mean
from entropostat.rl.parts import Part, named
from entropostat.rl.term import Reward


@dataclass(frozen=True)
class Rewarded:
    """What the slot ``rewards`` makes of a generation."""

    rewards: Tensor
    """(B,), NaN where there is none."""
    memory: dict[str, State]
    """Term name -> what it remembers from now on."""
    metrics: Metrics
    lost: Tensor
    """0-dim: share of the scored completions whose reward a term made one that nobody can learn from."""


def compose(links: Iterable[Part[Reward]], batch: TokenBatch, memory: Mapping[str, State], learn: bool) -> Rewarded:
    """``memory``: term name -> what it remembers. With ``learn`` this generation is remembered as well."""
    before = batch.require("unshaped")
    batch, remembered, metrics = batch.set(rewards=before), dict(memory), dict[str, Tensor]()
    for part in links:
        batch = batch.set(memory=remembered.get(part.name, {}))
        if learn:
            remembered[part.name] = part.term.remember(batch)
            batch = batch.set(memory=remembered[part.name])
        rewards, reported = part.term(batch)
        if rewards.shape != before.shape:
            raise ValueError(f"{part.name} gives rewards of shape {[*rewards.shape]}, not {[*before.shape]}")
        batch = batch.set(rewards=usable(rewards).to(before.dtype).masked_fill(before.isnan(), torch.nan))
        metrics |= named(part, reported)
    after = batch.require("rewards")
    return Rewarded(after, remembered, metrics, Mean.over(after.isnan().to(after.dtype), ~before.isnan()))


def usable(rewards: Tensor) -> Tensor:
    """The same with NaN, no reward, for what is infinite or larger than float32 can learn from."""
    return rewards.masked_fill(~(rewards.abs() <= LARGEST_REWARD), torch.nan)
