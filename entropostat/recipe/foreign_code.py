"""What a recipe makes a run execute that no installed package brings: it needs ``--allow-code``, as functions of the user's do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import NamedTuple

from entropostat.recipe.recipe import Recipe

ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention")
"""Attention that transformers has itself, or takes from an installed package."""
PACKAGES = {"2": "flash_attn", "3": "flash_attn_interface", "4": "flash_attn"}


class Foreign(NamedTuple):
    key: str
    what: str


def foreign(recipe: Recipe) -> Iterator[Foreign]:
    """Verifiers apart, which say it themselves."""
    for name, block in (("model", recipe.model), ("teacher", recipe.teacher)):
        if block.attn_implementation is not None:
            yield from _kernel(f"{name}.attn_implementation", block.attn_implementation)


def _kernel(key: str, asked: str) -> Iterator[Foreign]:
    if on_the_hub(asked):
        yield Foreign(key, f"{asked} is a kernel from the Hub, which is code")
    package = PACKAGES.get(asked.removeprefix("flash_attention_"))
    if package and find_spec("kernels") and find_spec(package) is None:  # transformers then fetches it without a word
        yield Foreign(key, f"{asked} without the package {package} is a kernel from the Hub, which is code")


def on_the_hub(attention: str) -> bool:
    """Whether transformers would take this for the name of a repository, with a revision and a function or without."""
    return "/" in attention


def unknown_attention(attention: str) -> str | None:
    """What is wrong with the name; None if nothing is."""
    if attention in ATTENTION or re.fullmatch(r"\w[\w.-]*/\w[\w.-]*(@\w[\w.-]*)?(:\w+)?", attention, re.ASCII):
        return None
    return f"must be one of {', '.join(ATTENTION)}, or owner/name of a kernel on the Hub (with --allow-code)"


def check_code(recipe: Recipe, allow_code: bool) -> None:
    """Raises PermissionError."""
    for code in () if allow_code else foreign(recipe):
        raise PermissionError(f"{code.key}: {code.what}; pass --allow-code to allow it, or use sdpa")
