"""The tokenizer of a recipe's policy, without its weights: nothing is built, converted or trained for it."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from entropostat.recipe.adapter import local_file, of_model
from entropostat.recipe.recipe import Recipe
from entropostat.trainers.build.characters import make_tokenizer
from entropostat.trainers.build.opened import open_tokenizer

PATIENCE = 5.0
"""Seconds."""


def find_tokenizer(recipe: Recipe) -> Any:
    """Raises OSError, ValueError and ImportError with what is missing."""
    block = recipe.model
    if block.build is not None:
        return make_tokenizer()
    if block.package is not None:
        from entropostat.trainers.build.models import find_packaged

        weights = find_packaged(block.package.name, block.package.file)
        return open_tokenizer(weights.parent, None, "model.package", gguf_file=weights.name)
    adapter, name, revision = of_model(block), str(block.path), block.revision
    if adapter is not None and not (adapter.folder / "tokenizer_config.json").is_file():
        name, revision = adapter.base, adapter.revision
    known = Path(name).exists() or os.environ.get("HF_HUB_OFFLINE", "0") != "0" or hub_answers()
    cached: dict[str, Any] = {} if known else {"local_files_only": True}
    return open_tokenizer(name, revision, **cached)


def hub_answers() -> bool:
    """Asked once: the Hub's own library would try again and again, for each of the files."""
    from huggingface_hub import constants

    try:
        with urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=PATIENCE):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def positions(recipe: Recipe) -> int | None:
    """Tokens that the policy can hold, prompt and completion together, by its config.json; None where that is not at hand or
    does not say."""
    block = recipe.model
    if block.path is None:
        return None
    adapter = of_model(block)
    name, revision = (block.path, block.revision) if adapter is None else (adapter.base, adapter.revision)
    file = local_file(name, "config.json", revision)
    if file is None:
        return None
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        text = said.get("text_config", said)
        found = text.get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, int) and found > 0 else None
