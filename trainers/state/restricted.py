"""A checkpoint is read as data. DeepSpeed and accelerate read theirs with ``weights_only=False``, and a forged one would run code.

torch then lets tensors and plain values through, and of DeepSpeed what ``ALLOWED`` names: classes that hold numbers.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import Any

import torch

FORCED, FORBIDDEN = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
ALLOWED = {
    "deepspeed.runtime.fp16.loss_scaler": ("LossScaler", "DynamicLossScaler"),
    "deepspeed.runtime.zero.config": ("ZeroStageEnum",),
    "deepspeed.utils.tensor_fragment": ("fragment_address",),
}


@contextlib.contextmanager
def restricted_loading(trainer: Any) -> Iterator[None]:
    """Inside, ``torch.load`` runs no code, whatever its caller asks for."""
    before = {name: os.environ.pop(name, None) for name in (FORCED, FORBIDDEN)}
    os.environ[FORCED] = "1"
    try:
        with torch.serialization.safe_globals(allowed() if trainer.is_deepspeed_enabled else []):
            yield
    finally:
        os.environ.pop(FORCED)
        os.environ.update({name: value for name, value in before.items() if value is not None})


def allowed() -> list[Any]:
    """The classes of DeepSpeed that its checkpoints hold."""
    return [getattr(importlib.import_module(module), name) for module, names in ALLOWED.items() for name in names]
