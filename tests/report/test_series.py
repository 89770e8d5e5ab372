"""Thinning and packing, against the numbers that went in. No browser."""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entropostat.readers.run_folder import Run
from entropostat.report.series import BUCKETS, BUDGET, Axes, Column, Grid, columns, pack, pack24


def thinned(column: Column, others: tuple[Column, ...] = ()) -> dict[str, Any]:
    axes = Axes()
    packed = pack(column, Grid.over([column, *others]), axes)
    unpacked = {
        "steps": np.frombuffer(b64decode(axes.packed[packed["x"]]), "<u4"),
        "v": np.frombuffer(b64decode(packed["v"]), "<f8"),
    }
    for name in ("m", "lo", "hi"):
        raw = np.frombuffer(b64decode(packed[name]), np.uint8).reshape(-1, 3)
        unpacked[name] = np.concatenate([np.zeros((len(raw), 1), np.uint8), raw], 1).copy().view("<f4")[:, 0]
    return unpacked


def test_a_bucket_has_min_mean_max_and_its_last_recorded_step() -> None:
    values = np.random.default_rng(0).normal(size=10_000)
    thin = thinned(Column(np.arange(1, 10_001), values))
    assert len(thin["steps"]) == BUCKETS == 500
    assert list(thin["steps"]) == list(range(20, 10_001, 20))
    np.testing.assert_array_equal(thin["v"], values[19::20])  # every bit
    by_bucket = values.reshape(500, 20)
    for name, wanted in (("m", by_bucket.mean(1)), ("lo", by_bucket.min(1)), ("hi", by_bucket.max(1))):
        np.testing.assert_allclose(thin[name], wanted, rtol=1.6e-5)


def test_overlaid_curves_share_their_steps_whatever_they_miss() -> None:
    """A bucket is a span of steps and not a number of points: a metric with holes has its buckets where the others have them."""
    every = Column(np.arange(1, 5001), np.arange(5000.0))
    holes = Column(np.arange(7, 5001, 3), np.arange(1665.0))
    thin = thinned(holes, (every,))
    edges = (thin["steps"] - 1) // 10
    assert len(set(edges)) == len(edges) <= BUCKETS
    assert set(thin["steps"]) <= set(holes.steps)


def test_a_short_series_is_kept_as_it_is_and_a_constant_one_is_one_number() -> None:
    axes = Axes()
    column = Column(np.arange(1, 500), np.random.default_rng(0).normal(size=499))
    grid = Grid.over([column])
    packed = pack(column, grid, axes)
    assert set(packed) == {"x", "v"}
    assert b64decode(packed["v"]) == struct.pack("<499d", *column.values)
    assert pack(Column(column.steps, np.full(499, 0.1)), grid, axes) == {"x": packed["x"], "c": 0.1}
    assert len(axes.packed) == 1


def test_many_series_get_fewer_buckets_so_that_the_file_stays_small() -> None:
    rows = np.random.default_rng(0).normal(size=(1_000, 3_000))
    given = [Column(np.arange(3_000), row) for row in rows]
    grid, axes = Grid.over(given), Axes()
    size = sum(len(text) for column in given for text in pack(column, grid, axes).values() if isinstance(text, str))
    assert 40 <= grid.buckets < 120
    assert 0.8 * BUDGET < size < 1.1 * BUDGET


def test_drawn_numbers_keep_five_digits_and_survive_the_largest() -> None:
    values = np.array([0.1, -1 / 3, 1e-30, 12345.678, 1e300, -1e300, 0.0])
    raw = np.frombuffer(b64decode(pack24(values)), np.uint8).reshape(-1, 3)
    back = np.concatenate([np.zeros((len(raw), 1), np.uint8), raw], 1).copy().view("<f4")[:, 0]
    np.testing.assert_allclose(back[[0, 1, 2, 3, 6]], values[[0, 1, 2, 3, 6]], rtol=1.6e-5)
    assert back[4] > 1e38 and back[5] < -1e38


def test_of_a_step_that_was_logged_twice_the_later_row_counts(tmp_path: Path) -> None:
    rows = [{"step": 1, "a": 1.0}, {"step": 2, "a": 2.0}, {"step": 3, "a": 9.0}, {"step": 2, "a": 5.0, "b": True}]
    rows += [{"step": 4, "a": None}, {"step": 5, "a": float("inf")}, {"a": 7.0}, {"step": 6, "a": "text"}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = Run.read(tmp_path)
    table = columns(run)
    assert [*zip(table["a"].steps, table["a"].values, strict=True)] == [(1, 1.0), (2, 5.0), (3, 9.0)]
    assert "b" not in table  # true is no number
    assert "1 row left out (the first in row 7: it has no step), 2 values left out" in run.damage[0]


@pytest.mark.parametrize("steps", [[5], [5, 900_000]])
def test_a_grid_covers_whatever_steps_there_are(steps: list[int]) -> None:
    grid = Grid.over([Column(np.array(steps), np.arange(float(len(steps))))])
    assert (steps[-1] - grid.first) // grid.width < grid.buckets
    assert Grid.over([]).width >= 1
