"""Which checkpoints a run has, which of them are whole, and which one it goes on from."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from entropostat import manifest
from entropostat.atomic import discard
from entropostat.manifest import STATE, Damage, step
from entropostat.recipe import Recipe, load
from entropostat.recipe.errors import RecipeError
from entropostat.recipe.resume import changes, fingerprint
from entropostat.visible import visible

NAME = re.compile(r"checkpoint-\d+")
RECIPE = "recipe.yaml"

Print = Callable[[int], str]
"""The fingerprint of a run's recipe, for the step that it has reached."""


def damage(folder: Path, wanted: Print | None = None, deep: bool = True) -> str | None:
    """Why this is no whole checkpoint of the run with the fingerprint ``wanted``, or None. Without ``deep`` no content is read."""
    try:
        record = manifest.check(folder, deep)
    except Damage as error:
        return str(error)
    if wanted is not None and record.recipe not in (None, wanted(record.step)):
        return f"it was saved with another recipe or seed than {folder.parent / RECIPE}"
    return None


def check(recipe: Recipe, checkpoint: Path, world: int) -> None:
    """Raises ValueError, naming every difference, where ``recipe`` on ``world`` processes is not the run that ``checkpoint``
    belongs to. Says on the standard error what differs and may.
    """
    record = manifest.manifest(checkpoint)
    wrong = [] if record.world_size == world else [f"processes were {record.world_size} and are {world}"]
    file = checkpoint.parent / RECIPE
    if file.is_file():
        change = changes(load(file), recipe, record.step)
        wrong += map(str, change.refused)
        if change.steered and not wrong:
            steered = "; ".join(map(str, change.steered))
            print(visible(f"--resume: goes on with a change: {steered}"), file=sys.stderr)
    elif record.recipe not in (None, fingerprint(recipe, record.step)):
        wrong.append(f"the recipe or the seed was another, and there is no {file} to say what differs")
    if wrong:
        raise ValueError(
            f"--resume {checkpoint}: {'; '.join(wrong)}. A run goes on as it began: set that back, or start a new one "
            "without --resume"
        )


def oldest_first(run: Path) -> list[Path]:
    """The checkpoints of a run folder, damaged ones too, in the order in which training came by them.

    That is by step, and by no clock. Where a run went on from an earlier step than its last, what that start has saved comes
    after what was there.
    """
    folders = [f for f in run.glob("checkpoint-*") if NAME.fullmatch(f.name) and f.is_dir()]
    numbers = {folder: start(folder) for folder in folders}
    last = max(filter(None, numbers.values()), default=1)
    return sorted(folders, key=lambda folder: (numbers[folder] or last, step(folder)))


def start(folder: Path) -> int | None:
    """Which start of its run has saved a checkpoint; None where its manifest cannot say."""
    try:
        return manifest.manifest(folder).start
    except Damage:
        return None


def next_start(run: Path) -> int:
    """The number of the start that goes on in ``run``."""
    return 1 + max((start(folder) or 0 for folder in oldest_first(run)), default=0)


def runs(recipe: Recipe) -> list[Path]:
    """The folders of a recipe's runs, in the order in which they were begun: ``name``, ``name-2``, ``name-3``, ..."""
    first = recipe.run_dir
    numbered = re.compile(re.escape(first.name) + r"-(\d+)")
    later = [(int(match[1]), f) for f in _listed(first.parent) if (match := numbered.fullmatch(f.name)) and f.is_dir()]
    return [first, *(folder for _, folder in sorted(later))]


def whole(run: Path, wanted: Print | None = None, deep: bool = True) -> tuple[Path | None, list[str]]:
    """The newest whole checkpoint of a run folder, and a line for each newer one that is not."""
    passed: list[str] = []
    for folder in reversed(oldest_first(run)):
        wrong = damage(folder, wanted, deep)
        if wrong is None:
            return folder, passed
        passed.append(f"{folder}, which is not complete ({wrong})")
    return None, passed


def find(recipe: Recipe, resume: str | None) -> Path | None:
    """The folder that ``--resume`` names; ``last``: the newest whole checkpoint of the recipe's runs; ``auto``: that, if any."""
    if resume is None:
        return None
    if resume not in ("last", "auto"):
        return _named(Path(resume))
    for run in reversed(runs(recipe)):
        newest, passed = whole(run, _print(run))
        for line in passed:
            print(visible(f"--resume {resume}: passing over {line}"), file=sys.stderr)
        if newest is not None:
            return newest
    if resume == "auto":
        return None
    raise FileNotFoundError(f"--resume last: {recipe.run_dir} holds no complete checkpoint")


def rotate(run: Path, limit: int | None, keep: Iterable[Path]) -> None:
    """Remove the oldest checkpoints of ``run`` beyond ``limit``, first those without a manifest, and never one of ``keep``. No
    limit: none is removed.
    """
    if not limit or limit < 0:
        return
    kept = {path.resolve() for path in keep}
    saved = oldest_first(run)
    spare = [folder for folder in saved if folder.resolve() not in kept]
    spare.sort(key=lambda folder: start(folder) is not None)
    for folder in spare[: max(len(saved) - max(limit, len(kept)), 0)]:
        discard(folder)


def _named(folder: Path) -> Path:
    if not NAME.fullmatch(folder.name):
        raise FileNotFoundError(f"--resume {folder}: no checkpoint there (one is named checkpoint-STEP)")
    if (wrong := damage(folder, _print(folder.parent))) is not None:
        what = "not complete" if (folder / STATE).is_file() else "no checkpoint there"
        raise FileNotFoundError(f"--resume {folder}: {what} ({wrong})")
    return folder


def _print(run: Path) -> Print | None:
    """Of the recipe that lies in a run folder; None where there is none to go by."""
    try:
        recipe = load(run / RECIPE)
    except (RecipeError, OSError):
        return None
    return lambda reached: fingerprint(recipe, reached)


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
