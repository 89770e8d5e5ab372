"""``entropostat submit``: a recipe as a batch job on a Slurm cluster. Imports no torch."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from entropostat import gate
from entropostat.cli import arguments
from entropostat.faults import SetupError
from entropostat.recipe import Recipe, load
from entropostat.recipe.errors import COMMAND_LINE, Origin, RecipeError, display, fail
from entropostat.recipe.lint import Lint
from entropostat.slurm.job import job, problems, settled
from entropostat.slurm.own_code import Code, own_code, together
from entropostat.slurm.own_code import report as of_code
from entropostat.slurm.queue import call
from entropostat.slurm.render import render
from entropostat.slurm.tasks import at, read, spread
from entropostat.visible import lines as visible_lines
from entropostat.visible import visible

DEPENDENCY = re.compile(r"[a-z]+(:\d+([_+]\d+)*)+([,?][a-z]+(:\d+([_+]\d+)*)+)*|singleton")


def add(parser: argparse.ArgumentParser) -> None:
    arguments.recipe(parser)
    arguments.allow_code(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the script and stop")
    parser.add_argument("--dependency", metavar="JOB", help="start after it ended well; or such as afterany:123")
    parser.add_argument("--array", metavar="SEEDS", help="one run for each seed, such as 0-4, 0-8:2 or 1,5,7%%2")
    parser.add_argument(
        "--tasks",
        metavar="FILE",
        help="one run for each line of FILE, which holds overrides; --array then counts lines",
    )


def run(args: argparse.Namespace) -> int:
    settings = (args.allow_code, args.dry_run, args.dependency, args.array, args.tasks)
    return submit(arguments.one(args), args.overrides, *settings)[0]


def submit(
    path: str,
    overrides: list[str],
    allow_code: bool,
    dry_run: bool,
    dependency: str | None,
    array: str | None,
    tasks: str | None,
) -> tuple[int, str | None]:
    """(exit code, the job's id). ``tasks``: a file with a line of overrides for each task of the array, see
    entropostat.slurm.tasks."""
    lines = [] if tasks is None else read(tasks)
    array = spread(array, len(lines)) if lines else array
    overrides = [*overrides, *([f'slurm.array="{array}"'] if array is not None else [])]
    overrides += settled(load(path, overrides))
    recipe = load(path, overrides)
    lints = of_job(recipe)
    for row, words in enumerate(lines, 1):
        for place, lint in line(path, overrides, words, Origin(display(Path(tasks or "")), row)).items():
            lints.setdefault(place, lint)
    if warnings := [lint for lint in lints.values() if lint.level == "warning"]:
        print("\n".join(visible(str(lint)) for lint in warnings), file=sys.stderr)
    if reasons := gate.reasons(lints.values()):
        raise gate.Refused({"": reasons})
    code = together([own_code(recipe), *codes(path, overrides, lines)])
    what = job(recipe, allow_code, after(dependency), lines, code)
    try:
        script = render(recipe.slurm, what)
    except ValueError as error:
        raise fail(Origin(display(recipe.path)), *str(error).split(": ", 1)) from None
    if dry_run:
        print("".join(f"{visible(text)}\n" for text in of_code(code)), end="", file=sys.stderr)
        print(visible_lines(script) if sys.stdout.isatty() else script, end="")  # a file gets it as it is
        if shutil.which("sbatch"):
            possible(script)
        return 0, None
    if not possible(script):
        return 1, None
    folder = Path(what.folder)
    folder.mkdir(parents=True, exist_ok=True)
    done = call(["sbatch", "--parsable"], script)
    if done.returncode:
        raise SetupError(f"sbatch: {' '.join(done.stderr.split())}")
    ident = done.stdout.strip().partition(";")[0]  # the cluster's name follows where there are several
    (folder / f"{recipe.name}-{ident}.sbatch").write_text(script)
    print("\n".join(map(visible, [*report(recipe, ident), *of_code(code)])))
    return 0, ident


def of_job(recipe: Recipe) -> dict[tuple[str, str], Lint]:
    """By key and message: what is a warning to a run may be an error to its job, and is said once."""
    return {(lint.key, lint.message): lint for lint in [*gate.findings(recipe), *problems(recipe)]}


def line(path: str, overrides: list[str], words: list[str], where: Origin) -> dict[tuple[str, str], Lint]:
    """What is wrong with the recipe of a task. Adds to its ``words`` what they leave open."""
    try:
        recipe = load(path, [*overrides, *words])
    except RecipeError as error:
        raise at(where, error) from None
    words += [word for word in settled(recipe) if word not in overrides]
    lints = of_job(recipe).items()
    return {place: replace(lint, key=f"{where}: {lint.key}") for place, lint in lints if lint.level == "error"}


def codes(path: str, overrides: list[str], lines: list[list[str]]) -> Iterator[dict[str, Code]]:
    """Of the tasks that change the rewards."""
    for words in lines:
        if any(word.strip().startswith("reward") for word in words):
            yield own_code(load(path, [*overrides, *words]))


def after(dependency: str | None) -> str | None:
    """What sbatch takes. A job alone means: after it has ended well."""
    if dependency is None:
        return None
    text = f"afterok:{dependency}" if dependency[:1].isdigit() else dependency
    if not DEPENDENCY.fullmatch(text):
        raise fail(Origin(COMMAND_LINE), "--dependency", f"{dependency!r} is no job; write 123, 123_4 or afterany:123")
    return text


def possible(script: str) -> bool:
    """Ask the scheduler whether it could ever run: sbatch itself accepts what no node can hold."""
    done = call(["sbatch", "--test-only"], script)
    text = " ".join(done.stderr.split())
    if done.returncode:
        print(visible(f"the cluster cannot run this job: {text}; change slurm: in the recipe"), file=sys.stderr)
        return False
    # Slurm also names a job number, which the job will not get.
    print(visible(f"could start at {text.rpartition(' to start at ')[2]}"), file=sys.stderr)
    return True


def report(recipe: Recipe, number: str) -> list[str]:
    """The job, and where to look."""
    name = f"{recipe.name}-{number}" + ("_TASK" if recipe.slurm.array else "")
    folder, tracking = Path(recipe.output_dir), recipe.tracking
    lines = [
        f"job        {number}",
        f"log        {folder / 'slurm' / name}.log",
        f"run        {folder / name}",
        f"metrics    {folder / name / 'metrics.jsonl'}",
    ]
    if tracking.wandb is not None and tracking.wandb.mode == "offline":
        lines.append(f"dashboard  wandb sync {folder / name / 'wandb' / 'offline-run-*'}")
    elif tracking.wandb is not None:
        team = f"{tracking.wandb.entity}/" if tracking.wandb.entity else ""
        lines.append(f"dashboard  wandb project {team}{tracking.wandb.project}, run {name}")
    if tracking.trackio is not None:
        lines.append(f"dashboard  trackio show --project {tracking.trackio.project}")
    return [*lines, f"status     entropostat status {number}"]
