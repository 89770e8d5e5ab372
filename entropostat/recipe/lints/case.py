"""What a rule looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from entropostat.recipe.arithmetic import Arithmetic
from entropostat.recipe.facts import corrected_sampler
from entropostat.recipe.lint import Lint
from entropostat.recipe.recipe import Recipe


@dataclass(frozen=True)
class Case:
    recipe: Recipe
    sizes: Arithmetic

    @property
    def on_policy(self) -> bool:
        """All ratios are exactly 1: with vLLM they are only nearly so."""
        return self.sizes.aligned and not corrected_sampler(self.recipe)


Rule = Callable[[Case], Iterator[Lint]]
