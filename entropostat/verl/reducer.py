"""The Reducer of entropostat.rl over the process group that verl hands to a loss: its data-parallel ranks."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from entropostat.rl.reduce import LOCAL, Reducer


class GroupReducer:
    """Sums and ragged gathers over the ranks of ``group``."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group = group
        self.rank: int = dist.get_rank(group)
        self.world: int = dist.get_world_size(group)

    def sum(self, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total, group=self.group)
        return total

    def gather(self, x: Tensor) -> Tensor:
        size = torch.tensor([x.shape[0]], device=x.device)
        sizes = [torch.zeros_like(size) for _ in range(self.world)]
        dist.all_gather(sizes, size, group=self.group)
        padded = x.new_zeros(max(int(n) for n in sizes), *x.shape[1:])
        padded[: x.shape[0]] = x
        pooled = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(pooled, padded, group=self.group)
        return torch.cat([rows[: int(n)] for rows, n in zip(pooled, sizes, strict=True)])


def make_reducer(group: dist.ProcessGroup | None) -> Reducer:
    """LOCAL for one rank, so that nothing is copied there."""
    return GroupReducer(group) if group is not None and dist.get_world_size(group) > 1 else LOCAL
