"""The verifiers of a recipe as the trainer's reward functions: one for each, and one for each source that has a weight of its own.

The trainer knows one weight for a function. So a verifier that counts otherwise on another source is another function there,
which has no say (None) on everything else: the sum of a completion's rewards, which leaves those out, is the one that was meant,
and what normalises each reward by itself goes by the right weight, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from entropostat.reward.verifier import Verifier


@dataclass(frozen=True)
class Column:
    """One reward function."""

    name: str
    verifier: str
    weight: float
    sources: tuple[str, ...] = ()
    """Whose completions it judges; empty: all."""
    without: tuple[str, ...] = ()
    """Sources that another column of the same verifier judges."""

    def judges(self, source: str) -> bool:
        return (not self.sources or source in self.sources) and source not in self.without


def columns(verifiers: Mapping[str, Verifier], trained: Sequence[str] = ()) -> list[Column]:
    """In the order of the recipe. ``trained`` are the sources that are trained on, where they are known: what judges none of
    them is no reward, and only measures."""
    return [column for name, verifier in verifiers.items() for column in _of(name, verifier, trained)]


def _of(name: str, verifier: Verifier, trained: Sequence[str]) -> Iterator[Column]:
    own = {source: weight for source, weight in verifier.weights.items() if verifier.judges(source)}
    among = verifier.sources or trained
    left = [source for source in among if source not in own and (not trained or source in trained)]
    if left or not among:
        yield Column(name, name, verifier.weight, tuple(verifier.sources), tuple(own))
    for source, weight in own.items():
        if not trained or source in trained:
            yield Column(f"{name}@{source}", name, weight, (source,))
