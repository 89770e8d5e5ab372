"""The prompts that a recipe names, as a table on disk, and what is asked of it first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from entropostat.data.curriculum import plan_order
from entropostat.data.dataset import Table, example
from entropostat.data.example import Example
from entropostat.data.kept import Rules
from entropostat.data.prepare import Lengths, prepare
from entropostat.data.registry import SOURCES
from entropostat.recipe.recipe import Recipe


def prepare_prompts(recipe: Recipe, folder: Path, lengths: Lengths) -> Table:
    """Read all sources and sets into the empty ``folder``. ``lengths``, the tokens of each prompt as the policy is asked it, is called
    only where ``data.max_prompt_tokens`` is given. Raises DataError. Imports no torch.
    """
    data = recipe.data
    return prepare(
        folder,
        {name: SOURCES.build(term.kind, term.options) for name, term in recipe.sources.items()},
        {name: SOURCES.build(term.kind, term.options) for name, term in recipe.sets.items()},
        Rules(data.held_out, data.duplicates, data.missing_answer, data.max_prompt_tokens),
        system=data.system,
        base=recipe.folder,
        lengths=lengths,
    )


def loaded(table: Table) -> dict[str, list[Example]]:
    """By source, what is left of it on either side."""
    return {name: [*rows, *table.held_out.get(name, ())] for name, rows in table.train.items()}


def first_asked(recipe: Recipe, table: Table, count: int) -> list[Example]:
    """What is asked first in training, before the links of objective.data choose."""
    stages = [(stage.source, stage.steps) for stage in recipe.data.curriculum or []]
    count = min(count, sum(map(len, table.train.values())))
    if not count:
        return []
    how: dict[str, Any] = {
        "prompts": count,
        "steps_per_generation": 1,
        "total_steps": 1,
        "weights": recipe.data.weights,
    }
    order = plan_order({name: rows.places for name, rows in table.train.items()}, stages, seed=recipe.seed, **how)
    return [example(table.rows()[int(place)]) for place in order.rows[:count]]
