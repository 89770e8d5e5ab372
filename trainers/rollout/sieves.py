"""Which prompts the sieves of an objective take, by what they remember: equal on all ranks, and kept in checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from entropostat.rl.parts import Part
from entropostat.rl.stream import Data, Group, Seen, Sieve


class Sieves:
    """What they remember, by the name of the term and the identity of the prompt."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.terms: list[Part[Sieve]] = []
        self.memory: dict[str, dict[str, Seen]] = {}
        self._now = 0
        self._chance = Random()
        self._levels: dict[str, float] = {}
        self._came: dict[str, list[int]] = {}
        self._measured: dict[str, list[float]] = {}

    def begin(self, links: Sequence[Part[Data]], now: int) -> None:
        """A generation with these links, which may have other numbers than before. ``now`` is its number."""
        self.terms = [Part(part.name, part.term) for part in links if isinstance(part.term, Sieve)]
        self._now, self._chance = now, Random(f"{self.seed}-sieves-{now}")
        for part in self.terms:
            known = self.memory.setdefault(part.name, {})
            self._levels[part.name] = math.fsum(seen.value for seen in known.values()) / max(len(known), 1)
            self._came[part.name], self._measured[part.name] = [0, 0, 0], []

    def takes(self, key: str) -> bool:
        """Whether the prompt passes all of them, in their order; each draw is another."""
        for part in self.terms:
            came = self._came[part.name]
            came[0] += 1
            seen = self.memory[part.name].get(key)
            if seen is None:
                continue
            came[1] += 1
            if self._chance.random() >= part.term.takes(seen, self._levels[part.name], self._now):
                came[2] += 1
                return False
        return True

    def remember(self, key: str, group: Group) -> None:
        for part in self.terms:
            measured = part.term.measure(group)
            if not math.isnan(measured):
                known = self.memory[part.name]
                known[key] = part.term.recall(known.get(key), measured, self._now)
                self._measured[part.name].append(measured)

    def report(self) -> Iterator[tuple[str, dict[str, float]]]:
        """(name, metrics) of each for this generation."""
        for part in self.terms:
            came, known, left = self._came[part.name]
            told = {"known": known / came, "left_out": left / came} if came else {}
            measured = self._measured[part.name]
            yield part.name, told | ({part.term.reports: math.fsum(measured) / len(measured)} if measured else {})

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: {key: list(seen) for key, seen in known.items()} for name, known in self.memory.items()}

    def restore(self, kept: dict[str, Any]) -> None:
        self.memory = {
            str(name): {str(key): Seen(float(value), int(at)) for key, (value, at) in known.items()}
            for name, known in kept.items()
        }
