"""The policy that a run ends with, in ``final/``: what transformers, vLLM and lm-eval open, and what goes to the Hub.

Beside the weights, under the names of their class, it has the tokenizer, a card, and a generation config that ends completions
where training did. Nothing else lies beside the weights: no pickled arguments, which hold what the environment gave, and what learned
beside it, a critic or log Z, in a folder of its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.trainer import TRAINING_ARGS_NAME

from entropostat.atomic import whole_folder
from entropostat.trainers.model.adapter import REFERENCE
from entropostat.trainers.model.head_tap import APART
from entropostat.trainers.model.vocabulary import innermost

FINAL, CARD = "final", "README.md"
GENERATION, CONFIG = "generation_config.json", "config.json"


def save_policy(trainer: Any, final: Path, card: str | None = None) -> None:
    """The trained policy in a folder of its own, whole or not there. On all ranks."""
    ranks = trainer.accelerator
    wait, lead, sync = ranks.wait_for_everyone, trainer.args.should_save, ranks.is_local_main_process
    with whole_folder(final, wait=wait, lead=lead, sync=sync) as folder:
        trainer.save_model(str(folder), _internal_call=True)
        if trainer.args.should_save:
            tidy(folder, [head.head_tap.file for head in trainer.heads])
            write_generation_config(innermost(trainer.model), trainer.eos_token_ids, folder)
            if card is not None:
                (folder / CARD).write_text(card, encoding="utf-8")


def tidy(folder: Path, heads: Iterable[str]) -> None:
    """What TRL's way of saving leaves in ``folder`` that is no part of a policy; ``heads``: the files of what learned beside it."""
    shutil.rmtree(folder / REFERENCE, ignore_errors=True)  # the reference of an adapter is another one
    (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
    for file in heads:
        if (folder / file).exists():
            (folder / APART).mkdir(exist_ok=True)
            os.replace(folder / file, folder / APART / file)
    config = folder / CONFIG
    if config.exists():
        content = json.loads(config.read_text(encoding="utf-8"))
        content.pop("use_cache", None)  # off for training, and slow for all that comes after
        config.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_generation_config(model: PreTrainedModel, ends: list[int], folder: Path) -> None:
    """Of the model, with every token that ended a completion in training: vLLM reads the list here, beside the tokenizer's one."""
    content: dict[str, Any] = json.loads(model.generation_config.to_json_string())
    content.pop("_from_model_config", None)
    content["eos_token_id"] = ends if len(ends) > 1 else ends[0]
    (folder / GENERATION).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
