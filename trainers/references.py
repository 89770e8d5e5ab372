"""Reference answers that their own verifiers do not read stop a run before anything is loaded."""

from __future__ import annotations

import sys

from entropostat.data.example import DataError, Example
from entropostat.data.split import Split
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.references import examine
from entropostat.reward.scoring import Scorer
from entropostat.secrets import redacted
from entropostat.visible import visible


def check_references(recipe: Recipe, scorer: Scorer, pools: Split, tests: dict[str, list[Example]]) -> None:
    """Says what was found. Raises DataError beyond the recipe's data.unread. For one process of a run."""
    if recipe.data.unread is None:
        return
    sources = {name: [*pools.train[name], *pools.held_out[name]] for name in pools.train}
    found = examine(recipe, scorer, sources, {name: tests[name] for name in recipe.sets})
    for line in found.lines():
        print(visible(redacted(f"references: {line}")), file=sys.stderr, flush=True)
    if found.problem is not None:
        raise DataError(found.problem)
