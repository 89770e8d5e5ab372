"""wandb, trackio and TensorBoard: who the run is to them. Off by default; none needs an account.

The run's identity lies in its folder, so that what goes on from a checkpoint there, by ``--resume`` or as a batch job that was
put back into the queue, is the same run to the trackers. What the environment says (WANDB_MODE, WANDB_PROJECT, ...) comes
before the recipe.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

from transformers.integrations import TensorBoardCallback, TrackioCallback, WandbCallback

from entropostat.atomic import write_whole
from entropostat.metrics.terms import kinds
from entropostat.readers.json_object import json_object
from entropostat.recipe.recipe import Recipe
from entropostat.trainers.records.tensorboard_log import TensorboardLog
from entropostat.trainers.records.trackio_log import TrackioLog
from entropostat.trainers.records.wandb_log import WandbLog

IDENTITY = "tracking.json"


def run_id(folder: Path) -> str:
    """Of the run whose folder this is, made at the first call. On the main process. Raises ValueError for a file that holds none."""
    file = folder / IDENTITY
    if not os.path.lexists(file):
        write_whole(file, json.dumps({"id": secrets.token_hex(4)}) + "\n")
    identity = json_object(file, folder).get("id")
    if not isinstance(identity, str) or not re.fullmatch(r"[\w-]{1,64}", identity, re.ASCII):
        raise ValueError(f"{file}: holds no id of a run; remove it, and the trackers begin another one")
    return identity


def run_name(folder: Path) -> str:
    """trackio goes on with the run of a name: two folders of one name are still two runs."""
    return f"{folder.name}-{run_id(folder)}"


def attach_trackers(trainer: Any, recipe: Recipe, folder: Path) -> None:
    """Put our callbacks in the place of transformers', after all others, and start wandb's run.

    It is started here, so that a wrong key or project stops the run before it trains.
    """
    names = kinds(recipe.resolved.get("objective") or {})
    if recipe.tracking.wandb is not None:
        if trainer.is_world_process_zero():
            start_wandb(recipe, folder)
        trainer.remove_callback(WandbCallback)
        trainer.add_callback(WandbLog(folder, names))
    if recipe.tracking.trackio is not None:
        if trainer.is_world_process_zero():
            trainer.args.run_name = run_name(folder)
        trainer.remove_callback(TrackioCallback)
        trainer.add_callback(TrackioLog(names))
    if recipe.tracking.tensorboard is not None:
        trainer.remove_callback(TensorBoardCallback)
        trainer.add_callback(TensorboardLog(folder))


def start_wandb(recipe: Recipe, folder: Path) -> None:
    import wandb

    wandb.init(**wandb_settings(recipe, folder), config={"recipe": recipe.resolved}, reinit="finish_previous")


def wandb_settings(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Arguments of ``wandb.init``: what the recipe says where the environment says nothing, and the run's identity."""
    block = recipe.tracking.wandb
    assert block is not None
    mode = os.environ.get("WANDB_MODE") or (block.mode if block.mode != "auto" else _possible_mode())
    given = {
        "WANDB_MODE": ("mode", mode),
        "WANDB_DIR": ("dir", str(folder)),
        "WANDB_PROJECT": ("project", block.project),
        "WANDB_ENTITY": ("entity", block.entity),
        "WANDB_NAME": ("name", folder.name),
        "WANDB_RUN_GROUP": ("group", block.group or recipe.name),
        "WANDB_TAGS": ("tags", sorted({*block.tags, *methods(recipe)})),
        "WANDB_RUN_ID": ("id", run_id(folder)),
    }
    settings = {name: value for variable, (name, value) in given.items() if value and variable not in os.environ}
    # Offline there is nothing to ask: `wandb sync` puts the files of one id together.
    return settings | ({"resume": "allow"} if mode == "online" and "WANDB_RESUME" not in os.environ else {})


def methods(recipe: Recipe) -> set[str]:
    """Kinds of the terms and controllers of the objective."""
    from entropostat.recipe.facts import knobs

    scored = {term.kind for slot, term in recipe.terms}
    return scored | {knob.controller for knob in knobs(recipe)}


def _possible_mode() -> str:
    """online where wandb finds a key, in the environment or in its own file; it is not asked for one."""
    from wandb.sdk.lib import wbauth

    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    source = "entropostat"
    return (
        "online"
        if wbauth.authenticate_session(host=host, source=source, prompt=False, update_session=False)
        else "offline"
    )
