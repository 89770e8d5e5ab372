"""The prompts of a run as verl reads them: ``entropostat data RECIPE --verl FOLDER``.

train.parquet has the prompts in the very order in which TRL would be asked them, a prompt again and again where the run comes back to
it, so that curriculum, mixture and seed go along; verl must then not shuffle. val.parquet has what an evaluation asks.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from entropostat.data.curriculum import Order, Pools, plan_order
from entropostat.data.dataset import Table, example
from entropostat.data.example import Example
from entropostat.data.prepare import Lengths
from entropostat.data.sample import spread
from entropostat.recipe.arithmetic import arithmetic, total_steps, trainer_value
from entropostat.recipe.prompts import prepare_prompts
from entropostat.recipe.recipe import Recipe
from entropostat.verl.prepared import COLUMN, TESTS, TRAIN

CHUNK = 4096
"""Rows that are held at once."""


def write(recipe: Recipe, folder: Path, lengths: Lengths) -> dict[Path, int]:
    """File -> its rows. ``lengths`` as in ``prepare_prompts``. Raises DataError, and OSError where there is no room."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        table = prepare_prompts(recipe, Path(scratch), lengths)
        order = ordered(recipe, {name: rows.places for name, rows in table.train.items()})
        stored = table.rows()
        trained = (example(stored[int(place)]) for place in order.rows)
        return {
            folder / TRAIN: _write(folder / TRAIN, trained, "train"),
            folder / TESTS: _write(folder / TESTS, _asked(recipe, table), "test"),
        }


def ordered(recipe: Recipe, pools: Pools) -> Order:
    """Of max_steps, of the curriculum's stages, or of num_train_epochs passes, as the trainer plans it."""
    sizes, total = arithmetic(recipe), total_steps(recipe)
    stages = [(stage.source, stage.steps) for stage in recipe.data.curriculum or []]
    how: dict[str, Any] = {
        "prompts": sizes.prompts,
        "steps_per_generation": sizes.updates,
        "seed": recipe.seed,
        "weights": recipe.data.weights,
    }
    if total is not None:
        return plan_order(pools, stages, total_steps=total, **how)
    order, epochs = plan_order(pools, stages, **how), trainer_value(recipe, "num_train_epochs")
    if stages or epochs == 1:
        return order
    steps = max(int(order.steps * epochs), 1)
    return replace(plan_order(pools, stages, total_steps=steps, **how), steps=steps)


def _asked(recipe: Recipe, table: Table) -> Iterator[Example]:
    """Evenly over each set; of every training source without any at least one, as verl takes no empty file."""
    found = [row for rows in table.tests.values() for row in spread(rows, recipe.evaluate.prompts)]
    yield from found or [rows[0] for rows in table.train.values() if rows]


def row(asked: Example, index: int, split: str) -> dict[str, Any]:
    """The columns that verl's dataset and reward workers read."""
    messages = [{"role": "user", "content": asked.prompt}] if isinstance(asked.prompt, str) else asked.prompt
    told = {"id": asked.id, "asked": asked.text, "meta": json.dumps(dict(asked.meta))}
    return {
        "data_source": asked.source,
        COLUMN: [{"role": message["role"], "content": message["content"]} for message in messages],
        "reward_model": {"style": "rule", "ground_truth": asked.answer},
        "extra_info": {"index": index, "split": split, **told},
    }


def _write(file: Path, examples: Iterable[Example], split: str) -> int:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    text, index = pa.string(), pa.int64()
    schema = pa.schema(
        {
            "data_source": text,
            COLUMN: pa.list_(pa.struct({"role": text, "content": text})),
            "reward_model": pa.struct({"style": text, "ground_truth": text}),
            "extra_info": pa.struct({"index": index, "split": text, "id": text, "asked": text, "meta": text}),
        }
    )
    count, held = 0, []
    part = file.with_suffix(".part")  # nobody takes half a file for a whole one
    with pq.ParquetWriter(str(part), schema) as writer:
        for count, each in enumerate(examples, 1):
            held.append(row(each, count - 1, split))
            if len(held) == CHUNK:
                writer.write_table(pa.Table.from_pylist(held, schema))
                held = []
        if held:
            writer.write_table(pa.Table.from_pylist(held, schema))
    part.replace(file)
    return count
