"""The Reducer of entropostat.rl over accelerate's collectives."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor

from entropostat.rl.reduce import LOCAL, Reducer


class AccelerateReducer:
    """Sums and ragged gathers over all ranks."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.rank: int = accelerator.process_index
        self.world: int = accelerator.num_processes

    def sum(self, x: Tensor) -> Tensor:
        total: Tensor = self.accelerator.reduce(x, reduction="sum")
        return total

    def gather(self, x: Tensor) -> Tensor:
        sizes = self.accelerator.gather(torch.tensor([x.shape[0]], device=self.accelerator.device))
        longest = int(sizes.max())
        if not longest:
            return x
        padded = x.new_zeros(longest, *x.shape[1:])
        padded[: x.shape[0]] = x
        pooled = self.accelerator.gather(padded).unflatten(0, (-1, longest))
        return torch.cat([row[:size] for row, size in zip(pooled, sizes.tolist(), strict=True)])


def make_reducer(accelerator: Accelerator) -> Reducer:
    """LOCAL in a single process, so that nothing is copied or counted there."""
    return AccelerateReducer(accelerator) if accelerator.num_processes > 1 else LOCAL
