"""``entropostat train``: train a recipe, or several one after another.

One recipe in this process; several as processes side by side, which are then compared.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from entropostat.cli import arguments
from entropostat.environment import FOLDER_NOTE
from entropostat.gate import runnable
from entropostat.recipe.arithmetic import visible_gpus
from entropostat.secrets import redacted


def add(parser: argparse.ArgumentParser) -> None:
    arguments.recipe(parser, several=True)
    arguments.allow_code(parser)
    arguments.resume(parser)


def run(args: argparse.Namespace) -> int:
    """Exit code of the run, or the worst of several. Every recipe is checked before anything starts."""
    recipes, resume = args.recipes, args.resume
    loaded = [runnable(path, args.overrides) for path in recipes]
    words = [*args.overrides, *(["--allow-code"] if args.allow_code else []), *(["--resume", resume] if resume else [])]
    if len(loaded) == 1:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        if not visible_gpus():
            os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed would warn that it found nothing else
        from entropostat.trainers.run import run_recipe

        command = redacted(shlex.join(["entropostat", "train", recipes[0], *words]))
        return run_recipe(loaded[0], args.allow_code, resume, command)
    return side_by_side(recipes, words)


def side_by_side(recipes: list[str], words: list[str]) -> int:
    """As many at once as the machine has cores, each on one thread; then the comparison of the runs."""
    with tempfile.TemporaryDirectory() as scratch:
        notes = [Path(scratch) / str(i) for i in range(len(recipes))]
        with ThreadPoolExecutor(max_workers=min(len(recipes), os.cpu_count() or 1)) as pool:
            codes = list(pool.map(lambda pair: _one(pair[0], words, pair[1]), zip(recipes, notes, strict=True)))
        folders = [note.read_text() for note in notes if note.exists()]
    if any(codes) or len(folders) < len(recipes):
        return max(codes, key=abs)
    from entropostat.compare.table import run as compare

    return compare(folders, str(Path(folders[0]).parent / "compare.png"))


def _one(recipe: str, words: list[str], note: Path) -> int:
    """Run ``train`` on one recipe. Ctrl-C reaches it from the terminal as it reaches this process."""
    environment = {"OMP_NUM_THREADS": "1", **os.environ, FOLDER_NOTE: str(note)}
    command = [sys.executable, "-m", "entropostat", "train", recipe, *words]
    # A pipe, so that the children write lines and no progress bars over one another.
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        print(line, end="", file=sys.stderr, flush=True)
    return process.wait()
