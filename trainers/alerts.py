"""Say that something is wrong with a run: a line in the terminal, and an alert of each tracker that is on."""

from __future__ import annotations

import sys
from typing import Any, Literal

Level = Literal["info", "warn", "error"]


def alert(title: str, text: str, level: Level = "warn") -> None:
    """On the main process; elsewhere no tracker is on, and the line would come once for each rank.

    wandb sends a mail or a message where the user has asked for that, at most one a minute for one title.
    """
    print(f"{level}: {title}: {text}", file=sys.stderr, flush=True)
    # Not imported where it is off: both take seconds.
    wandb: Any = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.run.alert(title=title, text=text, level=wandb.AlertLevel[level.upper()])
    trackio: Any = sys.modules.get("trackio")
    if trackio is not None and trackio.context_vars.current_run.get() is not None:
        trackio.alert(title=title, text=text, level=trackio.AlertLevel[level.upper()])
