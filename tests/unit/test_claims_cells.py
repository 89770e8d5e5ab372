"""Cells of the evidence bench: what their recipes are, how they are kept, and what becomes of one that breaks."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest

from benchmarks.claims import additions, methods, plans, runner
from benchmarks.claims.budget import Budget
from benchmarks.claims.cell import PLAIN, Added, Cell, made, seeded, told, whole
from benchmarks.claims.probe import distinct, summary
from benchmarks.claims.store import Store, differences
from benchmarks.claims.tasks import SEEDS, TASKS, TUNING
from entropostat import catalog

HARD = TASKS["hard"]
CELL = Cell("report", "hard", PLAIN, 0, 300)


def test_a_cell_s_name_is_the_cell():
    assert Cell.parse(str(CELL)) == CELL
    with pytest.raises(ValueError, match=r"looks like 'report.hard"):
        Cell.parse("hard|kl_cov")


def test_a_method_adds_what_it_changes_in_the_quickstart_and_nothing_of_the_quickstart_itself():
    tree = whole(HARD, methods.added("kl_cov", HARD))
    assert tree["objective"]["penalties"] == [{"kl_cov": {"fraction": 0.02}}] and tree["objective"]["loss"] == {
        "unclipped": {}
    }
    assert tree["data"] == whole(HARD, Added())["data"] and "extends" not in tree
    assert whole(HARD, methods.added(PLAIN, HARD)) == whole(HARD, Added())
    assert whole(TASKS["rare"], methods.added("gae", TASKS["rare"]))["trainer"]["kind"] == "ppo"


def test_every_method_has_as_many_settings_and_its_sweep_names_what_it_adds():
    terms = catalog.load().terms
    for name, row in methods.table().items():
        words = methods.sweep(row, HARD)
        assert len({*words}) == methods.TRIED - 1, name
        for key in (word.partition("=")[0].split(".") for word in words if word.startswith("objective.")):
            slot, term = key[1], key[2]
            added = methods.added(name, HARD).recipe["objective"][slot]
            assert term in (added if slot == "loss" else [kind for one in added for kind in one]), name
            assert terms[slot][term].field(key[3]) or term == "trl", name


def test_the_learning_rate_is_swept_around_the_task_s_own():
    assert methods.added("rloo", TASKS["puzzle"], 2).words == ("trainer.learning_rate=0.001",)


def test_a_twin_has_the_first_policy_of_its_seed_and_other_random_numbers():
    tree = whole(TASKS["fooled"], Added())
    one, twin = (seeded(tree, TASKS["fooled"], 300, twin) for twin in (False, True))
    assert one[0] != twin[0] and one[1:] == twin[1:]
    assert "reward.model.build.seed=300" in one and "model.build.seed=300" in one


def test_reported_seeds_are_not_those_that_settings_were_chosen_on():
    assert not set(SEEDS) & set(TUNING)


def test_the_setting_with_the_best_reward_is_reported_and_one_that_failed_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(plans, "table", lambda: {PLAIN: {}, "kl_cov": {}})
    store = Store(tmp_path)
    assert plans.tuned(store, HARD, "kl_cov") is None
    for seed in TUNING:
        assert plans.tuned(store, HARD, "kl_cov") is None
        for setting, reward in enumerate((0.3, 0.6, 0.9)):
            store.put(f"tune|hard|kl_cov|{setting}|{seed}", {"status": "done", "reward": reward})
    assert plans.tuned(store, HARD, "kl_cov") == 2
    store.put(f"tune|hard|kl_cov|2|{TUNING[0]}", {"status": "failed", "why": "NaN"})
    assert plans.tuned(store, HARD, "kl_cov") == 1
    cells = plans.reported(store)
    assert {Cell("report", "hard", "kl_cov", setting, SEEDS[0]) for setting in (0, 1)} <= set(cells)


LOOK = {"pass@1": 0.1, "pass@8": 0.2, "distinct": 0.3, "working": 0.4, "entropy": 0.5, "length": 6.0}


def test_results_are_kept_a_line_a_cell_and_read_again_with_their_recipe(tmp_path):
    store, recipe = Store(tmp_path), made(HARD, methods.added("archer", HARD, 1))
    result = {"status": "done", "reward": 0.5, "cpu": 0.1, "looks": {"0": LOOK, "40": LOOK | {"pass@1": 0.9}}}
    store.add(CELL, recipe, result)
    again = Store(tmp_path)
    (read,) = again.of("report", "hard", PLAIN).values()
    assert differences(read, result) == [] and read["machine"] in again.machines
    assert again.made(read["recipe"]).tree() == recipe.tree() == whole(HARD, recipe.added)
    assert recipe.tree()["objective"]["loss"] == {"archer": {}}


def test_of_a_tuning_run_its_reward_is_kept_and_not_its_looks(tmp_path):
    store = Store(tmp_path)
    store.add(
        Cell("tune", "hard", "rloo", 1, 300),
        made(HARD, Added()),
        {"status": "done", "reward": 0.5, "looks": {"0": LOOK}},
    )
    assert "looks" not in Store(tmp_path).of("tune", "hard", "rloo", 1)[300]


def test_two_runs_of_a_cell_may_differ_in_time_alone():
    one = {"status": "done", "reward": 0.5, "cpu": 0.1, "memory": 3.0}
    assert differences(one, one | {"cpu": 9.0, "memory": 1.0}) == []
    assert differences(one, one | {"reward": 0.5001}) == ["reward"]
    assert differences(one, {"status": "failed", "why": "x"}) == ["reward", "status", "why"]


def test_a_cell_that_dies_or_hangs_is_a_result_and_done_cells_are_not_run_again(tmp_path, monkeypatch):
    def trained(cell, tree, task):
        if cell.seed == 301:
            os._exit(9)
        time.sleep(60 if cell.seed == 302 else 0)
        return {"status": "done", "looks": {"0": LOOK}}

    monkeypatch.setattr(runner, "trained", trained)
    monkeypatch.setattr(runner, "preload", lambda: None)
    monkeypatch.setattr(runner, "LIMIT", 1.0)
    store = Store(tmp_path)
    plan = {Cell("report", "hard", PLAIN, 0, seed): Added() for seed in (300, 301, 302, 303)}
    assert runner.complete(store, plan, jobs=2) == 4
    told = {seed: one["status"] for seed, one in store.of("report", "hard", PLAIN).items()}
    assert told == {300: "done", 301: "failed", 302: "failed", 303: "done"}
    assert "exit status 9" in store.cells["report|hard|plain GRPO|0|301"]["why"]
    assert runner.complete(Store(tmp_path), plan, jobs=2) == 0


def test_a_run_ends_when_it_has_drawn_what_the_plain_one_draws():
    trainer = SimpleNamespace(
        args=SimpleNamespace(steps_per_generation=4, generation_batch_size=256),
        model=SimpleNamespace(training=True),
        _generate_single_turn=lambda prompts: prompts,
    )
    budget, control = Budget(trainer, steps=40), SimpleNamespace(should_training_stop=False)
    for step in range(4, 41, 4):
        trainer._generate_single_turn(range(512))
        budget.on_step_end(None, SimpleNamespace(global_step=step), control)
        if control.should_training_stop:
            break
    assert (step, budget.drawn, budget.limit) == (20, 2560, 2560)


def test_a_policy_that_ends_as_no_number_is_a_failure():
    look = {"pass@1": 0.1, "entropy": float("nan")}
    with pytest.raises(FloatingPointError):
        told([], {0: look}, 20, points=False)


def test_different_right_answers_are_counted_as_a_draw_of_k_has_them():
    assert distinct(["a", "a", "b"], n=4, k=4) == 2
    assert distinct(["a", "b"], n=4, k=1) == pytest.approx(0.5)
    seen = summary(["a", "a", "x", "y"], [True, True, False, False], ["working"] * 2 + [None] * 2, n=2, k=2)
    assert seen == {"pass@1": 0.5, "pass@2": 0.5, "distinct": 0.25, "working": 0.5}


def test_a_method_is_added_by_its_file_and_a_claim_with_it(tmp_path, monkeypatch):
    for module, name, text in ((methods, "m.yaml", "known: {}\n"), (additions.verdicts, "c.yaml", "")):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(module, "FILE", tmp_path / name)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("extends: entropostat:quickstart/plain.yaml\nobjective: {weights: [steer: {}]}\n")
    methods.table.cache_clear()
    additions.verdicts.claims.cache_clear()
    try:
        assert additions.add(recipe, "It is better.", "kept", 0.1, ["hard"]) == "mine"
        assert methods.added("mine", HARD).recipe == {"objective": {"weights": [{"steer": {}}]}}
        (claim,) = additions.verdicts.claims()
        assert (claim.method, claim.metric, claim.tasks) == ("mine", "kept", ("hard",))
        other = tmp_path / "other" / "mine.yaml"
        other.parent.mkdir()
        other.write_text(recipe.read_text())
        with pytest.raises(SystemExit, match="another name"):
            additions.add(other)
    finally:
        methods.table.cache_clear()
        additions.verdicts.claims.cache_clear()


@pytest.mark.parametrize(("steps", "expected"), [([1, 5, 9, 13], 0.4), ([1, 5], 0.2)])
def test_the_reward_is_that_of_the_last_quarter_or_of_the_last_generation_where_that_has_none(steps, expected):
    look = dict.fromkeys(("pass@1", "pass@8", "distinct", "working", "entropy", "length"), 0.5)
    lines = [{"step": step, "reward": 0.1 * n, "entropy": 0.3, "loss": 0.0} for n, step in enumerate(steps, start=1)]
    assert told(lines, {0: look, 12: look}, 20, points=False)["reward"] == pytest.approx(expected)
