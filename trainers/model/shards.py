"""What this process holds of a parameter: all of it, or under ZeRO-3 its share of the flattened one.

Averaging and copying are elementwise, and two models of one architecture are cut alike, so both need no collective on
the shares. Only what goes into a file is put together.
"""

from __future__ import annotations

import contextlib
from typing import Any

from torch import Tensor, nn

from entropostat.rl.reduce import Reducer


def share(parameter: Any) -> Tensor:
    """This process's part, writable in place; call ``refresh`` after writing."""
    partition: Tensor | None = getattr(parameter, "ds_tensor", None)
    return (parameter if partition is None else partition).data


def refresh(parameter: Any) -> None:
    """Drop a whole copy that ZeRO-3 kept from the last forward pass: the next one gathers the new shares."""
    if hasattr(parameter, "ds_tensor"):
        parameter.partition()


def whole(parameter: Any, part: Tensor, reducer: Reducer) -> Tensor:
    """The tensor of which every process holds a ``part`` cut as ``parameter`` is. A collective under ZeRO-3."""
    if not hasattr(parameter, "ds_tensor"):
        return part
    return reducer.gather(part)[: parameter.ds_numel].view(parameter.ds_shape)


def cut(parameter: Any, tensor: Tensor, rank: int) -> Tensor:
    """The part of ``tensor`` that this process holds of ``parameter``: the inverse of ``whole``."""
    if not hasattr(parameter, "ds_tensor"):
        return tensor
    size = parameter.ds_tensor.numel()
    flat = tensor.flatten()
    padded = flat.new_zeros(max(flat.numel(), (rank + 1) * size))
    padded[: flat.numel()] = flat
    return padded[rank * size : (rank + 1) * size]


def engine(wrapped: Any) -> str:
    """What trained a model: the class that wraps it, with DeepSpeed's stage."""
    stage = getattr(wrapped, "zero_optimization_stage", None)
    return type(wrapped).__name__ + (f", stage {stage()}" if stage is not None else "")


def gathered(model: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Inside, every process holds all of a model that ZeRO-3 has cut, though no engine wraps it."""
    parameters = [p for p in model.parameters() if hasattr(p, "ds_tensor")]
    if not parameters:
        return contextlib.nullcontext()
    import deepspeed  # only where it runs already: it is slow to import

    context: contextlib.AbstractContextManager[None] = deepspeed.zero.GatheredParameters(parameters)
    return context
