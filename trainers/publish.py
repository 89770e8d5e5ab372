"""What a finished run gives away: its policy with a card, the same as one whole model, and both on their way to the Hub."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entropostat.recipe.recipe import Recipe
from entropostat.secrets import redacted
from entropostat.trainers.build.merge import merge_apart
from entropostat.trainers.records.files import versions
from entropostat.trainers.records.hub import push
from entropostat.trainers.records.model_card import model_card
from entropostat.trainers.state.final import FINAL, save_policy
from entropostat.visible import visible


def publish(recipe: Recipe, trainer: Any, folder: Path, measured: Mapping[str, float], last: Mapping[str, Any]) -> None:
    """``measured``: the evaluation at the end; ``last``: the last logged row. On all ranks: they gather the weights together."""
    uploads = bool(trainer.args.push_to_hub)
    card = model_card(recipe, measured, last, versions(), asks=uploads) if trainer.args.should_save else None
    save_policy(trainer, folder / FINAL, card)
    if not trainer.accelerator.is_main_process:
        return
    merges = recipe.model.peft is not None and recipe.model.peft.merge
    if merges and (said := merge_apart(folder, recipe.model.dtype)) is not None:
        print(visible(redacted(said)), file=sys.stderr, flush=True)
    if uploads:
        push(folder / FINAL, trainer.args)
