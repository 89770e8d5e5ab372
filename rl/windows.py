"""Entropy over windows of consecutive tokens, and where a text stands among tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.reshaping import token_entropy


def window_entropy(batch: TokenBatch, width: int, ahead: int = 0) -> tuple[Tensor, Tensor]:
    """(B, T) mean entropy of ``width`` tokens that begin ``ahead`` of each, nats, and (B, T) bool where there are so many.

    A window that padding or a tool's output cuts is none.
    """
    entropy, valid = token_entropy(batch), batch.valid
    means, whole = torch.zeros_like(entropy), torch.zeros_like(valid)
    starts = entropy.size(1) - width - ahead + 1
    if starts > 0:
        means[:, :starts] = entropy[:, ahead:].unfold(1, width, 1).mean(-1)
        whole[:, :starts] = valid[:, :starts] & valid[:, ahead:].unfold(1, width, 1).all(-1)
    return torch.where(whole, means, 0.0), whole


def span(pieces: Sequence[str], text: str, last: bool = False) -> tuple[int, int] | None:
    """First and last token, of those with these ``pieces``, that hold a part of the first (or last) ``text``; None without one."""
    whole = "".join(pieces)
    start = whole.rfind(text) if last else whole.find(text)
    if start < 0:
        return None
    first, end, at = None, start + len(text), 0
    for place, piece in enumerate(pieces):
        at += len(piece)
        if first is None and at > start:
            first = place
        if first is not None and at >= end:
            return first, place
    return None
