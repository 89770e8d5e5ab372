"""What the stream of prompts does and may cost, for ``plan``: one line a link."""

from __future__ import annotations

from typing import Any

from entropostat.recipe.arithmetic import Arithmetic
from entropostat.recipe.facts import option
from entropostat.recipe.recipe import Recipe


def stream(recipe: Recipe, sizes: Arithmetic) -> list[str]:
    """Each link, in the order of the chain. A number that a controller moves is told by the controller's name."""
    found = []
    for term in recipe.objective["data"]:
        of = {key: _shown(option(term, "data", key)) for key in KEYS.get(term.kind, ())}
        if term.kind == "dynamic_sampling":
            rounds = option(term, "data", "max_rounds")
            said = (
                f"at most {rounds} further round(s) a generation, each of at most {sizes.prompts} prompts x {sizes.group} and "
                f"as long as its longest completion: {1 + rounds} times the generation at worst"
            )
        elif term.kind == "rsr":
            said = f"groups too many wait for at most {of['max_age']} generation(s)"
        elif term.kind == "difficulty":
            said = f"prompts of solve rates {of['low']} to {of['high']}, others again after {of['recheck']} generations"
        elif term.kind == "diversity_weighted":
            said = f"prompts by the diversity of their {of['by']}, with none by a chance of {of['floor']}"
        else:
            said = "a link of your own"
        found.append(f"{term.name}: {said}")
    return found


KEYS = {
    "rsr": ("max_age",),
    "difficulty": ("low", "high", "recheck"),
    "diversity_weighted": ("by", "floor"),
}


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"{next(iter(value))}(...)"
    return f"{value:g}" if isinstance(value, float) else str(value)
