"""The prompts of a run: read once on each machine into a table that all of its processes map, in the order of training."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import weakref
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
from filelock import FileLock, Timeout
from trl import GRPOConfig

from entropostat.data.curriculum import Order, Pools, plan_order
from entropostat.data.dataset import Table
from entropostat.data.example import DataError, Prompt
from entropostat.data.prepare import Lengths
from entropostat.recipe.prompts import prepare_prompts
from entropostat.recipe.recipe import Recipe
from entropostat.trainers.build.cache import cache_root
from entropostat.trainers.build.models import load_tokenizer
from entropostat.trainers.build.policy import find_model
from entropostat.trainers.ranks import on_each_machine
from entropostat.trainers.trl.config import prompts_per_generation

OWNER = "owner.lock"
"""Held while the process lives that wrote the table, and those it forked."""
KEPT = (Timeout, OSError, NotImplementedError)
"""Somebody holds the lock, or the file system has none."""


@dataclass(frozen=True)
class Planned:
    """An ``Order`` whose rows are on disk."""

    steps: int
    edges: dict[str, int]
    dataset: datasets.Dataset


def load_data(recipe: Recipe) -> Table:
    """Every rank calls. Its files stay as long as the writer's object does. Raises DataError, on all ranks, for what cannot be read
    and where nothing is left.
    """
    made: list[Table] = []

    def make() -> tuple[str, str]:
        folder, lock = _folder()
        try:
            table = prepare_prompts(recipe, folder, _lengths(recipe))
        except BaseException as error:
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(folder)  # where there was no room
            _remove(folder, lock, os.getpid())
            raise
        weakref.finalize(table, _remove, folder, lock, os.getpid())
        made.append(table)
        return str(folder), table.facts["digest"]

    (folder, digest), *others = on_each_machine(make)
    if any(other != digest for _, other in others):
        raise DataError(
            "data.sources: two machines of this run read different prompts; give them the same files, and the same "
            "`revision` of what comes from the Hub"
        )
    return made[0] if made else Table(Path(folder))


def lay_out(recipe: Recipe, config: GRPOConfig, table: Table) -> Planned:
    """The order of training, planned and written once on each machine. Every rank calls."""

    def plan() -> tuple[int, dict[str, int]]:
        order = plan_prompts(recipe, config, {name: rows.places for name, rows in table.train.items()})
        table.write_order(order.rows)
        return order.steps, order.edges

    (steps, edges), *_ = on_each_machine(plan)
    return Planned(steps, edges, table.ordered())


def check_template(tokenizer: Any, dataset: datasets.Dataset) -> None:
    """Raises ValueError where prompts are conversations, and the tokenizer cannot say them."""
    if tokenizer.chat_template is None and not isinstance(dataset[0]["prompt"], str):
        raise ValueError(
            "data.system: prompts are conversations, and the model's tokenizer has no chat template; leave data.system out "
            "and give prompts as text, or give the tokenizer a template"
        )


def tell(table: Table) -> None:
    """What was dropped, source by source."""
    for dropped in table.dropped:
        if dropped.reasons:
            print(dropped, file=sys.stderr, flush=True)


def plan_prompts(recipe: Recipe, config: GRPOConfig, pools: Pools) -> Order:
    """The prompts in the order of training: of max_steps, of the curriculum's stages, or of num_train_epochs passes."""
    slices = config.steps_per_generation or config.gradient_accumulation_steps
    cycle = Fraction(slices * config.num_iterations, config.gradient_accumulation_steps)
    stages = [(stage.source, stage.steps) for stage in recipe.data.curriculum or []]
    how: dict[str, Any] = {
        "prompts": prompts_per_generation(config),
        "steps_per_generation": cycle,
        "seed": recipe.seed,
        "weights": recipe.data.weights,
    }
    if config.max_steps > 0:
        return plan_order(pools, stages, total_steps=config.max_steps, **how)
    order = plan_order(pools, stages, **how)
    if stages or config.num_train_epochs == 1:
        return order
    total = max(int(order.steps * config.num_train_epochs), 1)
    return replace(plan_order(pools, stages, total_steps=total, **how), steps=total)


def _lengths(recipe: Recipe) -> Lengths:
    """As TRL renders a prompt for generation. The tokenizer is opened when the first is asked for."""
    opened: list[Any] = []
    given = recipe.trainer.get("chat_template_kwargs") or {}
    options: dict[str, Any] = json.loads(given) if isinstance(given, str) else given

    def lengths(prompts: list[Prompt]) -> list[int]:
        if not opened:
            opened.append(load_tokenizer(find_model(recipe), revision=recipe.model.revision))
        tokenizer = opened[0]
        if isinstance(prompts[0], str):
            found = tokenizer(prompts)["input_ids"]
        else:
            chat = {"add_generation_prompt": True, "tokenize": True, "return_dict": True}
            found = tokenizer.apply_chat_template(prompts, **chat, **options)["input_ids"]
        return [len(ids) for ids in found]

    return lengths


def _folder() -> tuple[Path, FileLock]:
    """A new one in the cache, which lies on a disk, and the lock that keeps it; among temporary files where nobody may write there.
    What a killed run has left in the cache goes.
    """
    home = cache_root() / "prompts"
    try:
        home.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=home))
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="entropostat-prompts-"))
    for left in home.iterdir() if home.is_dir() else ():
        if (left / OWNER).is_file():
            with contextlib.suppress(*KEPT), FileLock(left / OWNER, timeout=0):
                shutil.rmtree(left, ignore_errors=True)
    lock = FileLock(folder / OWNER)
    with contextlib.suppress(*KEPT):
        lock.acquire(timeout=0)
    return folder, lock


def _remove(folder: Path, lock: FileLock, owner: int) -> None:
    if os.getpid() == owner:  # a forked child has a copy of the object
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
