"""The prompts that a recipe names, as a table on disk."""

from __future__ import annotations

from pathlib import Path

from entropostat.data.dataset import Table
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
