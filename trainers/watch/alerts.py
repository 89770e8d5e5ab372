"""Say that something is wrong with a run: a line in the terminal, and an alert of each tracker that is on."""

from __future__ import annotations

import sys
from typing import Any, Literal

Level = Literal["info", "warning", "critical"]
LEVELS: dict[Level, str] = {"info": "INFO", "warning": "WARN", "critical": "ERROR"}
"""Ours, and the name that wandb and trackio have for it."""


def alert(title: str, text: str, level: Level = "warning") -> None:
    """On the main process: elsewhere the line would come once more for each rank."""
    print(f"{level}: {title}: {text}", file=sys.stderr, flush=True)
    notify(title, text, level)


def notify(title: str, text: str, level: Level = "warning") -> None:
    """The trackers alone, where the terminal has been told already; nothing where none is on.

    wandb sends a mail or a message where the user has asked for that, at most one a minute for one title.
    """
    # Not imported where it is off: both take seconds.
    wandb: Any = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.run.alert(title=title, text=text, level=wandb.AlertLevel[LEVELS[level]])
    trackio: Any = sys.modules.get("trackio")
    if trackio is not None and trackio.context_vars.current_run.get() is not None:
        trackio.alert(title=title, text=text, level=trackio.AlertLevel[LEVELS[level]])
