"""Tiles of logits: the projection of a few tokens on a slice of the vocabulary, overwritten by the next one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

LIMIT = 1e20
"""Logits are cut off here: a bias of -inf, which forbids a token, must not make 0 * inf."""


@dataclass(frozen=True)
class Head:
    """How a projection becomes logits over temperature, in the order in which transformers applies it."""

    scale: float = 1.0
    softcap: float | None = None
    temperature: float = 1.0

    def apply_(self, tile: Tensor) -> Tensor:
        """In place: projection -> z / temperature."""
        if self.softcap is None:
            factor = self.scale / self.temperature
        else:
            tile.mul_(self.scale / self.softcap).tanh_()
            factor = self.softcap / self.temperature
        return (tile if factor == 1 else tile.mul_(factor)).clamp_(-LIMIT, LIMIT)

    def slope(self, x: Tensor) -> Tensor | float:
        """Derivative of ``apply_`` at its result."""
        factor = self.scale / self.temperature
        if self.softcap is None:
            return factor
        return (x * (self.temperature / self.softcap)).square_().neg_().add_(1).mul_(factor)


@dataclass(frozen=True)
class Tiles:
    """Size of a tile. On a CPU two of them should fit into its cache; a GPU wants them much larger."""

    tokens: int = 256
    vocabulary: int = 4096

    @staticmethod
    def on(device: torch.device) -> Tiles:
        return Tiles() if device.type == "cpu" else Tiles(4096, 16384)


class Projection:
    """Tiles of z / temperature, the same to the last bit in both passes; of the bare product if ``raw``."""

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        head: Head,
        tiles: Tiles,
        dtype: torch.dtype,
        raw: bool = False,
    ):
        self.hidden, self.weight, self.bias, self.head, self.tiles, self.dtype = (
            hidden,
            weight,
            bias,
            head,
            tiles,
            dtype,
        )
        self.sums = torch.promote_types(dtype, torch.float32)
        self.raw = raw
        size = min(tiles.tokens, hidden.shape[0]) * min(tiles.vocabulary, weight.shape[0])
        self.half = torch.empty(size, dtype=dtype, device=hidden.device)
        self.buffer = self.half if raw or dtype == self.sums else torch.empty_like(self.half, dtype=self.sums)
        self.spare = self.buffer.new_empty(0 if raw else size)
        """Room for one more tile."""

    def rows(self) -> Iterator[tuple[slice, Tensor]]:
        for start in range(0, self.hidden.shape[0], self.tiles.tokens):
            rows = slice(start, min(start + self.tiles.tokens, self.hidden.shape[0]))
            yield rows, self.hidden[rows].to(self.dtype)

    def columns(self, hidden: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Columns, their weight, and the tile of these rows; the next tile overwrites it."""
        for start in range(0, self.weight.shape[0], self.tiles.vocabulary):
            columns = slice(start, min(start + self.tiles.vocabulary, self.weight.shape[0]))
            weight = self.weight[columns].to(self.dtype)
            shape = (hidden.shape[0], weight.shape[0])
            tile = self.half[: shape[0] * shape[1]].view(shape)
            torch.mm(hidden, weight.t(), out=tile)
            if self.raw:
                yield columns, weight, tile
                continue
            if self.bias is not None:
                tile += self.bias[columns].to(self.dtype)
            if self.half is not self.buffer:
                tile = self.buffer[: tile.numel()].view(shape).copy_(tile)
            yield columns, weight, self.head.apply_(tile)


def precision(hidden: Tensor) -> torch.dtype:
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def in_tile(index: Tensor, columns: slice) -> tuple[Tensor, Tensor]:
    """(n, 1) position in the tile, and whether it lies there."""
    local = (index - columns.start).unsqueeze(1)
    width = columns.stop - columns.start
    return local.clamp(0, width - 1), (local >= 0) & (local < width)


def accumulate(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a @ b without rounding the product to half precision first, which would bias training."""
    if total.device.type == "cuda" and b.dtype != total.dtype:
        torch.addmm(total, a.to(b.dtype), b, out_dtype=total.dtype, out=total)
    else:
        total.addmm_(a.to(total.dtype), b.to(total.dtype))
