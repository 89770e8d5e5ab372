"""A LoRA adapter as the initial policy: opened on its base, and trained on.

TRL gives such a model a second adapter, 'ref', a copy of the first as it was: the reference is the policy that training
starts from, and not the base, which is what a model with its adapter switched off would be.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.utils.peft_utils import ADAPTER_SAFE_WEIGHTS_NAME, find_adapter_config_file

from entropostat.recipe.adapter import NAMED_BASE, Adapter, read

REFERENCE = "ref"
"""TRL's name of the adapter that is the reference."""


def find(path: str | Path, revision: str | None = None) -> Adapter | None:
    """The adapter in a folder or on the Hub; None for a whole model. Raises AdapterError for one that cannot be used."""
    file = find_adapter_config_file(str(path), revision=revision or "main")
    return None if file is None else read(Path(file))


def base_key(adapter: Adapter, key: str = "model.path") -> str:
    """How a message names the base: by where it is written."""
    return f"{key}: {NAMED_BASE} in {adapter.file}"


def open_adapter(
    adapter: Adapter, open_base: Callable[[], PreTrainedModel], *, upcast: bool = True, key: str = "model.path"
) -> Any:
    """The base with its adapter, which is trainable. ``upcast``: adapter weights below float32 are kept in float32."""
    from peft import PeftModel  # an extra

    base = open_base()
    fit_vocabulary(base, adapter)
    try:
        model = PeftModel.from_pretrained(base, adapter.folder, is_trainable=True, autocast_adapter_dtype=upcast)
    except RuntimeError as error:
        said = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{key}: the adapter {adapter.folder} does not fit its base {adapter.base}: {said}") from error
    model.opened_from = str(adapter.folder)  # type: ignore[assignment]  # no module, but text
    return model


def fit_vocabulary(base: PreTrainedModel, adapter: Adapter) -> None:
    """Tokens that were added before the adapter was trained: it brings the embeddings, and the base must have their size."""
    file = adapter.folder / ADAPTER_SAFE_WEIGHTS_NAME
    table: Any = base.get_input_embeddings()
    name = next(name for name, module in base.named_modules() if module is table)
    if not file.is_file():
        return
    with safe_open(file, "pt") as weights:
        key = f"base_model.model.{name}.weight"
        rows = weights.get_slice(key).get_shape()[0] if key in weights.keys() else None  # noqa: SIM118  (no mapping)
    if rows is not None and rows != table.weight.shape[0]:
        base.resize_token_embeddings(rows, mean_resizing=False)


def opened_from(model: Any, base: PreTrainedModel) -> Path:
    """Where the initial policy was opened: the folder of its adapter, or that of all its weights."""
    return Path(getattr(model, "opened_from", base.config._name_or_path))
