"""Two processes equal one, and two micro-batches equal one, on replayed rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import ranks

WORKER = Path(__file__).with_name("replay.py")
DEPENDS_ON_LAYOUT = ("bnpo", "bonus of trl")
"""Means over a micro-batch by definition: documented to change with its size."""


@pytest.fixture(scope="module", params=["float64", "float32"])
def runs(request: Any, tmp_path_factory: Any) -> tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]:
    folder, dtype = tmp_path_factory.mktemp("replay"), request.param
    one = ranks.replayed(WORKER, folder, dtype, world=1, rows=8, accumulation=1)
    two = ranks.replayed(WORKER, folder, dtype, world=2, rows=4, accumulation=1)
    accumulated = ranks.replayed(WORKER, folder, dtype, world=1, rows=4, accumulation=2)
    return dtype, one, two, accumulated


def distance(a: dict[str, Any], b: dict[str, Any]) -> tuple[float, float, float]:
    """Loss of the first step, its gradient relative to the norm, parameters after three steps of plain SGD."""
    gradient = float((a["grads"][0] - b["grads"][0]).norm() / a["grads"][0].norm())
    params = float((a["params"] - b["params"]).norm() / a["params"].norm())
    return abs(a["losses"][0] - b["losses"][0]), gradient, params


def test_the_result_does_not_depend_on_world_size_or_micro_batch(runs: Any) -> None:
    dtype, one, *others = runs
    limit = 1e-10 if dtype == "float64" else 1e-6
    checked = 0
    for name in set(one) - set(DEPENDS_ON_LAYOUT):
        assert one[name]["grads"][0].norm() > 1e-3, name
        for other in others:
            loss, gradient, params = distance(one[name], other[name])
            assert loss <= limit * max(1.0, abs(one[name]["losses"][0])), (name, loss)
            assert gradient <= limit, (name, gradient)
            assert params <= limit, (name, params)
            checked += 1
    assert checked == 2 * (len(one) - len(DEPENDS_ON_LAYOUT))


def test_controllers_reach_the_same_state(runs: Any) -> None:
    dtype, one, *others = runs
    (path, state), *_ = one["pid"]["control"].items()
    assert state["output"] != 0.2
    for other in others:
        for key, value in state.items():
            assert other["pid"]["control"][path][key] == pytest.approx(value, rel=1e-9 if dtype == "float64" else 1e-4)


ACROSS = "text/similarity_across"


def test_the_monitors_log_the_same_numbers(runs: Any) -> None:
    dtype, one, *others = runs
    tolerance = {"rel": 1e-8, "abs": 1e-10} if dtype == "float64" else {"rel": 2e-3, "abs": 1e-5}
    keys = set()
    for name in set(one) - set(DEPENDS_ON_LAYOUT):
        for other in others:
            assert other[name]["histogram"] == one[name]["histogram"]
            for before, after in zip(one[name]["monitors"], other[name]["monitors"], strict=True):
                # Completions of different prompts are compared where they lie on one rank.
                before, after = ({k: v for k, v in x.items() if k != ACROSS} for x in (before, after))
                assert after == {key: pytest.approx(value, **tolerance) for key, value in before.items()}, name
                keys |= {key for key, value in before.items() if value}
    assert (
        len(keys) > 60
        and {
            "forces/aepo/entropy",
            "forces/covariance/max",
            "text/distinct",
            "trust/ratio_max",
            "clip_ratio/low_mean",
            "clip_ratio/high_max",
            "cispo_clip_ratio",
            "state/rankme",
        }
        <= keys
    )


@pytest.mark.parametrize("name", DEPENDS_ON_LAYOUT)
def test_means_over_a_micro_batch_differ_as_documented(runs: Any, name: str) -> None:
    _, one, two, accumulated = runs
    assert distance(one[name], two[name])[1] > 1e-4
    assert distance(one[name], accumulated[name])[1] > 1e-4
