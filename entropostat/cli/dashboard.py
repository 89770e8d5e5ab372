"""``entropostat dashboard``: wandb's workspace for a recipe or project, and what every metric is."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from entropostat.cli import arguments
from entropostat.visible import complain, visible


def add(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    workspace = kinds.add_parser("wandb", help="create or update the workspace online, or write it to a file")
    workspace.add_argument("subject", metavar="RECIPE|PROJECT", help="recipe file, or [entity/]project")
    workspace.add_argument("--entity", metavar="NAME", help="team or user; default: the recipe's, or that of the key")
    workspace.add_argument("--offline", metavar="FILE", help="write its JSON and stay offline")
    every = kinds.add_parser("metrics", help="every metric: unit and meaning")
    arguments.as_json(every)
    every.add_argument("--write", metavar="FILE", help="bring the tables of a page up to date")


def run(args: argparse.Namespace) -> int:
    if args.kind == "wandb":
        return wandb(args.subject, args.entity, args.offline)
    return metrics(args.json, args.write)


def wandb(subject: str, entity: str | None, offline: str | None) -> int:
    """Exit code 0, or 2 where the workspace cannot be made."""
    from entropostat.dashboard import workspace
    from entropostat.dashboard.chosen import of_any, of_recipe
    from entropostat.recipe import load
    from entropostat.recipe.machine_blocks import Wandb

    if subject.endswith((".yaml", ".yml")) or Path(subject).is_file():
        recipe = load(subject, [])
        block, chosen = recipe.tracking.wandb or Wandb.model_validate({}), of_recipe(recipe)
        team, project = block.entity, block.project
    else:
        team, _, project = subject.rpartition("/")
        chosen = of_any()
    team = entity or team or ""
    try:
        if not offline and not team:
            team = workspace.default_entity()
        made = workspace.build(chosen, team, project)
        if not offline:
            print(workspace.save(made))
    except (ImportError, ConnectionError) as error:
        complain("dashboard wandb", f"{subject}: {error}")
        return 2
    if offline:
        workspace.write(made, Path(offline))
        print(visible(f"wrote the workspace of {project} to {offline}"))
    return 0


def metrics(as_json: bool, page: str | None) -> int:
    """Print the schema, or bring the tables of a page up to date."""
    from entropostat.dashboard.page import write
    from entropostat.metrics import ROWS, table

    if page is not None:
        write(Path(page))
        print(visible(f"wrote the tables of {page}"))
    elif as_json:
        print(json.dumps({"rows": ROWS, "metrics": [dataclasses.asdict(metric) for metric in table()]}, indent=1))
    else:
        width = max(len(metric.key) for metric in table())
        for row, heading in ROWS.items():
            print(f"\n{heading}")
            for metric in table():
                if metric.row == row:
                    print(f"  {metric.key:<{width}}  {metric.unit:<7} {metric.meaning}")
    return 0
