"""The rule by which a default is chosen, and how it is judged where it was not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.claims import recommend
from benchmarks.claims.cell import PLAIN, made, plain
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import TASKS
from entropostat.recipe.extends import RECIPES


def run(final: float, some: float = 0.5, **more: Any) -> dict[str, Any]:
    look = {"pass@1": 0.3, "pass@8": 0.6, "distinct": 0.2, "working": 0.4, "entropy": 0.4, "length": 8.0}
    looks = {"0": look, "40": look | {"pass@1": final, "pass@8": some}}
    made = {"status": "done", "looks": looks, "reward": 0.5, "findings": [], "cpu": 0.1, "memory": 1.0}
    return made | {"samples": 2560, **more}


def chosen_from(folder, **runs: dict[str, Any]) -> Store:
    """Every candidate is like plain GRPO, but for those named (by place in the file)."""
    store, names = Store(folder), list(recommend.candidates())
    for cell in recommend.choosing(store):
        store.put(str(cell), runs.get(f"n{names.index(cell.method)}", run(0.3)))
    return store


def test_the_best_mean_rank_is_chosen_and_nobody_before_all_were_run(tmp_path):
    names = list(recommend.candidates())
    store = chosen_from(tmp_path, n3=run(0.5, 0.5), n4=run(0.4, 0.7), n5=run(0.45, 0.65))
    ranks, level = recommend.mean_ranks(store), 2 + (len(names) - 1) / 2
    assert (ranks[names[3]], ranks[names[4]], ranks[names[5]]) == ((1 + level) / 2, 2, 2)
    assert recommend.chosen(store) == names[4], "of two that are level, the first"
    store.cells.pop(next(str(cell) for cell in recommend.choosing(store)))
    assert recommend.chosen(store) is None and not recommend.confirming(store)


@pytest.mark.parametrize(
    "lost", [{"status": "failed", "why": "NaN"}, run(0.6, 0.9, findings=["explosion"]), run(0.14, 0.9)]
)
def test_who_lost_a_run_is_passed_over(lost, tmp_path):
    names = list(recommend.candidates())
    store = chosen_from(tmp_path, n3=run(0.6, 0.9), n4=run(0.4, 0.7))
    assert recommend.chosen(store) == names[3]
    store.put(f"choose|puzzle|{names[3]}|0|{recommend.CHOOSING[-1]}", lost)
    assert recommend.chosen(store) == names[4]


def test_the_goal_is_asked_of_two_tasks_and_of_every_run(tmp_path):
    store = chosen_from(tmp_path, n3=run(0.6, 0.9))
    best = list(recommend.candidates())[3]
    cells = recommend.confirming(store)
    assert {(cell.task, cell.method) for cell in cells} == {(t, m) for t in recommend.CONFIRM for m in (PLAIN, best)}
    assert not set(recommend.CONFIRMING) & set(recommend.CHOOSING)
    gains = {"rare": (0.28, 0.9), "switch": (0.3, 0.75), "fooled": (0.2, 0.9), "noisy": (0.9, 0.7)}
    for cell in cells:
        store.put(str(cell), run(0.3) if cell.method == PLAIN else run(*gains[cell.task]))
    goals = {task: recommend.confirmed(store, best, task).goal for task in gains}
    assert goals == {"rare": True, "switch": True, "fooled": False, "noisy": False}
    assert recommend.section(store)[-1] == "The goal is reached."
    store.put(f"confirm|noisy|{best}|0|{recommend.CONFIRMING[0]}", {"status": "failed", "why": "NaN"})
    assert recommend.section(store)[-1].endswith("on 2 of 4 tasks where two are asked for, and runs lost: 1.")


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
    best = recommend.chosen(Store())
    assert best is not None
    ours, base = (plain(RECIPES / "base" / name) for name in ("recommended.yaml", "grpo.yaml"))
    theirs = made(TASKS["hard"], recommend.added(best, TASKS["hard"])).tree()["objective"]
    assert ours["objective"]["penalties"] == theirs["penalties"]
    loss, other = (one["loss"]["trl"] for one in (ours["objective"], theirs))
    assert loss.pop("epsilon_high") == other["epsilon"], "the same bound on both sides"
    assert loss == other and ours["objective"].keys() - {"advantages"} == theirs.keys() - {"advantages"}
    share = recommend.candidates()[best].get("rate", 1.0)
    assert ours["trainer"]["learning_rate"] == share * base["trainer"]["learning_rate"]
