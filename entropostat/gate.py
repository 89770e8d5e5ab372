"""What `plan` calls an error does not run: the one door for every command that runs a recipe, and for Python. Imports no torch.

Errors are faults of the recipe, wherever it runs. What only the machine at hand lacks is a note: a login node may submit what it
could not run itself, so only commands that run here refuse it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from entropostat.recipe import Recipe, load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.errors import Origin, Problem, RecipeError
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints import RULES, lints, machine
from entropostat.scaling import report


class Refused(RecipeError):
    """A recipe that can be read, and would fail or not do what it says. A line for each reason, as ``plan`` prints it."""

    def __init__(self, reasons: Mapping[str, Iterable[Lint]]) -> None:
        """By the name of the recipe where there are several; "" where it is the only one."""
        problems = []
        for name, whys in reasons.items():
            head = Origin(f"{name}: error" if name else "error")
            problems += [Problem(head, why.key, f"{why.message}; {why.fix}") for why in whys]
        super().__init__(problems)


def findings(recipe: Recipe, asked: report.Asked | None = None) -> list[Lint]:
    """Everything that ``plan`` says is wrong with a recipe."""
    local = [lint for rules in (RULES, machine.LAUNCH) for lint in lints(recipe, arithmetic(recipe), rules)]
    return [*local, *report.lints(recipe, asked or report.Asked())]


def reasons(among: Iterable[Lint]) -> list[Lint]:
    """Those of ``findings`` for which a recipe may run nowhere."""
    return [lint for lint in among if lint.level == "error"]


def reasons_here(recipe: Recipe, launched: bool = False) -> list[Lint]:
    """Why this machine may not train it, or launch it."""
    lacking = lints(recipe, arithmetic(recipe), machine.LAUNCH if launched else machine.TRAIN)
    return [*reasons(findings(recipe)), *lacking]


def check(recipe: Recipe, launched: bool = False) -> Recipe:
    """The same recipe. Raises Refused for ``reasons_here``."""
    if errors := reasons_here(recipe, launched):
        raise Refused({"": errors})
    return recipe


def runnable(path: str, overrides: Iterable[str], launched: bool = False) -> Recipe:
    """``load`` for a command that runs here what it loads. Raises RecipeError for what is wrong key by key, too."""
    return check(load(path, overrides), launched)
