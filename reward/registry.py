"""The verifiers that a recipe can name."""

from __future__ import annotations

from entropostat.reward.verifier import Verifier
from entropostat.rl.registry import Registry

VERIFIERS: Registry[Verifier] = Registry("verifiers", "entropostat.reward.verifiers", Verifier)
"""Kind -> frozen dataclass that inherits ``Verifier``. A new verifier is one file in ``reward/verifiers``."""
