"""The prompts that a recipe names: loaded, split, and what was lost on the way."""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.data.curriculum import plan_order
from entropostat.data.dropped import Dropped
from entropostat.data.example import Example
from entropostat.data.registry import SOURCES
from entropostat.data.split import Split, split
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.terms import Term


@dataclass(frozen=True)
class Prompts:
    """By source and by evaluation set; without the recipe's system message, which ``with_system`` adds."""

    sources: dict[str, list[Example]]
    """As they were loaded."""
    sets: dict[str, list[Example]]
    split: Split
    dropped: list[Dropped]

    @classmethod
    def load(cls, recipe: Recipe) -> Prompts:
        """Raises DataError."""
        sources = {name: _rows(recipe, term) for name, term in recipe.sources.items()}
        sets = {name: _rows(recipe, term) for name, term in recipe.sets.items()}
        tested = [example for examples in sets.values() for example in examples]
        pools = split(sources, recipe.data.held_out, tested)
        return cls(sources, sets, pools, [_dropped(name, rows, pools, tested) for name, rows in sources.items()])

    def first(self, recipe: Recipe, count: int) -> list[tuple[str, Example]]:
        """(source, example) of what is asked first in training, before the links of objective.data choose."""
        stages = [(stage.source, stage.steps) for stage in recipe.data.curriculum or []]
        pools = self.split.train if not stages else {stages[0][0]: self.split.train[stages[0][0]]}
        count = min(count, sum(map(len, pools.values())))
        if not count:
            return []
        how = {"prompts": count, "steps_per_generation": 1, "total_steps": 1, "seed": recipe.seed}
        order = plan_order(self.split.train, stages, **how)
        return list(zip(order.sources, order.examples, strict=True))


def _rows(recipe: Recipe, term: Term) -> list[Example]:
    return SOURCES.build(term.kind, term.options).load(recipe.folder)


def _dropped(name: str, rows: list[Example], pools: Split, tested: list[Example]) -> Dropped:
    asked = {example.text.strip() for example in tested}
    train, held = len(pools.train[name]), len(pools.held_out[name])
    lost = sum(example.text.strip() in asked for example in rows)
    reasons = {"tested": lost, "duplicate": len(rows) - train - held - lost}
    return Dropped(name, len(rows), train, held, {reason: count for reason, count in reasons.items() if count})
