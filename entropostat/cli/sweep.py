"""``entropostat sweep``: train a grid over a recipe's keys, times seeds, and compare.

Runs are on this machine or a Slurm array. Imports no torch.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from entropostat import gate
from entropostat.atomic import write_whole
from entropostat.cli import arguments
from entropostat.cli.grid import Axis, Point, expand, parse_seeds
from entropostat.faults import SetupError
from entropostat.readers.json_object import json_object
from entropostat.readers.values import plain
from entropostat.recipe import load
from entropostat.recipe.arithmetic import visible_gpus
from entropostat.recipe.errors import COMMAND_LINE, Origin, display, fail
from entropostat.recipe.lint import Lint
from entropostat.slurm.job import settled
from entropostat.visible import visible

PLAN = "sweep.json"


@dataclass(frozen=True)
class Options:
    grid: Sequence[str]
    seeds: str | None = None
    jobs: int | None = None
    """Runs at a time; None: one for each core, or one where there are GPUs, which a run takes for itself."""
    allow_code: bool = False
    dry_run: bool = False
    slurm: bool = False


def add(parser: argparse.ArgumentParser) -> None:
    arguments.recipe(parser)
    arguments.allow_code(parser)
    parser.add_argument(
        "--grid", action="append", default=[], metavar="KEY=V,V", help="an axis of the grid; may come several times"
    )
    parser.add_argument("--seeds", metavar="SEEDS", help="such as 0-4 or 1,5,7; default: the recipe's")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at a time; default: one for each core, or 1")
    parser.add_argument("--dry-run", action="store_true", help="print the runs and stop")
    parser.add_argument("--slurm", action="store_true", help="as a job array instead of on this machine")


def run(args: argparse.Namespace) -> int:
    options = Options(args.grid, args.seeds, args.jobs, args.allow_code, args.dry_run, args.slurm)
    return sweep(arguments.one(args), args.overrides, options)


def sweep(path: str, overrides: list[str], options: Options) -> int:
    """Exit code 0; 1 where a run failed. Every recipe of the grid is checked before one starts."""
    recipe = load(path, overrides)
    axes = [Axis.parse(text) for text in options.grid]
    points = expand(recipe.name, axes, parse_seeds(options.seeds))
    folder = Path(recipe.output_dir) / f"{recipe.name}-sweep"
    words = {point.name: settings(point, overrides, folder) for point in points}
    wrong = {name: refused(path, given, options.slurm) for name, given in words.items()}
    if any(wrong.values()):
        raise gate.Refused(wrong)
    print(visible(f"{len(points)} runs -> {folder}"), file=sys.stderr)
    if options.slurm:
        return queue(path, overrides, points, folder, options)
    if options.dry_run:
        print("\n".join(visible(shlex.join(["entropostat", "train", path, *given])) for given in words.values()))
        return 0
    claim(folder, {"recipe": display(recipe.path), "overrides": overrides, "grid": list(options.grid)})
    failed = execute(path, words, folder, options)
    for name in failed:
        print(visible(f"{name}: failed; its last lines are in {folder / 'logs' / name}.log"), file=sys.stderr)
    done = [str(folder / name) for name in words if finished(folder / name)]
    if done:
        from entropostat.compare.table import run as compare

        compare(done, str(folder / "compare.png"))
    return 1 if failed else 0


def queue(path: str, overrides: list[str], points: Sequence[Point], folder: Path, options: Options) -> int:
    """One array, a task for each run, and a job behind it that compares them."""
    from entropostat.cli.submit import submit
    from entropostat.slurm.afterwards import LOG, comparison
    from entropostat.slurm.queue import call

    where = [*overrides, f"output_dir={json.dumps(str(folder))}"]
    lines = [[*point.overrides, *([] if point.seed is None else [f"seed={point.seed}"])] for point in points]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as tasks:
        tasks.write("".join(f"{shlex.join(words)}\n" for words in lines))
        tasks.flush()
        code, number = submit(path, where, options.allow_code, options.dry_run, None, None, tasks.name)
    if code or number is None:
        return code
    recipe = load(path, where)
    done = call(["sbatch", "--parsable"], comparison(recipe.slurm, recipe.name, number, folder.absolute(), Path.cwd()))
    if done.returncode:
        raise SetupError(f"sbatch: {' '.join(done.stderr.split())}")
    behind = done.stdout.strip().partition(";")[0]
    print(visible(f"compare    {folder / LOG}, when all have ended (job {behind})"))
    return 0


def refused(path: str, given: list[str], slurm: bool) -> list[Lint]:
    """Why a run of the grid cannot be. The machine that submits is not the one that runs: what a job leaves open is settled as
    by `submit`, which looks at the rest."""
    recipe = load(path, given)
    if slurm:
        return gate.reasons(gate.findings(load(path, [*given, *settled(recipe)])))
    return gate.reasons_here(recipe)


def settings(point: Point, overrides: Sequence[str], folder: Path) -> list[str]:
    """The overrides of one run."""
    own = [*point.overrides, f"name={json.dumps(point.name)}", f"output_dir={json.dumps(str(folder))}"]
    return [*overrides, *own, *([] if point.seed is None else [f"seed={point.seed}"])]


def claim(folder: Path, plan: dict[str, object]) -> None:
    """Write what the folder is for. Going on with the same sweep is fine, another one under its name is not."""
    file = folder / PLAN
    try:
        if json_object(file, folder) != plain(plan):
            what = f"{folder} holds a sweep with other overrides or another grid ({file})"
            raise fail(Origin(COMMAND_LINE), "", f"{what}; give this one a name: name=...")
    except FileNotFoundError:
        pass
    except ValueError as error:
        raise fail(Origin(COMMAND_LINE), "", f"{error}; remove it, or give this sweep a name: name=...") from None
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(plan, indent=1) + "\n")


def execute(path: str, words: dict[str, list[str]], folder: Path, options: Options) -> list[str]:
    """Run what is not finished; names of the runs that failed. What was cut off goes on from its last checkpoint."""
    missing = [name for name in words if not finished(folder / name)]
    if len(missing) < len(words):
        print(f"{len(words) - len(missing)} are finished already", file=sys.stderr)
    (folder / "logs").mkdir(exist_ok=True)
    lock, count = threading.Lock(), [0]

    def one(name: str) -> int:
        code = _train(path, words[name], folder / "logs" / f"{name}.log", options.allow_code)
        with lock:
            count[0] += 1
            ended = "done" if code == 0 else f"ended with exit code {code}"
            print(f"[{count[0]}/{len(missing)}] {name}: {ended}", file=sys.stderr, flush=True)
        return code

    at_once = options.jobs or (1 if visible_gpus() else os.cpu_count() or 1)
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        codes = list(pool.map(one, missing))
    return [name for name, code in zip(missing, codes, strict=True) if code]


def finished(folder: Path) -> bool:
    """A summary that cannot be read is that of no finished run."""
    try:
        return json_object(folder / "summary.json", folder).get("finished") is True
    except (FileNotFoundError, ValueError):
        return False


def _train(path: str, overrides: Sequence[str], log: Path, allow_code: bool) -> int:
    command = [sys.executable, "-m", "entropostat", "train", path, *overrides, "--resume", "auto"]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    with log.open("a") as stream:
        return subprocess.run(
            [*command, *(["--allow-code"] if allow_code else [])],
            check=False, env=environment, stdout=stream, stderr=subprocess.STDOUT,
        ).returncode  # fmt: skip
