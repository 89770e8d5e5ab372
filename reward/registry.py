"""The verifiers that a recipe can name."""

from __future__ import annotations

from entropostat.rl.registry import Registry

VERIFIERS = Registry("verifiers", "entropostat.reward.verifiers")
"""Kind -> frozen dataclass that inherits ``Verifier``. A new verifier is one file in ``reward/verifiers``."""
