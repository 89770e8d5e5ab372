"""The shape of a recipe's model, from what lies on this machine: nothing is downloaded and no weights are opened."""

from __future__ import annotations

import json
from pathlib import Path

from entropostat.data import chain
from entropostat.recipe.blocks import Build
from entropostat.recipe.errors import nearest
from entropostat.recipe.recipe import Recipe
from entropostat.scaling.presets import PRESETS, named
from entropostat.scaling.shape import Shape, UnknownShape, from_config

SPECIAL_TOKENS = 4
"""Of the built policy's tokenizer, beside one for each character of the task."""


def find(recipe: Recipe, given: str | None = None) -> tuple[Shape, str]:
    """The shape and where it comes from. ``given``: a preset or a config.json instead of the recipe's model.

    Raises UnknownShape with what to do.
    """
    model = recipe.model
    if given is not None:
        return _given(given)
    if model.build is not None:
        return built(model.build), "the recipe"
    name = model.package.file if model.package is not None else str(model.path)
    file = None if model.package is not None else _config(name, model.revision)
    if file is not None:
        return from_config(json.loads(file.read_text())), str(file)
    preset = named(name)
    if preset is not None:
        return PRESETS[preset].shape, f"the preset {preset}, by the model's name"
    raise UnknownShape(
        f"{name} is not on this machine and no preset has its name; give --shape a config.json or one of "
        f"{', '.join(PRESETS)}"
    )


def built(block: Build) -> Shape:
    """trainers/pretrain.py makes a Qwen3 with as many key as query heads and a tied head."""
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
        return from_config(json.loads(file.read_text())), name
    raise UnknownShape(f"--shape {name}: neither a file nor a preset; {nearest(name, PRESETS)}")


def _config(path: str, revision: str | None) -> Path | None:
    """config.json of a local folder, or of a hub model whose file an earlier run has left in the cache."""
    folder = Path(path)
    if folder.is_dir():
        file = folder / "config.json"
        return file if file.is_file() else None
    if path.count("/") > 1 or path.startswith((".", "/")):
        return None
    from huggingface_hub import try_to_load_from_cache  # a tenth of a second, for hub names alone

    found = try_to_load_from_cache(path, "config.json", revision=revision)
    return Path(found) if isinstance(found, str) else None
