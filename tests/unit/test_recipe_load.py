"""Inheritance, edits, overrides, and where values come from."""

from __future__ import annotations

import pytest

from entropostat.recipe import RecipeError, Term, load
from entropostat.recipe.extends import resolve
from entropostat.recipe.source import parse

BASE = """\
name: base
model: {build: {working: 0.4}}
data: {sources: {easy: {chain: {length: 2}}}}
reward: [chain: {}]
objective:
  weights: [clip_cov: {fraction: 0.1}, high_entropy: {}]
  loss: {trl: {epsilon: 0.2}}
  penalties:
    - kl_ref: {coef: 0.001}
    - kl_ref: {name: second, coef: 0.1}
trainer: {learning_rate: 1e-5, max_steps: 3}
"""


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Write a child of the base recipe and load it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE)

    def load_child(text: str, *overrides: str):
        (tmp_path / "x.yaml").write_text(f"extends: base.yaml\n{text}")
        return load("x.yaml", overrides)

    return load_child


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        (".1", 0.1),
        ("1.", 1.0),
        ("-.5e-3", -0.0005),
        (".inf", float("inf")),
        ("010", 10),
        ("0x1f", 31),
        ("yes", "yes"),
        ("on", "on"),
        ("24:00:00", "24:00:00"),
        ("2024-01-01", "2024-01-01"),
        ("true", True),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("[1, .2, a]", [1, 0.2, "a"]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
    ],
)
def test_scalars_are_read_as_yaml_1_2(text, value):
    parsed = parse(f"key: {text}", "x").plain["key"]
    assert parsed == value and type(parsed) is type(value)


def test_child_changes_only_what_it_states(make):
    recipe = make("seed: 4\ntrainer: {max_steps: 5}\n")
    assert recipe.seed == 4 and recipe.name == "base"
    assert recipe.trainer_fields == {"learning_rate": 1e-5, "max_steps": 5}
    assert recipe.model.build.working == 0.4


def test_later_parents_win_and_parents_of_parents_count(make, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.yaml").write_text("extends: ../base.yaml\nseed: 1\noutput_dir: a\n")
    (tmp_path / "b.yaml").write_text("seed: 2\n")
    (tmp_path / "y.yaml").write_text("extends: [sub/a.yaml, b.yaml]\n")
    recipe = load("y.yaml")
    assert (recipe.seed, recipe.output_dir, recipe.name) == (2, "a", "base")


def test_packaged_recipes_are_reached_by_prefix(make, tmp_path):
    (tmp_path / "y.yaml").write_text("extends: [base.yaml, 'entropostat:base/grpo.yaml']\n")
    assert load("y.yaml").trainer_fields["num_generations"] == 8


def test_list_replaces_the_parents_list(make):
    recipe = make("objective: {penalties: [entropy_bonus: {coef: 0.5}]}\n")
    assert recipe.objective["penalties"] == [Term("entropy_bonus", "entropy_bonus", {"coef": 0.5})]


def test_edits_change_append_and_remove_by_name(make):
    recipe = make(
        "objective:\n"
        "  weights: {-clip_cov: null}\n"
        "  penalties:\n"
        "    edit: {second: {coef: 2}, kl_ref: {coef: {pid: {signal: kl, target: 1}}}}\n"
        "    +entropy_bonus: {coef: .01}\n"
    )
    assert recipe.objective["weights"] == [Term("high_entropy", "high_entropy", {})]
    assert recipe.objective["penalties"] == [
        Term("kl_ref", "kl_ref", {"coef": {"pid": {"signal": "kl", "target": 1.0}}}),
        Term("second", "kl_ref", {"coef": 2.0}),
        Term("entropy_bonus", "entropy_bonus", {"coef": 0.01}),
    ]


def test_terms_can_be_added_where_the_parent_has_no_list(make, tmp_path):
    (tmp_path / "base.yaml").write_text(BASE.replace("  weights: [clip_cov: {fraction: 0.1}, high_entropy: {}]\n", ""))
    recipe = make("objective: {weights: {+high_entropy: null}}\n")
    assert recipe.objective["weights"] == [Term("high_entropy", "high_entropy", {})]


def test_overrides_address_terms_by_name(make):
    recipe = make(
        "",
        "objective.penalties.kl_ref.coef=.1",
        "objective.penalties.second.coef.pid={signal: kl, target: .2}",
        "objective.penalties.second.coef.pid.ki=.5",
        "objective.penalties.+entropy_bonus.coef=.3",
        "objective.weights.-clip_cov=",
        "reward.chain.weight=2",
    )
    assert [term.options for term in recipe.objective["penalties"]] == [
        {"coef": 0.1},
        {"coef": {"pid": {"signal": "kl", "target": 0.2, "ki": 0.5}}},
        {"coef": 0.3},
    ]
    assert [term.name for term in recipe.objective["weights"]] == ["high_entropy"]
    assert recipe.reward == [Term("chain", "chain", {"weight": 2.0})]


def test_overrides_set_keys_that_the_file_lacks(make):
    recipe = make("", "evaluate.k=[1, 2]", "sampler.temperature=1", "objective.loss.trl.epsilon_high=.28", "name=other")
    assert recipe.evaluate.k == [1, 2] and recipe.name == "other"
    assert recipe.objective["loss"].options == {"epsilon": 0.2, "epsilon_high": 0.28}


def test_override_reaches_an_item_of_a_list_by_index(make):
    recipe = make("data: {curriculum: [{source: easy, steps: 3}]}\n", "data.curriculum.0.steps=7")
    assert recipe.data.curriculum[0].steps == 7


def test_naming_another_alternative_drops_the_parents(make):
    recipe = make(
        "model: {path: gpt2}\nobjective: {loss: {unclipped: {}}}\ndata: {sources: {easy: {file: {path: a}}}}\n"
    )
    assert recipe.model.build is None and recipe.model.path == "gpt2"
    assert recipe.objective["loss"] == Term("unclipped", "unclipped", {})
    assert recipe.sources == {"easy": Term("easy", "file", {"path": "a"})}


def test_another_controller_replaces_the_parents_and_the_same_one_is_merged(make):
    first = "objective.penalties.kl_ref.coef={pid: {signal: kl, target: 1}}"
    other = make("", first, "objective.penalties.kl_ref.coef={schedule: {points: [[0, 1]]}}")
    same = make("", first, "objective.penalties.kl_ref.coef={pid: {ki: 1}}")
    assert other.objective["penalties"][0].options == {"coef": {"schedule": {"points": [[0.0, 1.0]]}}}
    assert same.objective["penalties"][0].options == {"coef": {"pid": {"signal": "kl", "target": 1.0, "ki": 1.0}}}


def test_whole_numbers_are_taken_for_numbers_and_become_floats(make):
    coef = make("", "objective.penalties.kl_ref.coef=1").objective["penalties"][0].options["coef"]
    assert type(coef) is float


def test_options_hold_only_what_is_stated(make):
    assert make("").objective["weights"][1].options == {}


def test_null_block_means_its_defaults(make):
    assert make("sampler: null\nevaluate: null\n") == make("")


def test_values_remember_file_and_line(make):
    make("seed: 3\n")
    from pathlib import Path

    root = resolve(Path("x.yaml"), ["trainer.max_steps=9"]).content
    trainer = root["trainer"].content
    assert str(root["seed"].origin) == "x.yaml:2"
    assert str(trainer["learning_rate"].origin) == "base.yaml:11"
    assert str(trainer["max_steps"].origin) == "command line"


def test_dump_loads_again_to_the_same_recipe(make, tmp_path):
    recipe = make(
        "seed: 3\ntrainer: {adam_epsilon: 1e-12}\nname: 'on'\n", "objective.penalties.+entropy_bonus.coef=1e-7"
    )
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "resolved.yaml"
    path.write_text(recipe.dump())
    again = load(path)
    assert again == recipe and again.dump() == recipe.dump()
    assert "extends" not in recipe.dump() and recipe.dump().startswith("name: ")


def test_local_files_start_at_the_file_that_names_them(make, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "rows.jsonl").write_text("{}\n")
    (tmp_path / "sub" / "p.yaml").write_text(
        "extends: ../base.yaml\ndata: {sources: {rows: {file: {path: rows.jsonl}}, hub: {hub: {path: openai/gsm8k}}}}\n"
    )
    (tmp_path / "y.yaml").write_text("extends: sub/p.yaml\n")
    sources = load("y.yaml").sources
    assert sources["rows"].options["path"] == str((tmp_path / "sub" / "rows.jsonl").resolve())
    assert sources["hub"].options["path"] == "openai/gsm8k"


def test_source_may_have_a_key_called_name(make):
    recipe = make("data: {sources: {math: {hub: {path: openai/gsm8k, name: main}}}}\n")
    assert recipe.sources["math"].options == {"path": "openai/gsm8k", "name": "main"}


def test_run_folder_follows_output_dir_and_name(make):
    assert str(make("output_dir: out\nname: a\n").run_dir) == "out/a"


def test_recipe_without_a_name_is_called_after_its_file(make, tmp_path):
    (tmp_path / "base.yaml").write_text(BASE.replace("name: base\n", ""))
    assert make("").name == "x"


def test_alias_of_itself_is_refused(make):
    with pytest.raises(RecipeError, match=r"x\.yaml:2: trainer.lr_scheduler_kwargs.b: an alias may not contain itself"):
        make("trainer: {lr_scheduler_kwargs: &a {b: *a}}\n")
