"""The block ``model.peft:`` of a recipe, by PEFT's own names."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from entropostat.recipe.block import Block

INITS = ("gaussian", "orthogonal")
"""Beside PEFT's default: the adapter does nothing before its first step, and the base keeps its weights."""


def _init(value: Any) -> Any:
    if value is True or value in INITS:
        return value
    raise ValueError(
        f"must be true, {' or '.join(INITS)}, by which the adapter does nothing at the start and the base keeps its weights"
    )


class Peft(Block):
    """New LoRA adapters; the frozen base model is then the reference."""

    r: int = Field(16, ge=1, le=2**16, description="rank")
    lora_alpha: int = Field(32, ge=1, le=2**20, description="scale: alpha / r")
    lora_dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout on the adapter's input; read where model.dropout is keep"
    )
    target_modules: str | list[Annotated[str, Field(min_length=1)]] = Field(
        "all-linear",
        description="layers that get an adapter: the ends of their names, or as text a pattern (regex) of whole names",
    )
    modules_to_save: list[Annotated[str, Field(min_length=1)]] | None = Field(
        None,
        description="ends of names of modules that are trained whole and saved beside the adapter, such as lm_head",
    )
    use_rslora: bool = Field(False, description="scale: alpha / sqrt(r)")
    use_dora: bool = Field(False, description="the size of each output apart from its direction (DoRA)")
    init_lora_weights: Annotated[Literal[True, "gaussian", "orthogonal"], BeforeValidator(_init)] = Field(
        True, description="how the adapter starts; it does nothing before the first step"
    )
    merge: bool = Field(
        False, description="at the end also write merged/, the whole model with the adapter in its weights"
    )

    @field_validator("target_modules")
    @classmethod
    def _pattern(cls, value: str | list[str]) -> str | list[str]:
        if isinstance(value, str):
            try:
                re.compile(value)
            except (re.error, RecursionError, OverflowError) as error:
                raise ValueError(f"must be all-linear, a list of names or a regex ({error})") from None
        elif not value:
            raise ValueError("must name a layer, or be left out for all linear ones")
        return value
