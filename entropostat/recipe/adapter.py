"""A LoRA adapter as the policy that training starts from: what its folder says, read without torch."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from entropostat.recipe.blocks import Model, Weights
from entropostat.recipe.errors import real
from entropostat.recipe.peft_block import Peft
from entropostat.regular import content
from entropostat.visible import shorten

LIMIT = 1 << 22
"""Bytes of a configuration file in a model's folder."""
CONFIG = "adapter_config.json"
NAMED_BASE = "base_model_name_or_path"
WHOLE = ("model*.safetensors", "pytorch_model*.bin")
LAYER = "model.layers.0"
MATRICES = {
    "self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
}
"""Of the layers whose weights `plan` counts (scaling/shape.py)."""
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")


class AdapterError(ValueError):
    """An adapter that cannot be trained on, and the way out, in one line."""


@dataclass(frozen=True)
class Adapter:
    """What training goes on from: ``peft`` on ``named_base``."""

    file: Path
    """Its adapter_config.json."""
    named_base: str
    """As the file says it."""
    revision: str | None
    """Of the base."""
    peft: Peft

    @property
    def folder(self) -> Path:
        return self.file.parent

    @property
    def base(self) -> str:
        """Folder or hub id of the base. A relative name starts at the adapter, or at the working directory."""
        for start in (self.folder, Path.cwd()):
            folder = real(start / os.path.expanduser(self.named_base))
            if os.path.isfile(folder / "config.json"):
                return str(folder)
            if os.path.isfile(folder / CONFIG):
                raise AdapterError(
                    f"the adapter {self.folder} has another adapter, {folder}, as its base; merge that into its own base"
                )
        if HUB_ID.fullmatch(self.named_base):
            return self.named_base
        raise AdapterError(
            f"there is no model in {self.named_base}, the base of the adapter {self.folder}; correct {NAMED_BASE} in "
            f"{self.file}"
        )


def of_model(model: Weights) -> Adapter | None:
    """The adapter that ``path`` names, as far as this machine has it; None for a whole model."""
    if model.path is None:
        return None
    file = local_file(model.path, CONFIG, model.revision)
    return None if file is None else read(file)


def lora(model: Model) -> Peft | None:
    """What is trained instead of all weights: the recipe's own adapter, or the one that it starts from; its layers by name."""
    if model.peft is not None:
        return model.peft.model_copy(update={"target_modules": _targets(model.peft.target_modules)})
    adapter = of_model(model)
    return None if adapter is None else adapter.peft


def read(file: Path) -> Adapter:
    """Raises AdapterError for what is no LoRA adapter on a base."""
    try:
        said = json.loads(content(file, LIMIT))
        kind, base, rank = said["peft_type"], said[NAMED_BASE], said.get("r")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise AdapterError(f"cannot read {file}: {type(error).__name__}: {error}; save the adapter again") from error
    folder = file.parent
    if any(True for pattern in WHOLE for _ in folder.glob(pattern)):
        raise AdapterError(f"{folder} holds a whole model and an adapter; put one of them into a folder of its own")
    if kind != "LORA":
        raise AdapterError(
            f"{folder} is a {kind} adapter, and only LORA is supported; merge it and give the whole model"
        )
    if not base:
        raise AdapterError(
            f"{file} does not name the base of the adapter; write its folder or hub id into {NAMED_BASE}"
        )
    try:
        peft = Peft(
            r=rank,
            lora_alpha=int(said.get("lora_alpha") or rank),
            lora_dropout=said.get("lora_dropout") or 0.0,
            modules_to_save=said.get("modules_to_save") or None,
        ).model_copy(update={"target_modules": _targets(said.get("target_modules") or [])})
    except (ValueError, TypeError, re.error) as error:
        raise AdapterError(f"{file} describes no LoRA of a rank r; save the adapter again") from error
    return Adapter(file, str(base), said.get("revision"), peft)


def _targets(said: str | list[str]) -> str | list[str]:
    """The matrices of a layer by their last names. PEFT takes a text for a pattern of whole names."""
    if isinstance(said, str) and said != "all-linear":
        return [
            name for part, names in MATRICES.items() for name in names if re.fullmatch(said, f"{LAYER}.{part}.{name}")
        ]
    return said if isinstance(said, str) else sorted({name.rpartition(".")[2] for name in said})


def local_file(path: str, name: str, revision: str | None) -> Path | None:
    """A file of a local folder, or of a hub repository where an earlier run has left it in the cache.

    Raises AdapterError for what names neither.
    """
    folder = Path(path)
    if os.path.isdir(folder):
        return folder / name if os.path.isfile(folder / name) else None
    if path.count("/") > 1 or path.startswith((".", "/")):
        return None
    from huggingface_hub import try_to_load_from_cache  # a tenth of a second, for hub names alone

    try:
        cached = try_to_load_from_cache(path, name, revision=revision)
    except OSError:
        return None
    except ValueError:
        raise AdapterError(f"{shorten(path)} is no folder here, and no name that the hub could have") from None
    return Path(cached) if isinstance(cached, str) else None
