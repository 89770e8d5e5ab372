"""TRL's means over the tokens of a micro-batch become means over the tokens of the window, or of the evaluation.

TRL 1.16 logs one number a micro-batch, over all ranks, and takes the plain mean of those: a micro-batch of three tokens counts
as much as one of three thousand, and one whose completions are all masked counts as 0. Here each counts by its tokens.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence

MEANS = ("entropy", "kl")
CLIPPED = ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean", "cispo_clip_ratio")
"""Means over tokens where the ratio is a token's; over completions where it is that of the sequence, and then TRL's as they are."""
ENDS: dict[str, Callable[[Sequence[float]], float]] = {"clip_ratio/low_min": min, "clip_ratio/high_max": max}
"""Extremes over the completions."""


class TokenMeans:
    """What TRL said of each micro-batch, until it is ``told``."""

    def __init__(self, delegated: bool, sequence_level: bool) -> None:
        """``delegated``: TRL computes the policy loss, so that what it says of its bounds is true."""
        self.means = (*MEANS, *CLIPPED) if delegated and not sequence_level else MEANS
        self.ends = tuple(ENDS) if delegated else ()
        self._seen: list[dict[str, float]] = []
        self._tokens: list[float] = []

    @contextlib.contextmanager
    def taking(self, logged: dict[str, list[float]]) -> Iterator[None]:
        """Around TRL's loss of one micro-batch: what it appends is taken out again and kept here."""
        known = {key: len(logged[key]) if key in logged else 0 for key in (*self.means, *self.ends)}
        yield
        taken = {}
        for key, before in known.items():
            if len(logged.get(key, ())) > before:
                taken[key] = logged[key].pop()
            if key in logged and not logged[key]:
                del logged[key]
        self._seen.append(taken)

    def told(self, tokens: Sequence[float]) -> dict[str, float]:
        """The means since the last call, given the ``tokens`` of each micro-batch over all ranks; NaN where there were none."""
        seen, self._seen = self._seen, []
        means: dict[str, float] = {}
        for key in dict.fromkeys(name for part in seen for name in part):
            parts = [(part[key], n) for part, n in zip(seen, tokens, strict=True) if key in part and n]
            parts = [(value, n) for value, n in parts if not math.isnan(value)]
            if not parts:
                means[key] = math.nan
            elif key in ENDS:
                means[key] = ENDS[key]([value for value, _ in parts])
            elif len(parts) == 1:
                means[key] = parts[0][0]  # to the bit
            else:
                means[key] = sum(value * n for value, n in parts) / sum(n for _, n in parts)
        return means

    def so_far(self, logged: dict[str, list[float]], tokens: float) -> None:
        """After one batch of an evaluation: the means of all of it so far, in ``logged``, which TRL empties at its end."""
        if not any(key in logged for key in self._seen[-1]):
            self._seen, self._tokens = self._seen[-1:], []
        self._tokens.append(tokens)
        seen = list(self._seen)
        logged |= {key: [value] for key, value in self.told(self._tokens).items()}
        self._seen = seen
