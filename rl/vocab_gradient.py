"""The gradient of log-prob and entropy of given tokens, in one recomputation of each tile of logits.

    x = z / T;   d logp(label) / dx_j = [j = label] - p_j;   d H / dx_j = -p_j (log p_j + H)

so a token with slopes g of its log-prob and h of its entropy pushes its logits by

    dx_j = p_j (a + b log p_j) + [j = label] g       with  a = -g - h H,  b = -h

in four passes over a tile that stays in the cache. The forward pass may have been anyone's: what is read of it are log Z and H.
``vocab.py`` has the pass that makes both, and further statistics.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.vocab_tiles import Head, Projection, Tiles, accumulate, in_tile

TILES = Tiles(1024, 1024)
"""As many logits as ``Tiles()`` has; tall, so that the gradient of the weight is read and written once per thousand tokens."""


@dataclass(frozen=True)
class Scored:
    """Tokens after a forward pass, and what a loss asks of them."""

    hidden: Tensor
    """(M, D)."""
    labels: Tensor
    """(M,)."""
    table: Tensor
    """(4, M): log sum exp x and H, in nats; the slopes of the loss along log-prob and entropy."""

    @classmethod
    def of(
        cls,
        hidden: Tensor,
        labels: Tensor,
        log_z: Tensor,
        entropy: Tensor,
        of_logp: Tensor | None,
        of_entropy: Tensor | None,
    ) -> Scored:
        """A slope that is None is 0."""
        slopes = [torch.zeros_like(log_z) if x is None else x.to(log_z.dtype) for x in (of_logp, of_entropy)]
        return cls(hidden, labels, torch.stack([log_z, entropy, *slopes]))

    def at(self, rows: Tensor) -> Scored:
        """Some of the tokens."""
        return Scored(*(x.index_select(d, rows) for x, d in ((self.hidden, 0), (self.labels, 0), (self.table, 1))))

    def pushed(self) -> Tensor:
        """(K,) the tokens that the loss pushes at all: slopes of 0 leave nothing of a token, whatever lies in it."""
        return self.table[2:].any(0).nonzero().squeeze(1)


def gradients(
    scored: Scored,
    weight: Tensor,
    bias: Tensor | None,
    head: Head,
    dtype: torch.dtype,
    needed: tuple[bool, bool, bool] = (True, True, True),
    tiles: Tiles = TILES,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Of hidden (M, D), weight (V, D) and bias (V,), those that are ``needed``; in float32, or float64 if ``dtype`` is.

    ``dtype``: in which the projection is computed.
    """
    projection = Projection(scored.hidden, weight, bias, head, tiles, dtype)
    d_hidden, d_weight, d_bias = (
        torch.zeros_like(x, dtype=projection.sums) if x is not None and wanted else None
        for x, wanted in zip((scored.hidden, weight, bias), needed, strict=True)
    )
    parts = zip(scored.labels.split(tiles.tokens), scored.table.split(tiles.tokens, 1), strict=True)
    for (rows, chunk), (labels, table) in zip(projection.rows(), parts, strict=False):  # of no tokens there is a part
        push = _Push(labels, table, head, projection)
        for columns, w, x in projection.columns(chunk):
            d = push.over(x, columns)
            if d_hidden is not None:
                accumulate(d_hidden[rows], d, w)
            if d_weight is not None:
                accumulate(d_weight[columns], d.t(), chunk)
            if d_bias is not None:
                d_bias[columns] += d.sum(0)
    return d_hidden, d_weight, d_bias


class _Push:
    """What all tiles of the same tokens share; (n, 1) each."""

    def __init__(self, labels: Tensor, table: Tensor, head: Head, projection: Projection) -> None:
        self.head, self.labels, self.spare = head, labels, projection.spare
        self.log_z, entropy, g, h = table.to(projection.sums).unsqueeze(2).unbind()
        b = -h
        a = torch.addcmul(-g, b, entropy)
        # Without a soft cap the slope of the head is one number, which costs nothing here and a pass over each tile there.
        factor = head.scale / head.temperature if head.softcap is None else 1.0
        self.a, self.b, self.g = (a, b, g) if factor == 1 else (a * factor, b * factor, g * factor)

    def over(self, x: Tensor, columns: slice) -> Tensor:
        """The gradient with respect to a tile of the projection, written over the tile."""
        by_head = None if self.head.softcap is None else self.head.slope(x)
        p = torch.exp(x.sub_(self.log_z), out=self.spare[: x.numel()].view(x.shape))
        d = torch.addcmul(self.a, x, self.b, out=x).mul_(p)
        local, inside = in_tile(self.labels, columns)
        d.scatter_add_(1, local, self.g * inside)
        return d if by_head is None else d.mul_(by_head)
