"""Reference answers that their own verifiers do not read stop a run before anything is loaded."""

from __future__ import annotations

import sys

from entropostat.data.dataset import Table
from entropostat.data.example import DataError
from entropostat.recipe.prompts import loaded
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.references import examine
from entropostat.reward.scoring import Scorer
from entropostat.secrets import redacted
from entropostat.visible import visible


def check_references(recipe: Recipe, scorer: Scorer, prompts: Table) -> None:
    """Says what was found. Raises DataError beyond the recipe's data.unread. For one process of a run."""
    if recipe.data.unread is None:
        return
    found = examine(recipe, scorer, loaded(prompts), prompts.sets)
    for line in found.lines():
        print(visible(redacted(f"references: {line}")), file=sys.stderr, flush=True)
    if found.problem is not None:
        raise DataError(found.problem)
