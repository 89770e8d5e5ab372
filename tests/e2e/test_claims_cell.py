"""The evidence bench for a minute: plain GRPO ends where its recorded runs did, and one cell run again is the same."""

from __future__ import annotations

import json

import pytest

from benchmarks.claims import runner
from benchmarks.claims.cell import PLAIN, Added, Cell, whole
from benchmarks.claims.measures import of
from benchmarks.claims.store import Store, differences
from benchmarks.claims.tasks import SEEDS, TASKS

RARE = TASKS["rare"]
CELL = Cell("report", "rare", PLAIN, 0, SEEDS[0])
MARGIN = 0.15


@pytest.mark.slow
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
    assert stores[0].recipes[first["recipe"]] == whole(RARE, Added()) == json.loads(json.dumps(whole(RARE, Added())))
