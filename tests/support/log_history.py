"""What a trainer has logged, read from its state."""

from __future__ import annotations

from typing import Any

from transformers import set_seed


def step_rows(trainer: Any) -> list[dict[str, Any]]:
    """The rows of training, without those of evaluation."""
    return [row for row in trainer.state.log_history if "loss" in row]


def trained(trainer: Any) -> list[dict[str, Any]]:
    trainer.train()
    return step_rows(trainer)


def seeded(trainer: Any) -> list[dict[str, Any]]:
    """Trained from a seed: building and training another trainer has moved the global generator."""
    set_seed(1)
    return trained(trainer)


def history(trainer: Any, *keys: str) -> list[tuple[float, ...]]:
    return [tuple(row[key] for key in keys) for row in seeded(trainer)]


def logged(trainer: Any, key: str) -> list[float]:
    return [row[key] for row in trainer.state.log_history if key in row]
