"""The weights that a block of a recipe names, in a few words."""

from __future__ import annotations

from entropostat.recipe.adapter import of_model
from entropostat.recipe.blocks import Weights


def named(block: Weights) -> str:
    adapter = of_model(block)
    if block.path:
        revision = f" at {block.revision}" if block.revision else ""
        return block.path + revision + (f" on {adapter.named_base}" if adapter else "")
    if block.package:
        return f"{block.package.file} of the Python package {block.package.name}"
    assert block.build
    return f"built here: {block.build.layers} layers of width {block.build.hidden}, {block.build.steps} SFT steps"
