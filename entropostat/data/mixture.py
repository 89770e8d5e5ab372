"""Several sources in given proportions: each generation holds them as nearly as whole prompts allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

Weights = Mapping[str, float]
"""Source -> its share of the prompts, in proportion to the others."""


def slots(weights: Weights, generation: int, rng: Random) -> Iterator[list[str]]:
    """Of each generation, whose source a prompt is, in an order of chance.

    Each slot goes to the source that is furthest behind its share, so that no generation and no stretch of them is off by more than
    rounding; a draw by chance would be.
    """
    total = sum(weights.values())
    shares = {name: weight / total for name, weight in weights.items()}
    drawn = dict.fromkeys(shares, 0)
    done = 0
    while True:
        names = []
        for _ in range(generation):
            done += 1
            chosen = max(shares, key=lambda name: shares[name] * done - drawn[name])
            drawn[chosen] += 1
            names.append(chosen)
        rng.shuffle(names)
        yield names


def mixed(streams: Mapping[str, Iterator[int]], weights: Weights, generation: int, rng: Random) -> Iterator[list[int]]:
    """Of each generation, the rows: each stream goes on where it was, so that no prompt comes again before all others of its source."""
    for names in slots(weights, generation, rng):
        yield [next(streams[name]) for name in names]
