"""TRL's loss types by what they have in common. Data, so that ``plan`` reads it too: no torch here."""

from __future__ import annotations

from entropostat.rl.info import Holds

TYPES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")

CLIPPED = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")
"""Their ratio is clipped, and their normaliser is one of a plain mean or sum over tokens."""


def held_by(kind: str) -> Holds:
    """What the bounds of this type hold."""
    if kind == "cispo":
        return "weight"
    return "ratio" if kind in CLIPPED else "nothing"
