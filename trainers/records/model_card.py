"""The card of a final policy: what it was trained from, on and by, and how it did. Made for the Hub, so that it says nothing of
the machine: no path, no account, no address.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCard

from entropostat import yaml_text
from entropostat.recipe.adapter import HUB_ID, AdapterError, local_file, lora, of_model
from entropostat.recipe.recipe import Recipe
from entropostat.regular import content
from entropostat.secrets import without_secrets
from entropostat.trainers.records.trackers import methods
from entropostat.visible import visible

OF_THE_MACHINE = ("output_dir", "slurm", "launch", "tracking")
"""Blocks that say where it ran and who watched."""
ROWS = ("reward", "entropy", "kl")
"""What the last logged step says."""
LICENSE = re.compile(r"[\w.+-]{1,60}")
LARGEST = 1 << 20
"""Bytes of a base's own card."""
PATH = re.compile(r"(?<![\w.:/<])(?:~[\w-]*|\.{1,2})?(?:/[\w.@+ -]*[\w@+-]){2,}/?|(?<![\w.:/])~[\w-]*/[\w./@+-]+")


def model_card(
    recipe: Recipe,
    measured: Mapping[str, float],
    last: Mapping[str, Any],
    versions: Mapping[str, str | None],
    asks: bool,
) -> str:
    """Markdown with its front matter. ``measured``: of the evaluation at the end; ``last``: the last logged row; ``asks``: the Hub
    may be asked for what this machine does not know.
    """
    base = base_model(recipe)
    heading = {
        "library_name": "peft" if lora(recipe.model) else "transformers",
        "pipeline_tag": "text-generation",
        "base_model": base,
        "base_model_relation": None if base is None else "adapter" if lora(recipe.model) else "finetune",
        **license_of(recipe, base, asks),
        "datasets": sorted(set(datasets(recipe))) or None,
        "tags": tags(recipe),
    }
    front = yaml_text.dump({key: value for key, value in heading.items() if value is not None})
    return f"---\n{front}---\n\n" + "\n".join(_body(recipe, base, measured, last, versions))


def base_model(recipe: Recipe) -> str | None:
    """The hub id of the whole model; None where only this machine has it."""
    named = recipe.model.path
    try:
        adapter = of_model(recipe.model)
        named = named if adapter is None else adapter.base
    except AdapterError:
        return None
    return named if named is not None and HUB_ID.fullmatch(named) and not os.path.exists(named) else None


def datasets(recipe: Recipe) -> Iterator[str]:
    """Hub ids of what was trained on."""
    for term in recipe.sources.values():
        path = term.options.get("path")
        if term.kind == "hub" and isinstance(path, str) and HUB_ID.fullmatch(path) and not os.path.exists(path):
            yield path


def tags(recipe: Recipe) -> list[str]:
    peft = ["lora"] if lora(recipe.model) else []
    return list(
        dict.fromkeys(["entropostat", "trl", "generated_from_trainer", recipe.kind, *peft, *sorted(methods(recipe))])
    )


def license_of(recipe: Recipe, base: str | None, asks: bool) -> dict[str, str]:
    """As the card of the base says; nothing where that is not known."""
    said: Mapping[str, Any] | None = None
    try:
        file = (
            None
            if recipe.model.path is None
            else local_file(base or recipe.model.path, "README.md", recipe.model.revision)
        )
        if file is not None:
            said = ModelCard(content(file, LARGEST).decode("utf-8"), ignore_metadata_errors=True).data.to_dict()
        elif base is not None and asks:
            found = HfApi().model_info(base, timeout=10).card_data
            said = None if found is None else found.to_dict()
    except Exception:  # noqa: BLE001  (of a file or a server of others: a card without the tag is still a card)
        said = None
    return {
        key: str(said[key])
        for key in ("license", "license_name")
        if said and LICENSE.fullmatch(str(said.get(key) or ""))
    }


def published(value: Any, names: frozenset[str] = frozenset()) -> Any:
    """A plain value without paths of this machine and without secrets: of a path its last name is left."""
    names = names or _private()
    if isinstance(value, Mapping):
        return {str(key): published(inner, names) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [published(inner, names) for inner in value]
    if not isinstance(value, str):
        return value
    if value.startswith("/") and os.path.exists(value):  # however short
        return _last(value, names)
    return PATH.sub(lambda match: _last(match[0], names), value)


def _private() -> frozenset[str]:
    """Names that tell who has trained: of the home folder, and all above it."""
    return frozenset(part for part in Path.home().parts if part != "/")


def _last(path: str, names: frozenset[str]) -> str:
    last = path.rstrip("/").rpartition("/")[2]
    return "<local>" if not last or last in names or last.startswith("~") else f"<local>/{last}"


def _body(
    recipe: Recipe,
    base: str | None,
    measured: Mapping[str, float],
    last: Mapping[str, Any],
    versions: Mapping[str, str | None],
) -> Iterator[str]:
    shown = {key: value for key, value in recipe.resolved.items() if key not in OF_THE_MACHINE}
    trainer = {key: value for key, value in (shown.get("trainer") or {}).items() if "hub" not in key.split("_")}
    shown = without_secrets(published({**shown, "trainer": trainer}))
    origin = "a model of one machine alone" if base is None else f"[{base}](https://huggingface.co/{base})"
    what = "A LoRA adapter on" if lora(recipe.model) else "Trained from"
    yield f"# {recipe.name}\n"
    yield f"{what} {origin}, by reinforcement learning with entropostat on TRL ({recipe.kind.upper()}).\n"
    yield "## Data\n"
    for name, term in recipe.sources.items():
        path = term.options.get("path", term.options.get("task", ""))
        yield f"- {visible(name)}: {term.kind} {visible(str(published(path)))}".rstrip()
    rows = [(key, last[key]) for key in ROWS if isinstance(last.get(key), int | float)]
    rows += [(key, value) for key, value in measured.items() if isinstance(value, int | float)]
    if rows:
        yield "\n## At the end\n"
        yield "| metric | value |\n|---|---|"
        yield from (f"| {visible(key)} | {value:.4g} |" for key, value in rows)
        yield "\nreward, entropy and kl are those of the last logged step; the others of held-out prompts."
    yield "\n## Recipe\n"
    yield f"````yaml\n{yaml_text.dump(shown)}````\n"
    yield "## Versions\n"
    yield from (f"- {name} {version}" for name, version in versions.items() if version is not None)
    yield ""
