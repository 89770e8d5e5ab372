"""Folders that are expensive to make, kept under a hash of everything that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors.torch import save_file
from transformers import PreTrainedModel


def cache_root() -> Path:
    """``$XDG_CACHE_HOME/entropostat``, by default ``~/.cache/entropostat``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "entropostat"


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """Weights and configuration, written by whichever process calls: ``save_pretrained`` writes on rank 0 alone, but
    the process that holds the lock of the cache may be another.
    """
    tied = set(model._tied_weights_keys or ()) if model.config.tie_word_embeddings else set()
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in tied}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.architectures = [type(model).__name__]
    model.config.dtype = model.dtype
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)


def content_key(parts: Any) -> str:
    """Short hash of a JSON-able description."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def cached(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder ``<cache>/<kind>/<key>``; if it is missing, ``make`` fills an empty one that then takes its place.

    It appears under its name only when complete, so a run that dies leaves nothing half done. Of several processes
    (the ranks of a run) one builds and the others wait. Where locks do not work all build and the first to finish wins.
    """
    final = cache_root() / kind / key
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{final}.lock"):
        if final.is_dir():
            return final
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=f".{key}-") as scratch:
            folder = Path(scratch) / key
            folder.mkdir()
            make(folder)
            try:
                folder.rename(final)
            except OSError:
                if not final.is_dir():
                    raise
    return final
