"""Statistics of prompt groups that lie on two processes are those of one, in a batch and in a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from distributed.group_ranks import GROUPS, READERS, SPEC, UNSCORED
from support import ranks, tiny
from unit.rl_support import label

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective

WORKER = Path(__file__).with_name("group_ranks.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    """Number of processes -> what each of them wrote."""
    folder, policy = tmp_path_factory.mktemp("groups"), tiny.saved()
    kept = {}
    for world in (1, 2):
        where = {} if world == 1 else {"strategy": "ddp-cpu", "world": 2}
        ranks.run(WORKER, policy, folder / str(world), **where)
        files = sorted(folder.glob(f"{world}-*.pt"))
        kept[world] = [torch.load(file, weights_only=True) for file in files]
        assert len(kept[world]) == world
    return kept


@pytest.mark.parametrize("i", range(len(READERS)), ids=[label(setting) for setting in READERS])
def test_whatever_reads_groups_gives_the_same_on_two_processes(found: dict[int, list[dict[str, Any]]], i: int) -> None:
    (one,), two = ([rank["statistics"] for rank in found[world]] for world in (1, 2))
    for case in (f"{order}, {scored}: {i}" for order in GROUPS for scored in UNSCORED):
        advantages, stats, metrics = one[case]
        torch.testing.assert_close(torch.cat([rank[case][0] for rank in two]), advantages, rtol=1e-12, atol=1e-12)
        for name, values in stats.items():
            for key, value in values.items():
                both = torch.cat([rank[case][1][name][key] for rank in two])
                torch.testing.assert_close(both, value, rtol=1e-12, atol=1e-12)
        for rank in two:
            assert rank[case][2].keys() == metrics.keys()
            for key, value in metrics.items():
                torch.testing.assert_close(rank[case][2][key], value, rtol=1e-6, atol=1e-9, equal_nan=True)


def test_texts_of_groups_on_two_processes_are_as_different_as_on_one(found: dict[int, list[dict[str, Any]]]) -> None:
    """But those of different prompts, which a rank compares among its own."""
    (one,), two = ([rank["texts"] for rank in found[world]] for world in (1, 2))
    for order, pooled in one.items():
        assert {"text/distinct_2", "text/vendi1", "text/vendi2", "text/similarity"} < pooled.keys()
        for rank in two:
            assert {name: x for name, x in rank[order].items() if name != "text/similarity_across"} == {
                name: pytest.approx(x) for name, x in pooled.items() if name != "text/similarity_across"
            }


def test_phrases_are_counted_over_the_completions_of_all_processes(found: dict[int, list[dict[str, Any]]]) -> None:
    assert [rank["phrases"] for world in (1, 2) for rank in found[world]] == [{"a": 1, "b": 2, "c": 1}] * 3


def test_a_shuffled_generation_that_serves_two_iterations_trains_by_the_statistics_of_whole_groups(
    found: dict[int, list[dict[str, Any]]],
) -> None:
    both = [rank["run"] for rank in found[2]]
    each = 2 * both[0]["updates"]
    objective, shuffled, split, weights = Objective.build(SPEC), False, False, set[float]()
    for number, parts in enumerate(zip(*(rank["generations"] for rank in both), strict=True)):
        held = [set(part["groups"].tolist()) for part in parts]
        split = split or bool(held[0] & held[1])
        columns = {name: torch.cat([part[name] for part in parts]) for name in ("uids", "groups", "rewards")}
        nothing = torch.zeros(len(columns["uids"]), 1)
        whole = TokenBatch(nothing, nothing + 1, answers=tuple(a for p in parts for a in p["answers"]), **columns)
        rollout = objective.rollout(whole)
        want = {"advantages": rollout.advantages, **rollout.stats["copo"]}
        for rank, part in zip(both, parts, strict=True):
            micro = rank["trained"][each * number : each * (number + 1)]
            uids = torch.cat([m["uids"] for m in micro])
            assert sorted(uids.tolist()) == sorted([*part["uids"].tolist()] * 2)
            shuffled = shuffled or uids.tolist() != [*part["uids"].tolist()] * 2
            for name, values in want.items():
                have = torch.cat([m[name] for m in micro])
                torch.testing.assert_close(have, values[uids], rtol=1e-5, atol=1e-6)
        weights |= {round(w, 5) for w in want["local"].tolist()}
        assert whole.rewards.isnan().any() and want["global"].any()
    assert shuffled and split and len(weights) > 2
