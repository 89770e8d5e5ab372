"""An output folder of transformers' or TRL's trainer: the log in the ``trainer_state.json`` of its newest checkpoint.

``training_args.bin`` beside it is a pickle, and is never opened.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from entropostat.readers.damage import Damage
from entropostat.readers.foreign import ForeignRows
from entropostat.readers.run_folder import Run
from entropostat.readers.values import whole
from entropostat.regular import content

STATE = "trainer_state.json"
CHECKPOINT = re.compile(r"checkpoint-(\d{1,9})")
LIMIT, SMALL = 1 << 28, 1 << 22
"""Bytes of the log, and of a model's config."""


def states(folder: Path) -> list[Path]:
    """The files in ``folder`` and its checkpoints, the newest last; of the folder itself only where no checkpoint has one."""
    numbered = sorted(
        (int(match[1]), place)
        for place in folder.glob("checkpoint-*")
        if (match := CHECKPOINT.fullmatch(place.name)) and (place / STATE).is_file()
    )
    own = [folder / STATE] if (folder / STATE).is_file() else []
    return [*(place / STATE for _, place in numbered), *own]


def read(folder: Path) -> Run:
    """The run whose log goes furthest. Raises ValueError where none can be read."""
    wrong: list[str] = []
    best: tuple[int, Path, list[Any]] | None = None
    for file in states(folder)[-2:]:  # the last checkpoint's, and the folder's own
        try:
            state = json.loads(content(file, LIMIT))
        except (ValueError, RecursionError) as error:
            wrong.append(f"{file}: no JSON ({type(error).__name__}); it may be cut short")
            continue
        history = state.get("log_history") if isinstance(state, dict) else None
        if not isinstance(history, list):
            wrong.append(f"{file}: no log_history in it")
            continue
        last = whole(state.get("global_step")) or 0
        if best is None or last >= best[0]:
            best = (last, file, history)
    if best is None:
        raise ValueError(wrong[-1] if wrong else f"{folder}: no {STATE}")
    _, file, history = best
    damage = Damage(file)
    rows = ForeignRows(damage)
    for place, row in enumerate(history, start=1):
        if isinstance(row, dict):
            rows.add(row)
        else:
            damage.row(place, "no JSON object")
    size = vocabulary(file.parent) or vocabulary(folder)
    name = folder.parent.absolute().name if CHECKPOINT.fullmatch(folder.name) else folder.absolute().name
    run = rows.run(name, facts={} if size is None else {"vocabulary": size})
    return run.with_damage(wrong)


def vocabulary(folder: Path) -> int | None:
    """V by the model's config; None where it does not say."""
    try:
        config = json.loads(content(folder / "config.json", SMALL))
    except (OSError, ValueError, RecursionError):
        return None
    parts = [config, config.get("text_config")] if isinstance(config, dict) else []
    sizes = (whole(part.get("vocab_size"), 2) for part in parts if isinstance(part, dict))
    return next((size for size in sizes if size is not None), None)
