"""What the options of a critic may say. Data, so that a recipe reads it too: no torch here."""

from __future__ import annotations

from typing import Literal, get_args

Combination = Literal["min", "mean", "softmin"]
COMBINATIONS: tuple[Combination, ...] = get_args(Combination)

ValueLoss = Literal["mse", "huber"]
LOSSES: tuple[ValueLoss, ...] = get_args(ValueLoss)

ClipRule = Literal["max", "mean"]
CLIP_RULES: tuple[ClipRule, ...] = get_args(ClipRule)
