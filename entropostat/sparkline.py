"""A curve in a line of text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 16) -> str:
    """The trend of ``values`` in at most ``width`` characters, from 0 to their largest mean."""
    count = min(width, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)] if count else [0]
    buckets = [values[a:b] for a, b in itertools.pairwise(edges)]
    means = [max(sum(bucket) / len(bucket), 0.0) for bucket in buckets]
    top = max([*means, 1e-9])
    return "".join(BLOCKS[round(mean / top * (len(BLOCKS) - 1))] for mean in means)
