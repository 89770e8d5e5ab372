"""Sources in given proportions: every generation has them, a prompt comes again when all of its source have come, always alike."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import islice
from random import Random

import pytest

from entropostat.data.curriculum import plan_order
from entropostat.data.example import DataError
from entropostat.data.mixture import slots

POOLS = {"small": range(7), "large": range(7, 500), "rare": range(500, 530)}
WEIGHTS = {"small": 2.0, "large": 5.0, "rare": 0.5}


def origin(row: int) -> str:
    return next(name for name, pool in POOLS.items() if row in pool)


def order(
    seed: int = 0, prompts: int = 8, steps: int | None = 50, weights: dict[str, float] | None = WEIGHTS
) -> list[int]:
    how = {"prompts": prompts, "steps_per_generation": 1, "total_steps": steps, "seed": seed}
    return plan_order(POOLS, [], weights=weights, **how).rows.tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("prompts", [1, 3, 8, 64])
def test_every_stretch_has_the_proportions_up_to_rounding(prompts: int) -> None:
    rows = order(prompts=prompts)
    counts: Counter[str] = Counter()
    for generation in range(50):
        counts.update(map(origin, rows[generation * prompts : (generation + 1) * prompts]))
        done = (generation + 1) * prompts
        for name, weight in WEIGHTS.items():
            assert abs(counts[name] - done * weight / 7.5) <= 1, (name, generation)


def test_each_prompt_of_a_source_comes_once_before_any_comes_again() -> None:
    rows = order()
    for name, pool in POOLS.items():
        drawn = [row for row in rows if row in pool]
        for start in range(0, len(drawn), len(pool)):
            part = drawn[start : start + len(pool)]
            assert len(set(part)) == len(part), name
    small = [row for row in rows if row in POOLS["small"]]
    assert len(small) > 3 * 7 and small[:7] != small[7:14]


def test_the_seed_decides_and_a_longer_run_begins_as_the_shorter() -> None:
    assert order(0) == order(0) != order(1)
    assert order(steps=80)[:400] == order(steps=50)


def test_sources_are_shuffled_within_a_generation() -> None:
    """Or each rank would have its own."""
    first = [tuple(names) for names in islice(slots({"a": 1.0, "b": 1.0}, 8, Random(0)), 20)]
    assert len(set(first)) > 10 and all(Counter(names) == {"a": 4, "b": 4} for names in first)


def test_a_pass_is_as_many_prompts_as_there_are() -> None:
    how = {"prompts": 8, "steps_per_generation": 1}
    assert len(plan_order(POOLS, [], weights=WEIGHTS, **how).rows) == 530 // 8 * 8  # type: ignore[arg-type]
    plain, weighted = order(weights=None, steps=None), order(weights={n: len(p) for n, p in POOLS.items()}, steps=None)
    assert sorted(plain) == sorted(set(plain)) and sorted(weighted) == sorted(set(weighted))


def test_a_stage_may_name_several_sources() -> None:
    stages = [("small", 4), ({"large": 3.0, "rare": 1.0}, 6)]
    planned = plan_order(POOLS, stages, prompts=4, steps_per_generation=Fraction(1))
    assert planned.edges == {"0/small": 0, "1/large+rare": 4} and planned.steps == 10
    rows = planned.rows.tolist()
    assert {origin(row) for row in rows[:16]} == {"small"}
    assert [Counter(map(origin, rows[i : i + 4])) for i in range(16, 40, 4)] == [{"large": 3, "rare": 1}] * 6
    with pytest.raises(DataError, match="unknown source 'lage', did you mean 'large'"):
        plan_order(POOLS, [({"lage": 1.0}, 4)], prompts=1, steps_per_generation=1)
