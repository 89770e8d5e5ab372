"""TRL's log of a run: means over what is appended between two rows, and a table of the newest completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def note(trainer: Any, values: Mapping[str, float], prefix: str = "", mode: str | None = None) -> None:
    """Append to the metrics of the ``mode``, train or eval: by default that in which the model is."""
    logged = trainer._metrics[mode or ("train" if trainer.model.training else "eval")]
    for key, value in values.items():
        logged[prefix + key].append(value)


def log_advantages(
    trainer: Any, advantages: torch.Tensor, own: bool, beside: torch.Tensor | None = None
) -> torch.Tensor | None:
    """The completions table must show the advantages that train, not those that TRL computed. ``own``: they are others.

    ``beside`` (B, K) float64 travels in the same collective: what it has of the completions of all ranks comes back, (N, K).
    """
    if not own and beside is None:
        return None
    rows = (advantages if advantages.dim() == 1 else advantages.mean(1)).unsqueeze(1)
    rows = rows if beside is None else torch.cat([rows.double(), beside], dim=1)
    rows = trainer.accelerator.gather(rows) if trainer.accelerator.num_processes > 1 else rows
    if own:
        logged, values = trainer._logs["advantages"], rows[:, 0].tolist()
        for _ in range(min(len(values), len(logged))):
            logged.pop()
        logged.extend(values)
    return rows[:, 1:]


COLUMNS = ("prompt", "completion", "advantages")
NAMED = ("rewards", "extra")
"""Tables of TRL's log of completions: those that are one column, and those that hold several by name."""


def columns(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Every column of TRL's log of completions, such as rewards/NAME. Images are left out."""
    found = {name: logs[name] for name in COLUMNS}
    return found | {f"{table}/{name}": values for table in NAMED for name, values in logs[table].items()}


def newest(logs: Mapping[str, Any], rows: int) -> dict[str, list[Any]]:
    """The last ``rows`` of each column that has so many."""
    return {name: list(values)[-rows:] for name, values in columns(logs).items() if len(values) >= rows}


def show_instead(logs: Mapping[str, Any], shown: Mapping[str, list[Any]]) -> None:
    """Put the rows of ``shown`` in the place of the newest ones."""
    for name, values in shown.items():
        table, _, column = name.partition("/")
        logged = logs[table][column] if column else logs[table]
        for _ in range(min(len(values), len(logged))):
            logged.pop()
        logged.extend(values)
