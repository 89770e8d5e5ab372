"""Phrases of a few words: found in text, and mined from texts as those that many of them share. No torch here.

A word is a run of letters, digits and underscores with inner apostrophes, in lower case; a phrase is words in a row, whatever
stands between them. So a phrase matches at word boundaries only, and "Let me," is "let me".
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class Phrases:
    """Which phrases are wanted."""

    seed: tuple[str, ...] = ()
    """Always among them."""
    shortest: int = 3
    longest: int = 5
    share: float = 0.2
    """Of the mined ones, by the number of texts that hold them."""
    least: int = 5
    """Texts that must hold one."""
    limit: int = 20_000
    """Candidates that are remembered."""
    success: float = 0.0
    """A text counts where its reward is above this."""


def words(text: str) -> list[tuple[str, int, int]]:
    """(word, where it begins, where it ends) in characters."""
    return [(m.group().lower().replace("’", "'"), *m.span()) for m in WORD.finditer(text)]


def normal(phrase: str) -> str:
    return " ".join(word for word, *_ in words(phrase))


def candidates(text: str, shortest: int, longest: int) -> set[str]:
    """Phrases of that many words, without one that holds a digit: a number is no strategy."""
    found, run = set(), [word for word, *_ in words(text)]
    for start in range(len(run)):
        for n in range(shortest, min(longest, len(run) - start) + 1):
            gram = run[start : start + n]
            if not any(c.isdigit() for word in gram for c in word):
                found.add(" ".join(gram))
    return found


def matches(run: Sequence[str], phrases: Iterable[str]) -> Iterator[tuple[int, int, str]]:
    """(first word, words, phrase) of every place at which one stands; they may overlap."""
    by_length: dict[int, set[str]] = {}
    for phrase in phrases:
        by_length.setdefault(phrase.count(" ") + 1, set()).add(phrase)
    for start in range(len(run)):
        for n, known in by_length.items():
            if (phrase := " ".join(run[start : start + n])) in known and start + n <= len(run):
                yield start, n, phrase


def shannon(counts: Iterable[int]) -> float:
    """Entropy in nats of what is counted; 0 of nothing."""
    sizes = [n for n in counts if n > 0]
    total = sum(sizes)
    return -sum(n / total * math.log(n / total) for n in sizes) if total else 0.0


@dataclass
class Mined:
    """How many right texts held each candidate. Equal texts in any split over ranks give equal counts."""

    wanted: Phrases
    counts: Counter[str] = field(default_factory=Counter)

    def learn(self, found: Mapping[str, int]) -> None:
        """``found``: new texts that hold each candidate."""
        self.counts.update(found)
        if len(self.counts) > self.wanted.limit:
            self.counts = Counter(dict(self._ranked()[: self.wanted.limit]))

    def phrases(self) -> set[str]:
        """The seed, and the best share of the candidates that enough texts hold."""
        known = [phrase for phrase, count in self._ranked() if count >= self.wanted.least]
        mined = known[: math.ceil(self.wanted.share * len(known))]
        return {phrase for phrase in map(normal, self.wanted.seed) if phrase} | set(mined)

    def _ranked(self) -> list[tuple[str, int]]:
        """Ties in the order of the alphabet, so that every rank and every resumed run cuts at the same place."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))

    def state_dict(self) -> dict[str, Any]:
        return dict(self._ranked())

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.counts = Counter({str(phrase): int(count) for phrase, count in state.items()})
