"""Does a model's tokenizer have a chat template? Read off its files as far as they are here, without torch."""

from __future__ import annotations

import json
import re
from pathlib import Path

from entropostat.recipe.adapter import LIMIT, AdapterError, local_file, of_model
from entropostat.recipe.blocks import Weights
from entropostat.regular import content

CONFIG, OWN_RENDERING = "tokenizer_config.json", "tekken.json"
"""The second is a tokenizer that renders conversations by itself."""
FILES = ("chat_template.jinja", "chat_template.json")
INSTRUCTED = re.compile(r"(?:^|[-_.])(instruct|chat|it)(?=$|[-_.])", re.IGNORECASE)


def has_template(model: Weights) -> bool | None:
    """None where its files are not here, or do not tell."""
    if model.build is not None:
        return False
    if model.path is None:
        return None
    try:
        place, revision = _place(model)
        if any(local_file(place, name, revision) is not None for name in (*FILES, OWN_RENDERING)):
            return True
        config = local_file(place, CONFIG, revision)
        if config is None:
            return None
        said = json.loads(content(config, LIMIT))
    except (AdapterError, OSError, ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    if said.get("chat_template"):
        return True
    # A folder has all of its files; the cache of the hub has those that were asked for.
    return False if Path(place).is_dir() and not (Path(place) / "additional_chat_templates").is_dir() else None


def _place(model: Weights) -> tuple[str, str | None]:
    """Where the tokenizer is loaded from, which for an adapter without its own is its base."""
    assert model.path is not None
    adapter = of_model(model)
    if adapter is None or (adapter.folder / CONFIG).is_file():
        return model.path, model.revision
    return adapter.base, adapter.revision


def instructed(model: Weights) -> bool:
    """By its name: -Instruct, -Chat, -it."""
    name = model.path or (model.package.file if model.package else "")
    return INSTRUCTED.search(name.rstrip("/").rpartition("/")[2]) is not None
