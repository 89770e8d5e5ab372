"""``entropostat evaluate``: measure models on a recipe's held-out prompts and evaluation sets, as a run of it does at its end."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entropostat.atomic import write_whole
from entropostat.cli import arguments
from entropostat.faults import SetupError
from entropostat.gate import runnable
from entropostat.recipe import Recipe, load
from entropostat.recipe.adapter import HUB_ID
from entropostat.recipe.arithmetic import visible_gpus
from entropostat.recipe.errors import COMMAND_LINE, Origin, fail, nearest
from entropostat.strict_json import dumps
from entropostat.visible import visible

SUFFIX = ".evaluation.json"
FIRST = ("pass@1", "pass@", "gap", "greedy", "reward/", "mean_length", "distinct", "entropy", "entropy_ratio")
"""Columns of the table, from the left; shares of strategies stand in the file alone."""


def add(parser: argparse.ArgumentParser) -> None:
    arguments.recipe(parser)
    parser.add_argument(
        "--model",
        nargs="+",
        action="extend",
        metavar="FOLDER_OR_ID",
        help="final/, a checkpoint or an adapter of a run, any other model's folder, or its id on the Hub; "
        "several are measured one after another; without it the recipe's own",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help=f"write one file of all results here, instead of MODEL{SUFFIX} beside each (of one from the Hub: in output_dir)",
    )
    arguments.as_json(parser)
    arguments.allow_code(parser)


def run(args: argparse.Namespace) -> int:
    """0: all are measured and written."""
    path = arguments.one(args)
    recipe = runnable(path, args.overrides)
    models = {name: opened(path, args.overrides, name) for name in dict.fromkeys(args.model or ())}
    models = models or {recipe.model.path or recipe.name: recipe}
    files = {name: args.out or beside(name, one) for name, one in models.items()}
    for file in files.values():
        check_place(Path(file))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not visible_gpus():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed would warn that it found nothing else
    from entropostat.trainers.alone import evaluate_models

    results: list[dict[str, Any]] = []

    def tell(result: dict[str, Any]) -> None:
        results.append(result)
        written = results if args.out else [result]
        Path(files[result["model"]]).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(files[result["model"]]), dumps(written, indent=1) + "\n")

    evaluate_models(recipe, models, args.allow_code, tell)
    if results:  # the main process of several
        print(dumps(results, indent=1) if args.json else "\n".join(map(visible, [*table(results), *_written(files)])))
    return 0


def opened(path: str, overrides: Sequence[str], name: str) -> Recipe:
    """The recipe with the model that ``name`` says, and nothing else changed. Raises RecipeError."""
    if not os.path.exists(name) and not HUB_ID.fullmatch(name):
        parent = Path(name).parent
        others = [other.name for other in parent.iterdir() if other.is_dir()] if parent.is_dir() else []
        near = nearest(Path(name).name, others) if others else "give the folder of a model, or an id of the Hub"
        raise fail(Origin(COMMAND_LINE), "--model", f"there is no folder {name}; {near}")
    mine = [f"model.path={json.dumps(name)}", *(f"model.{key}=null" for key in ("build", "package", "peft"))]
    return load(path, ["model.revision=null", *overrides, *mine])


def beside(name: str, recipe: Recipe) -> str:
    """``runs/a/final.evaluation.json`` for ``runs/a/final``."""
    if recipe.model.path is not None and (folder := Path(recipe.model.path)).is_dir():
        folder = folder.resolve()
        return str(folder.parent / f"{folder.name}{SUFFIX}")
    return str(Path(recipe.output_dir) / f"{name.replace('/', '--')}{SUFFIX}")


def check_place(file: Path) -> None:
    """Before anything is loaded. Raises SetupError."""
    there = next(folder for folder in (file.absolute().parent, *file.absolute().parents) if folder.exists())
    if file.is_dir() or not there.is_dir() or not os.access(there, os.W_OK):
        raise SetupError(f"cannot write {file}; say another file by --out")


def table(results: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each model and set."""
    rows = [(result, of) for result in results for of in result["prompts"]]
    parts = {key.split("/", 2)[2] for result in results for key in result["metrics"]}
    columns = [part for first in FIRST for part in sorted(parts, key=_number) if _under(first, part)]
    columns = list(dict.fromkeys(columns))
    cells = [["model", "set", "prompts", *columns]]
    for result, of in rows:
        values = (result["metrics"].get(f"evaluate/{of}/{column}") for column in columns)
        shown = ["-" if value is None else f"{value:.4g}" for value in values]
        cells.append([result["model"], of, str(result["prompts"][of]), *shown])
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    left = 2
    return [
        "  ".join(cell.ljust(width) if place < left else cell.rjust(width) for place, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in cells
    ]  # fmt: skip


def _under(first: str, part: str) -> bool:
    return part.startswith(first) if first.endswith(("@", "/")) else part == first


def _number(part: str) -> tuple[int, str]:
    """pass@4 before pass@16."""
    end = part.rpartition("@")[2]
    return (int(end) if end.isdecimal() else 0, part)


def _written(files: dict[str, str]) -> list[str]:
    return ["", *(f"written: {file}" for file in dict.fromkeys(files.values()))]
