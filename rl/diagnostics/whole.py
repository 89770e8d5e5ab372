"""Groups of completions that straddle ranks, brought together on the first of these ranks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from entropostat.rl.reduce import Reducer, rank_of, world_of


class Texts(NamedTuple):
    """Completions of whole groups."""

    ids: Tensor
    """(B, T)."""
    valid: Tensor
    """(B, T) bool."""
    groups: Tensor
    """(B,) int64."""


def whole_groups(own: Texts, every: Tensor, ranks: Tensor, widths: Tensor, reducer: Reducer) -> Texts:
    """This rank's groups: those that are here alone, and of those that straddle ranks the ones that begin here.

    ``every``, ``ranks`` and ``widths`` (N,) are the group, the rank and the rank's T of each completion of all ranks, in the order
    of ranks. One collective where a group straddles ranks, of the completions of such groups alone; none else.
    """
    if world_of(reducer) == 1:
        return own
    me, ranks = rank_of(reducer), ranks.long()
    names, index = torch.unique(every.long(), return_inverse=True)
    ends = torch.full((2, names.numel()), int(ranks.max()) + 1)
    ends.scatter_reduce_(1, index.expand(2, -1), torch.stack([ranks, -ranks]), "amin")
    begins, apart = ends[0], ends[0] != -ends[1]
    if not bool(apart.any()):
        return own
    send = apart[index[ranks == me]].to(own.ids.device)
    wide = int(widths.max()) - own.ids.size(1)
    ids, valid = (torch.nn.functional.pad(x, (0, wide)) for x in (own.ids, own.valid))
    table = torch.cat([own.groups.long().unsqueeze(1), torch.where(valid, ids, -1)], dim=1)
    pooled = reducer.gather(table[send])
    first = begins[torch.searchsorted(names, pooled[:, 0].cpu().contiguous())].to(pooled.device)
    table = torch.cat([table[~send], pooled[first == me]])
    return Texts(table[:, 1:].clamp(min=0), table[:, 1:] >= 0, table[:, 0])
