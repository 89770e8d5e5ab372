"""What our overrides stand on: TRL's trainer for the type checker, nothing at run time, so that they come before any of its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trl import GRPOTrainer

    class Below(GRPOTrainer):
        model: Any
        args: Any


else:
    Below = object

__all__ = ["Below"]
