"""The rule by which a default is chosen, and how it is judged where it was not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.claims import recommend
from benchmarks.claims.cell import PLAIN, made, plain
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import SEEDS, TASKS, TUNING
from entropostat.recipe.extends import RECIPES


def run(final: float, some: float = 0.5, **more: Any) -> dict[str, Any]:
    look = {"pass@1": 0.3, "pass@8": 0.6, "distinct": 0.2, "working": 0.4, "entropy": 0.4, "length": 8.0}
    looks = {"0": look, "40": look | {"pass@1": final, "pass@8": some}}
    made = {"status": "done", "looks": looks, "reward": 0.5, "findings": [], "cpu": 0.1, "memory": 1.0}
    return made | {"samples": 2560, **more}


TERMS = ("penalties", "weights", "data", "rewards", "scalars")
FIRST, SECOND = recommend.ROUNDS[:2]


def names_of(one: recommend.Round) -> list[str]:
    """Plain GRPO and those that enter in the round."""
    rows = recommend.candidates().items()
    return [PLAIN, *(name for name, row in rows if name != PLAIN and row.get("round", 1) == one.number)]


def ranked(store: Store, one: recommend.Round, **runs: dict[str, Any]) -> Store:
    """Every candidate is like plain GRPO, but for those named (by place among the round's own)."""
    names = names_of(one)
    for cell in one.cells("choose", recommend.entered(store, one)):
        place = names.index(cell.method) if cell.method in names else "before"
        store.put(str(cell), runs.get(f"n{place}", run(0.3)))
    return store


def test_the_best_mean_rank_is_chosen_and_nobody_before_all_were_run(tmp_path):
    names = names_of(FIRST)
    store = ranked(Store(tmp_path), FIRST, n3=run(0.5, 0.5), n4=run(0.4, 0.7), n5=run(0.45, 0.65))
    ranks, level = recommend.mean_ranks(store, FIRST), 2 + (len(names) - 1) / 2
    assert (ranks[names[3]], ranks[names[4]], ranks[names[5]]) == ((1 + level) / 2, 2, 2)
    assert recommend.chosen(store, FIRST) == names[4], "of two that are level, the first"
    store.cells.pop(next(str(cell) for cell in recommend.choosing(store)))
    assert recommend.chosen(store, FIRST) is None and not recommend.confirming(store)


@pytest.mark.parametrize(
    "lost", [{"status": "failed", "why": "NaN"}, run(0.6, 0.9, findings=["explosion"]), run(0.14, 0.9)]
)
def test_who_lost_a_run_is_passed_over(lost, tmp_path):
    names = names_of(FIRST)
    store = ranked(Store(tmp_path), FIRST, n3=run(0.6, 0.9), n4=run(0.4, 0.7))
    assert recommend.chosen(store, FIRST) == names[3]
    store.put(f"choose|puzzle|{names[3]}|0|{FIRST.seeds['choose'][-1]}", lost)
    assert recommend.chosen(store, FIRST) == names[4]


def test_the_goal_is_asked_of_two_tasks_and_of_every_run(tmp_path):
    store = ranked(Store(tmp_path), FIRST, n3=run(0.6, 0.9))
    best, others = names_of(FIRST)[3], FIRST.tasks["confirm"]
    cells = recommend.confirming(store)
    assert {(cell.task, cell.method) for cell in cells} == {(task, name) for task in others for name in (PLAIN, best)}
    gains = {"rare": (0.28, 0.9), "switch": (0.3, 0.75), "fooled": (0.2, 0.9), "noisy": (0.9, 0.7)}
    for cell in cells:
        store.put(str(cell), run(0.3) if cell.method == PLAIN else run(*gains[cell.task]))
    goals = {task: recommend.confirmed(store, FIRST, best, task).goal for task in gains}
    assert goals == {"rare": True, "switch": True, "fooled": False, "noisy": False}
    assert "The goal is reached." in recommend.section(store)
    store.put(f"confirm|noisy|{best}|0|{FIRST.seeds['confirm'][0]}", {"status": "failed", "why": "NaN"})
    ends = [line for line in recommend.section(store) if line.startswith("The goal")]
    assert ends == ["The goal is not reached: on 2 of 4 tasks where two are asked for, and runs lost: 1."]


def tried(store: Store, one: recommend.Round, **ends: tuple[float, float]) -> Store:
    """What the round chose ends so on the tasks named, and like plain GRPO on the others."""
    best = recommend.chosen(store, one)
    for cell in one.cells("confirm", [PLAIN, str(best)]):
        store.put(str(cell), run(*ends[cell.task]) if cell.method == best and cell.task in ends else run(0.3))
    return store


def test_a_round_ranks_what_the_one_before_chose_and_only_runs_of_its_own_seeds(tmp_path):
    store = ranked(Store(tmp_path), FIRST, n3=run(0.6, 0.9))
    before = names_of(FIRST)[3]
    assert recommend.entered(store, SECOND) == [PLAIN, before, *names_of(SECOND)[1:]]
    ranked(store, SECOND, n1=run(0.5, 0.8), nbefore=run(0.4, 0.7))
    assert recommend.chosen(store, FIRST) == before and recommend.chosen(store, SECOND) == names_of(SECOND)[1]
    assert recommend.default(store) == (FIRST, before), "the other was tried nowhere"
    assert {run["looks"]["40"]["pass@1"] for run in SECOND.runs(store, "hard", before).values()} == {0.4}
    ranked(store, SECOND, n1=run(0.1, 0.8), nbefore=run(0.4, 0.7))
    assert recommend.chosen(store, SECOND) == before, "a run of the new one is lost"


@pytest.mark.parametrize(
    ("ends", "becomes"),
    [
        ({}, False),
        ({"switch": (0.3, 0.9)}, False),
        ({"switch": (0.3, 0.9), "noisy": (0.3, 0.9)}, True),
        ({"switch": (0.3, 0.9), "noisy": (0.3, 0.9), "fooled": (0.1, 0.9)}, False),
    ],
    ids=["reaches nothing", "reaches less", "reaches as much", "loses more runs"],
)
def test_a_later_choice_becomes_the_default_where_it_is_no_worse_and_not_before_it_was_tried(ends, becomes, tmp_path):
    store = ranked(Store(tmp_path), FIRST, n3=run(0.6, 0.9))
    tried(store, FIRST, rare=(0.3, 0.9), switch=(0.3, 0.9))
    ranked(store, SECOND, n1=run(0.6, 0.9))
    first, second = (FIRST, names_of(FIRST)[3]), (SECOND, names_of(SECOND)[1])
    assert recommend.default(store) == first
    assert recommend.default(tried(store, SECOND, **ends)) == (second if becomes else first)


def test_no_seed_serves_twice():
    seeds = [seed for one in recommend.ROUNDS for stage in one.seeds.values() for seed in stage]
    assert len(set(seeds)) == len(seeds) and not {*seeds} & {*SEEDS, *TUNING}
    for one in recommend.ROUNDS:
        assert sorted(task for tasks in one.tasks.values() for task in tasks) == sorted(TASKS)


def test_every_candidate_is_a_recipe_on_the_tasks_of_known_kinds(tmp_path):
    from entropostat.recipe import load

    file = tmp_path / "cell.yaml"
    for name in recommend.candidates():
        for task in ("hard", "switch", "fooled"):
            file.write_text(json.dumps(made(TASKS[task], recommend.added(name, TASKS[task])).tree()))
            assert load(file).objective, name


@pytest.mark.parametrize("task", ["hard", "puzzle"])
def test_half_the_rate_is_half_of_the_task_s_own(task):
    name = next(name for name, recipe in recommend.candidates().items() if recipe.get("rate") == 0.5)
    rates = [plain(TASKS[task].recipe), made(TASKS[task], recommend.added(name, TASKS[task])).tree()]
    assert rates[1]["trainer"]["learning_rate"] == rates[0]["trainer"]["learning_rate"] / 2


def test_the_recommended_recipe_is_the_one_that_was_chosen(tmp_path):
    """But for the learning rate, which is half of that of the recipe that it extends, as the candidate's is half of its task's."""
    default = recommend.default(Store())
    assert default is not None
    best = default[1]
    ours, base = (plain(RECIPES / "base" / name) for name in ("recommended.yaml", "grpo.yaml"))
    theirs = made(TASKS["hard"], recommend.added(best, TASKS["hard"])).tree()["objective"]
    assert {key: ours["objective"].get(key) for key in TERMS} == {key: theirs.get(key) for key in TERMS}
    loss, other = (one["loss"]["trl"] for one in (ours["objective"], theirs))
    assert loss.pop("epsilon_high") == other["epsilon"], "the same bound on both sides"
    assert loss == other and ours["objective"].keys() - {"advantages"} == theirs.keys() - {"advantages"}
    share = recommend.candidates()[best].get("rate", 1.0)
    assert ours["trainer"]["learning_rate"] == share * base["trainer"]["learning_rate"]
