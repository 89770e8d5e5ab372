"""``entropostat dashboard``: wandb's workspace, and the metric schema as a table or as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from entropostat.recipe.machine_blocks import Wandb
from entropostat.visible import complain, visible


def wandb(subject: str, entity: str | None, offline: str | None) -> int:
    """Exit code 0, or 2 where the workspace cannot be made."""
    from entropostat.dashboard import workspace
    from entropostat.dashboard.chosen import of_any, of_recipe
    from entropostat.recipe import load

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
