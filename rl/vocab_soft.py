"""Mean log-probability under distributions that are given as a few tokens and their probabilities: soft labels.

    soft_logp = sum_k q_k log p(id_k),      so that KL(q || p) = sum_k q_k log q_k - soft_logp

Used by the tiled pass of vocab.py: every tile adds what it holds of sum_k q_k x(id_k), x = z / temperature, and gets q_k back
as a gradient. The labels are constants.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from entropostat.rl.vocab_tiles import Head


@dataclass(frozen=True)
class SoftLabels:
    """For each of M tokens, K entries of the vocabulary and their probabilities; 0 where there are fewer."""

    ids: Tensor
    """(M, K) integers."""
    probs: Tensor
    """(M, K)."""

    def share(self, x: Tensor, rows: slice, columns: slice) -> Tensor:
        """(m,) what a tile holds of sum_k q_k x(id_k)."""
        place, q = self._inside(rows, columns)
        return (x.gather(1, place) * q.to(x.dtype)).sum(1)

    def slope(self, x: Tensor, g: Tensor, rows: slice, columns: slice, head: Head) -> tuple[Tensor, Tensor]:
        """(m, K) places in a tile of the projection, and what the gradient ``g`` of that sum adds there."""
        place, q = self._inside(rows, columns)
        return place, g.unsqueeze(1) * q.to(x.dtype) * head.slope(x.gather(1, place))

    def _inside(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """Places in the tile, and the probabilities, which are 0 for the entries that lie elsewhere."""
        local, width = self.ids[rows].long() - columns.start, columns.stop - columns.start
        return local.clamp(0, width - 1), self.probs[rows].where((local >= 0) & (local < width), 0.0)
