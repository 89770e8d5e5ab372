"""What every block of a recipe has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Block(BaseModel):
    """Strict: an unknown key is an error, a bool is no int, and text is no number (an int is a float)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())
