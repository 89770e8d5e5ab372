"""Which completions of a prompt gave the same answer, wherever the members of its group are, and how uncertain that makes it.

Answer keys are text and stay on their rank. What the ranks exchange of one are 96 bits of its hash, as two whole numbers that
float64 holds exactly: within a group, two different keys would meet by chance once in 10^25 groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.reduce import Groups, all_groups

HALF = 6
"""Bytes of one of the two numbers: fewer than the 53 bits that float64 holds."""
FIELDS = 3
"""Numbers of a key: whether there is one, and its hash in two halves."""


@dataclass(frozen=True)
class Answers:
    """Whole prompt groups: P prompts, G members of the largest, on all ranks. float64; NaN, or False, where there is no member."""

    groups: Groups
    """Of all columns; its ``own`` brings a (P, G) or (P, G, ...) matrix back to this rank's completions."""
    rewards: Tensor
    """(P, G); NaN where nothing could score the completion, too."""
    values: Tensor
    """(P, G, K) of whatever else was asked for."""
    parsed: Tensor
    """(P, G) bool: the completion has a reward and an answer key."""
    same: Tensor
    """(P, G, G) bool: both have one, and the same."""

    @property
    def scored(self) -> Tensor:
        """(P, G) bool."""
        return ~self.rewards.isnan()


def answers_by_group(batch: TokenBatch, *values: Tensor) -> Answers:
    """The groups of this generation on all ranks, with (B,) ``values`` of every completion beside its reward: one collective."""
    rewards = batch.require("rewards")
    columns = torch.stack([x.double() for x in (rewards, *values)], dim=1)
    groups = all_groups(torch.cat([columns, _hashes(batch)], dim=1), batch.groups, batch.reducer)
    matrix = groups.matrix
    scored = ~matrix[..., 0].isnan()
    there, high, low = matrix[..., -FIELDS:].unbind(-1)
    parsed = scored & (there == 1)
    equal = (high.unsqueeze(2) == high.unsqueeze(1)) & (low.unsqueeze(2) == low.unsqueeze(1))
    both = parsed.unsqueeze(2) & parsed.unsqueeze(1)
    return Answers(groups, matrix[..., 0], matrix[..., 1:-FIELDS], parsed, equal & both)


def _hashes(batch: TokenBatch) -> Tensor:
    """(B, FIELDS) float64. Where no completion of this rank has a key, the others still count on its share of the exchange."""
    rows = batch.mask.shape[0]
    keys = (None,) * rows if batch.answers is None else batch.answers
    if len(keys) != rows:
        raise ValueError(f"batch.answers has {len(keys)} answer keys for {rows} completions")
    return torch.tensor([_hash(key) for key in keys], dtype=torch.float64, device=batch.mask.device).view(rows, FIELDS)


def _hash(key: str | None) -> tuple[float, float, float]:
    if key is None:
        return 0.0, 0.0, 0.0
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=2 * HALF).digest()
    return 1.0, float(int.from_bytes(digest[:HALF], "big")), float(int.from_bytes(digest[HALF:], "big"))


UNPARSED = -1.0
"""Stands for the key of a completion without an answer."""


def answer_prints(batch: TokenBatch) -> Tensor:
    """(B,) float64, equal for equal answers: 52 bits of each key's hash, UNPARSED without a key, NaN where nobody gives keys.

    For who compares all completions of a generation and not those of a group: of a million, two different keys meet with
    probability 1e-4.
    """
    if batch.answers is None:
        return torch.full((batch.mask.shape[0],), torch.nan, dtype=torch.float64, device=batch.mask.device)
    there, high, low = _hashes(batch).unbind(1)
    return torch.where(there == 1, high * 16 + low % 16, UNPARSED)


def cluster_shares(mass: Tensor, same: Tensor) -> Tensor:
    """(P, G) what the cluster of each member has of the ``mass`` (P, G), which sums to 1 in a group and is 0 for who does not count."""
    return torch.where(same, mass.unsqueeze(1), 0.0).sum(2)


def answer_entropy(mass: Tensor, same: Tensor) -> Tensor:
    """(P,) Shannon entropy over the clusters, nats."""
    parts: Tensor = torch.special.xlogy(mass, cluster_shares(mass, same))
    return -parts.sum(1)
