"""The evidence bench for a minute: plain GRPO ends where its recorded runs did, and one cell run again is the same."""

from __future__ import annotations

import json

from benchmarks.claims import runner
from benchmarks.claims.cell import PLAIN, Added, Cell, seeded, whole
from benchmarks.claims.measures import of
from benchmarks.claims.methods import added, table
from benchmarks.claims.store import Store, differences
from benchmarks.claims.tasks import SEEDS, TASKS
from entropostat.gate import check
from entropostat.recipe import RecipeError, load

RARE = TASKS["rare"]
CELL = Cell("report", "rare", PLAIN, 0, SEEDS[0])
MARGIN = 0.15


def test_every_row_of_the_table_is_a_recipe_that_runs(tmp_path):
    task, file, refused = TASKS["hard"], tmp_path / "recipe.yaml", {}
    for name in table():
        tree = whole(task, added(name, task))
        file.write_text(json.dumps(tree))
        try:
            check(load(str(file), seeded(tree, task, SEEDS[0], twin=False)))
        except RecipeError as error:
            refused[name] = str(error)
    assert refused == {}


def test_plain_grpo_finds_what_is_rare_as_it_did_and_twice_the_same(tmp_path):
    stores = [Store(tmp_path / name) for name in ("first", "second")]
    for store in stores:
        assert runner.complete(store, {CELL: Added()}, jobs=1) == 1
    first, second = (store.cells[str(CELL)] for store in stores)
    assert first["status"] == "done" and differences(first, second) == []
    assert first["samples"] == 64 * RARE.steps
    recorded = of(Store().of("report", "rare", PLAIN), RARE, "success").values()
    (ended,) = of({0: first}, RARE, "success").values()
    assert min(recorded) - MARGIN < ended < max(recorded) + MARGIN
    assert stores[0].made(first["recipe"]).tree() == whole(RARE, Added())
