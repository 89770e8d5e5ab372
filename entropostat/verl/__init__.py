"""The objective inside verl 0.9: a trainer of verl's own, and what it can carry.

    python -m verl.trainer.main_ppo trainer.v1.trainer_mode=entropostat \\
        actor_rollout_ref.actor.policy_loss._target_=entropostat.verl.PolicyLoss \\
        +actor_rollout_ref.actor.policy_loss.objective=recipe.yaml ...

It drives ``rl/`` and needs nothing of TRL. ``carries.py`` says what verl cannot do, and imports no verl; everything else does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entropostat.verl.config import PolicyLoss

__all__ = ["PolicyLoss"]
_HOMES = {"PolicyLoss": "entropostat.verl.config"}
"""Imported when they are first asked for: ``plan`` reads carries.py in an environment without verl."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)
