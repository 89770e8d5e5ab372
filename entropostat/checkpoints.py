"""Which checkpoints a run has, and whether one is complete.

Beside the trainer's own files a checkpoint holds ``checkpoint.json``: how many processes of which engine wrote it, and the
size of every file. It comes last, so that a copy that was cut short, or a file that is missing, is known before it is loaded.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from entropostat.atomic import discard
from entropostat.recipe import Recipe, load
from entropostat.recipe.resume import changes

MANIFEST = "checkpoint.json"
STATE = "trainer_state.json"
NAME = re.compile(r"checkpoint-\d+")


def seal(folder: Path, **facts: Any) -> None:
    """Write the manifest of a checkpoint to which nothing will be added."""
    files = {str(f.relative_to(folder)): f.stat().st_size for f in sorted(folder.rglob("*")) if f.is_file()}
    record = {**facts, "saved": time.time(), "files": files}
    (folder / MANIFEST).write_text(json.dumps(record, indent=1) + "\n")


def manifest(folder: Path) -> dict[str, Any]:
    """{} where there is none, as in a checkpoint that another program wrote."""
    try:
        found = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def damage(folder: Path) -> str | None:
    """Why this is no complete checkpoint, or None. Without a manifest only the trainer's own state is asked for."""
    if not (folder / STATE).is_file():
        return f"{STATE} is missing"
    for name, size in manifest(folder).get("files", {}).items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} of {size} bytes"
    return None


def check(recipe: Recipe, checkpoint: Path, world: int) -> None:
    """Raises ValueError, naming every difference, where ``recipe`` on ``world`` processes is not the run that ``checkpoint``
    belongs to. Says on the standard error what differs and may.
    """
    wrong, before = [], manifest(checkpoint).get("world_size", world)
    if before != world:
        wrong.append(f"processes were {before} and are {world}")
    file = checkpoint.parent / "recipe.yaml"
    if file.is_file():
        found = changes(load(file), recipe, step(checkpoint))
        wrong += map(str, found.refused)
        if found.steered and not wrong:
            print(f"--resume: goes on with a change: {'; '.join(map(str, found.steered))}", file=sys.stderr)
    if wrong:
        raise ValueError(
            f"--resume {checkpoint}: {'; '.join(wrong)}. A run goes on as it began: set that back, or start a new one "
            "without --resume"
        )


def step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def oldest_first(runs: Iterable[Path]) -> list[Path]:
    """The checkpoints of these run folders in the order in which they were saved, damaged ones too."""
    found = [f for run in runs for f in run.glob("checkpoint-*") if f.is_dir() and NAME.fullmatch(f.name)]
    return sorted(found, key=lambda folder: (manifest(folder).get("saved", folder.stat().st_mtime), step(folder)))


def find(recipe: Recipe, resume: str | None) -> Path | None:
    """The folder that ``--resume`` names; ``last``: the newest complete checkpoint of the recipe's runs; ``auto``: that, if any."""
    if resume is None:
        return None
    if resume not in ("last", "auto"):
        folder = Path(resume)
        if not NAME.fullmatch(folder.name):
            raise FileNotFoundError(f"--resume {resume}: no checkpoint there (one is named checkpoint-STEP)")
        if (wrong := damage(folder)) is not None:
            what = "not complete" if folder.is_dir() and (folder / STATE).is_file() else "no checkpoint there"
            raise FileNotFoundError(f"--resume {resume}: {what} ({wrong})")
        return folder
    runs = [recipe.run_dir, *recipe.run_dir.parent.glob(f"{recipe.name}-[0-9]*")]
    for folder in reversed(oldest_first(runs)):
        wrong = damage(folder)
        if wrong is None:
            return folder
        print(f"--resume {resume}: passing over {folder}, which is not complete ({wrong})", file=sys.stderr)
    if resume == "auto":
        return None
    raise FileNotFoundError(f"--resume last: {recipe.run_dir} holds no checkpoint")


def rotate(run: Path, limit: int | None, keep: Iterable[Path]) -> None:
    """Remove the oldest checkpoints of ``run`` beyond ``limit``, never one of ``keep``. No limit: none is removed."""
    if not limit or limit < 0:
        return
    kept = {path.resolve() for path in keep}
    saved = oldest_first([run])
    spare = [folder for folder in saved if folder.resolve() not in kept]
    for folder in spare[: max(len(saved) - max(limit, len(kept)), 0)]:
        discard(folder)
