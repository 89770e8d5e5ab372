"""The order is planned in whole generations and reaches every rank as planned."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import pytest
from support.tables import table

from entropostat.data.curriculum import generation_edges, plan_order
from entropostat.data.example import DataError, Example

POOLS = {"easy": range(10), "hard": range(10, 35)}
"""Rows of the two sources."""


def sources(order):
    return ["easy" if row in POOLS["easy"] else "hard" for row in order.rows.tolist()]


def written(order):
    """The table that the trainer reads."""
    made = table({name: [Example(f"{name}{i}", id=f"{name}{i}") for i in pool] for name, pool in POOLS.items()})
    assert {name: rows.places for name, rows in made.train.items()} == POOLS
    made.write_order(order.rows)
    return made.ordered()


def test_stages_follow_each_other_and_edges_are_generations():
    order = plan_order(POOLS, [("easy", 12), ("hard", 20)], prompts=4, steps_per_generation=4)
    assert sources(order) == ["easy"] * 12 + ["hard"] * 20
    assert order.edges == {"0/easy": 0, "1/hard": 12}
    assert order.steps == 32


@pytest.mark.parametrize(
    "steps, per, total, wanted",
    [
        ([120, 200], 4, None, [30, 80]),
        ([10, 10], 4, None, [3, 5]),  # 2.5 generations round up, the sum of 5 stays exact
        ([9, 9, 9], 4, None, [2, 5, 7]),
        ([1, 1, 1], 4, None, [1, 2, 3]),  # every stage has at least one generation
        ([120, 200], 4, 400, [30, 100]),  # the last stage is prolonged
        ([120, 200], 4, 100, [25, 25]),  # or cut off
        ([3, 3], Fraction(1, 2), None, [6, 12]),  # two generations a step
    ],
)
def test_edges_round_sums_to_whole_generations(steps, per, total, wanted):
    assert generation_edges(steps, Fraction(per), total) == wanted


def test_a_stage_longer_than_its_data_wraps_around_in_a_new_shuffle():
    order = plan_order(POOLS, [("easy", 30)], prompts=1, steps_per_generation=1, seed=3)
    rounds = [order.rows[i : i + 10].tolist() for i in (0, 10, 20)]
    assert all(sorted(r) == list(POOLS["easy"]) for r in rounds)
    assert len({tuple(r) for r in rounds}) == 3


def test_seed_decides_the_order():
    orders = [
        plan_order(POOLS, [("hard", 20)], prompts=1, steps_per_generation=1, seed=s).rows.tolist() for s in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]


def test_a_stage_that_is_cut_off_has_no_edge():
    order = plan_order(POOLS, [("easy", 8), ("hard", 8)], prompts=2, steps_per_generation=4, total_steps=8)
    assert set(sources(order)) == {"easy"} and order.edges == {"0/easy": 0} and order.steps == 8


def test_without_stages_all_sources_are_mixed():
    once = plan_order(POOLS, [], prompts=5, steps_per_generation=2)
    assert sorted(once.rows.tolist()) == list(range(35))
    assert once.edges == {} and once.steps == 14
    assert len(set(sources(once)[:15])) == 2
    longer = plan_order(POOLS, [], prompts=5, steps_per_generation=2, total_steps=99)
    assert len(longer.rows) == 50 * 5


def test_unknown_source_and_too_little_data_are_errors():
    with pytest.raises(DataError, match=r"data.curriculum: unknown source 'esy', did you mean 'easy'"):
        plan_order(POOLS, [("esy", 4)], prompts=1, steps_per_generation=1)
    with pytest.raises(DataError, match="35 training prompts do not fill one generation of 64"):
        plan_order(POOLS, [], prompts=64, steps_per_generation=1)


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("iterations", [1, 2])
def test_trl_and_accelerate_deliver_the_planned_order(world, iterations):
    """The trainer's own sampler, in accelerate's shards: each generation holds the planned prompts, each in a whole
    group, and each micro-step of a generation reads the same ones.
    """
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler
    from trl import GRPOTrainer

    per_device, steps_per_generation, group = 4, 2, 2
    generation = per_device * world * steps_per_generation
    prompts = generation // group
    accumulation = 2
    per = Fraction(steps_per_generation * iterations, accumulation)
    order = plan_order(POOLS, [("easy", 6), ("hard", 6)], prompts=prompts, steps_per_generation=per)
    table = written(order)
    args = SimpleNamespace(generation_batch_size=generation, steps_per_generation=steps_per_generation, seed=0)
    trainer = SimpleNamespace(
        train_dataset=table, num_generations=group, args=args, num_iterations=iterations, shuffle_dataset=False
    )
    sampler = GRPOTrainer._get_train_sampler(trainer)
    batches = BatchSampler(sampler, per_device * steps_per_generation, drop_last=False)
    ranks = [list(BatchSamplerShard(batches, world, rank)) for rank in range(world)]
    micro_steps = list(zip(*ranks, strict=True))
    repeats = steps_per_generation * iterations
    assert len(micro_steps) == order.steps * accumulation
    for number, parts in enumerate(micro_steps):
        first = number // repeats * prompts
        wanted = [index for index in range(first, first + prompts) for _ in range(group)]
        assert [index for part in parts for index in part] == wanted
    step_of_switch = order.edges["1/hard"]
    before = {
        table[i]["source"] for parts in micro_steps[: step_of_switch * accumulation] for part in parts for i in part
    }
    after = {
        table[i]["source"] for parts in micro_steps[step_of_switch * accumulation :] for part in parts for i in part
    }
    assert (before, after) == ({"easy"}, {"hard"})


def test_a_repeated_example_is_stored_once_and_read_in_order():
    order = plan_order(POOLS, [("easy", 40), ("hard", 40)], prompts=2, steps_per_generation=1)
    ordered = written(order)
    assert ordered["id"][:] == [f"{name}{row}" for name, row in zip(sources(order), order.rows.tolist(), strict=True)]
    assert ordered["source"][:] == sources(order)
    assert ordered.data.num_rows == 35


def test_dataset_columns_and_system_prompt():
    examples = [Example("q", "a", {"n": 1}, "x"), Example([{"role": "user", "content": "r"}], None, {}, "y")]
    rows = table({"s": examples[:1]}).rows()
    assert rows.to_list() == [{"prompt": "q", "answer": "a", "meta": '{"n": 1}', "source": "s", "id": "x"}]
    spoken = table({"s": examples}, system="Be brief.").rows().to_list()
    assert [[m["content"] for m in row["prompt"]] for row in spoken] == [["Be brief.", "q"], ["Be brief.", "r"]]
    plain = table({"s": examples}, system="").rows().to_list()
    assert [[m["role"] for m in row["prompt"]] for row in plain] == [["user"], ["user"]]
