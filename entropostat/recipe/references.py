"""The reference answers of a recipe, tried on its verifiers before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from entropostat.data.example import Example
from entropostat.recipe.recipe import Recipe
from entropostat.reward.doubts import Doubt, doubts
from entropostat.reward.references import Reading, problem, read, unanswered
from entropostat.reward.scoring import Scorer


@dataclass(frozen=True)
class Examined:
    """What was found, of every verifier."""

    readings: list[Reading]
    silent: list[str]
    """Verifiers that need a reference answer where there is none."""
    doubts: list[Doubt]
    allowed: float | None
    """The recipe's data.unread."""

    def lines(self) -> list[str]:
        """For people. They may hold anything that stands in the data."""
        told = []
        for reading in self.readings:
            told += [reading.line(), *(f"  {example.id}: {example}" for example in reading.examples)]
        return [*told, *self.silent, *(doubt.line() for doubt in self.doubts)]

    @property
    def problem(self) -> str | None:
        """Why the recipe may not be trained, in one line."""
        if self.allowed is None or self.allowed == 1:
            return None
        return next(iter(self.silent), None) or problem(self.readings, self.allowed)


def examine(
    recipe: Recipe, scorer: Scorer, sources: Mapping[str, Sequence[Example]], sets: Mapping[str, Sequence[Example]]
) -> Examined:
    """``sources`` and ``sets`` by their names in the recipe, with their rows as they are asked."""
    trained = {f"data.sources.{name}": rows for name, rows in sources.items()}
    judged = {f"evaluate.sets.{name}": rows for name, rows in sets.items()}
    readings = read(scorer, trained, judged)
    silent = list(unanswered(scorer, trained))
    return Examined(readings, silent, list(doubts(scorer, trained)), recipe.data.unread)
