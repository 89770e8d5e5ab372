"""What stands in the sources of a recipe, counted: repeated prompts, answers that are missing, prompts that are asked again where
they test.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from entropostat.data.example import Example


@dataclass(frozen=True)
class Surveyed:
    """One source or evaluation set. All are counts of its rows, but for ``conflicting``."""

    rows: int
    no_answer: int
    repeated: int
    """Ask what an earlier row of the same source asks."""
    elsewhere: int
    """Ask what a row of another source asks."""
    conflicting: int
    """Prompts with more than one answer."""
    tested: int
    """Ask what an evaluation set asks."""
    nearly: int
    """On the training side, and but for case, spaces and punctuation what is asked held out or in an evaluation set."""


Pools = Mapping[str, Sequence[Example]]


def survey(sources: Pools, train: Pools, held_out: Pools, sets: Pools) -> dict[str, Surveyed]:
    """By source. ``sources`` as they were loaded; ``train`` and ``held_out`` are what a run makes of them."""
    asked = {name: [example.text.strip() for example in rows] for name, rows in sources.items()}
    places: defaultdict[str, set[str]] = defaultdict(set)
    for name, texts in asked.items():
        for text in texts:
            places[text].add(name)
    tested = {example.text.strip() for rows in sets.values() for example in rows}
    held = {plain(example.text) for rows in (*held_out.values(), *sets.values()) for example in rows}
    return {
        name: Surveyed(
            **_own(rows),
            elsewhere=sum(len(places[text]) > 1 for text in asked[name]),
            tested=sum(text in tested for text in asked[name]),
            nearly=sum(plain(example.text) in held for example in train.get(name, ())),
        )
        for name, rows in sources.items()
    }


def survey_set(rows: Sequence[Example]) -> Surveyed:
    """Of an evaluation set by itself."""
    return Surveyed(**_own(rows), elsewhere=0, tested=0, nearly=0)


def plain(text: str) -> str:
    """Letters and digits alone, and what mathematics is made of: a sign makes another question."""
    return re.sub(r"[^\w+\-*/=<>^|\\]", "", text.casefold())


def _own(rows: Iterable[Example]) -> dict[str, int]:
    answers: defaultdict[str, set[str]] = defaultdict(set)
    times: Counter[str] = Counter()
    missing = 0
    for example in rows:
        text = example.text.strip()
        times[text] += 1
        missing += example.answer is None
        if example.answer is not None:
            answers[text].add(example.answer.strip())
    return {
        "rows": times.total(),
        "no_answer": missing,
        "repeated": times.total() - len(times),
        "conflicting": sum(len(given) > 1 for given in answers.values()),
    }
