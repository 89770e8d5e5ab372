"""The shape of a recipe's model, from what lies on this machine: nothing is downloaded and no weights are opened."""

from __future__ import annotations

import json
from pathlib import Path

from entropostat.data import chain
from entropostat.recipe.adapter import LIMIT, AdapterError, local_file, of_model
from entropostat.recipe.blocks import Build, Weights
from entropostat.recipe.errors import nearest
from entropostat.recipe.recipe import Recipe
from entropostat.regular import content
from entropostat.scaling.presets import PRESETS, named
from entropostat.scaling.shape import Shape, UnknownShape, from_config

SPECIAL_TOKENS = 4
"""Of the built policy's tokenizer, beside one for each character of the task."""


def find(recipe: Recipe, given: str | None = None) -> tuple[Shape, str]:
    """The shape and where it comes from. ``given``: a preset or a config.json instead of the recipe's model.

    Raises UnknownShape with what to do.
    """
    return of_weights(recipe.model) if given is None else _given(given)


def of_weights(model: Weights) -> tuple[Shape, str]:
    """The same of any model that a recipe names."""
    if model.build is not None:
        return built(model.build), "the recipe"
    name = model.package.file if model.package is not None else str(model.path)
    try:
        adapter = of_model(model)
        name = name if adapter is None else adapter.base
        revision = model.revision if adapter is None else adapter.revision
        file = None if model.package is not None else local_file(name, "config.json", revision)
    except AdapterError as error:
        raise UnknownShape(str(error)) from error
    if file is not None:
        return _read(file), str(file)
    preset = named(name)
    if preset is not None:
        return PRESETS[preset].shape, f"the preset {preset}, by the model's name"
    raise UnknownShape(
        f"{name} is not on this machine and no preset has its name; give --shape a config.json or one of "
        f"{', '.join(PRESETS)}"
    )


def _read(file: Path) -> Shape:
    try:
        return from_config(json.loads(content(file, LIMIT)))
    except UnknownShape:
        raise
    except (OSError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise UnknownShape(f"cannot read {file}: {type(error).__name__}: {error}; save the model again") from error


def built(block: Build) -> Shape:
    """trainers/build/pretrain.py makes a Qwen3 with as many key as query heads and a tied head."""
    return Shape(
        hidden=block.hidden,
        layers=block.layers,
        heads=block.heads,
        kv_heads=block.heads,
        head_dim=block.hidden // block.heads,
        intermediate=block.ff,
        vocabulary=SPECIAL_TOKENS + len(set(chain.ALPHABET)),
        tied=True,
        qk_norm=True,
    )


def _given(name: str) -> tuple[Shape, str]:
    if name in PRESETS:
        return PRESETS[name].shape, f"the preset {name}"
    file = Path(name) / "config.json" if Path(name).is_dir() else Path(name)
    if file.is_file():
        return _read(file), name
    raise UnknownShape(f"--shape {name}: neither a file nor a preset; {nearest(name, PRESETS)}")
