"""Opening what a recipe names: a tokenizer, and what is said of a model that cannot be had. Brings no models of transformers."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def open_tokenizer(
    name: str | Path, revision: str | None, key: str = "model.path", **how: Any
) -> PreTrainedTokenizerBase:
    """For generation: it pads on the left, with the end token where it has no padding of its own. Code from a repository is never run."""
    from transformers import AutoTokenizer

    with opening(key, name):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(name), revision=revision or "main", padding_side="left", trust_remote_code=False, **how
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ValueError(f"model {name}: its tokenizer has neither a padding nor an end token; set one and save it")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@contextlib.contextmanager
def opening(key: str, path: str | Path) -> Iterator[None]:
    """Inside, a model that cannot be had is an OSError that names the recipe's ``key``, the model, and the way out."""
    try:
        yield
    except OSError as error:
        said = " ".join(str(error).split())
        raise OSError(unreachable(key, path, error) or f"{key}: cannot open {path}: {said}") from error


def unreachable(key: str, path: str | Path, error: Exception) -> str | None:
    """The line for a model that only the Hub has, where the Hub cannot be asked; None for any other error."""
    if Path(path).exists() or not re.search(r"connect|offline|timed out", str(error), re.IGNORECASE):
        return None
    offline = os.environ.get("HF_HUB_OFFLINE", "0") != "0"
    why = "HF_HUB_OFFLINE forbids to ask the Hub" if offline else "the Hub does not answer"
    return (
        f"{key}: {path} is neither a folder nor in the cache, and {why}: run `hf download {path}` where there is a "
        f"network, then set {key} to its folder, or HF_HOME to its cache"
    )
