"""Reward models and shaping in a recipe: what is refused, what is pointed out, what the plan says."""

from __future__ import annotations

import pytest

from entropostat.cli.plan import plan, text
from entropostat.recipe import RecipeError, load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.facts import knobs, metrics
from entropostat.recipe.lints import lints
from entropostat.recipe.resume import fingerprint
from entropostat.recipe.schema import schema

RECIPE = """\
name: base
model: {build: {}}
data: {sources: {easy: {chain: {length: 5, size: 4096}}}, curriculum: [{source: easy, steps: 8}]}
reward: REWARD
trainer: {per_device_train_batch_size: 64, steps_per_generation: 4, num_generations: 8}
"""
BOTH = "[{model: {build: {}}}, {chain: {weight: 0.0}}]"


@pytest.fixture
def make(tmp_path):
    def run(reward: str = BOTH, *overrides: str):
        (tmp_path / "base.yaml").write_text(RECIPE.replace("REWARD", reward))
        return load(tmp_path / "base.yaml", overrides)

    return run


BROKEN = {
    "neither": ("[{model: {}}]", "reward.model: give exactly one of path and build, such as path: my-reward-model"),
    "both": ("[{model: {path: a, build: {}}}, {chain: {}}]", "reward.model: give exactly one of path and build"),
    "a label of its own": (
        "[{model: {build: {}, label: 1}}, {chain: {}}]",
        "reward.model: label: a model that is built",
    ),
    "an unknown key": (
        "[{model: {build: {pair: 8}}}, {chain: {}}]",
        "reward.model.build.pair: unknown key 'pair' (value 8); did you mean 'pairs'?",
    ),
    "too much noise": (
        "[{model: {build: {noise: 0.9}}}, {chain: {}}]",
        "reward.model.build.noise: must be at least 0 and at most 0.5, not 0.9",
    ),
    "nothing to learn from": (
        "[{model: {build: {}}}]",
        "reward.model.build: nothing tells it which completion is better; add a verifier, such as '- chain: {weight: 0}'",
    ),
    "a negative limit": (
        "[{model: {path: a, max_length: 0}}]",
        "reward.model.max_length: must be at least 1 and at most 2147483647, not 0",
    ),
    "another verifier's own condition": ("[{function: {path: nowhere}}]", "reward.function: verifier function: path"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_is_said_at_its_key(make, case):
    reward, message = BROKEN[case]
    with pytest.raises(RecipeError) as caught:
        make(reward)
    (problem,) = str(caught.value).splitlines()
    assert "base.yaml:4: " in problem and message in problem


@pytest.mark.parametrize("override", ["shaping.clip=0", "shaping.missing_eos_penalty=-1", "shaping.normalize=true"])
def test_shaping_is_checked(make, override):
    with pytest.raises(RecipeError, match=override.partition("=")[0]):
        make(BOTH, override)


def test_two_reward_models_carry_their_names(make):
    recipe = make("[{model: {name: kind, path: a}}, {model: {name: safe, path: b, weight: 2.0}}]")
    assert [(term.name, term.options["path"]) for term in recipe.reward] == [("kind", "a"), ("safe", "b")]
    assert plan(recipe)["reward"] == ["kind", "2 * safe"]


@pytest.mark.parametrize(
    ("reward", "overrides", "wanted"),
    [
        (BOTH, (), set()),
        ("[{chain: {weight: 0}}]", (), {("error", "reward.chain.weight")}),
        ("[{model: {path: a}}]", (), {("note", "reward.model")}),
        (BOTH, ("shaping.normalise=true",), {("warning", "shaping.normalise")}),
        (BOTH, ("shaping.normalise=true", "shaping.clip=3"), set()),
        (BOTH, ("shaping.normalise=true", "objective.advantages=[grpo: {scale: none}]"), set()),
        (
            BOTH,
            ("shaping.missing_eos_penalty=1", "trainer.mask_truncated_completions=true"),
            {("warning", "shaping.missing_eos_penalty")},
        ),
        (BOTH, ("shaping.missing_eos_penalty=1",), set()),
    ],
)
def test_lints(make, reward, overrides, wanted):
    recipe = make(reward, *overrides)
    places = {(lint.level, lint.key) for lint in lints(recipe, arithmetic(recipe))}
    assert {pair for pair in places if pair[1].startswith(("reward", "shaping"))} == wanted


def test_the_plan_says_where_rewards_come_from_and_what_becomes_of_them(make):
    recipe = make(BOTH, "shaping={normalise: true, clip: 5, missing_eos_penalty: 0.5}")
    planned = plan(recipe)
    assert planned["reward"] == ["model", "0 * chain"]
    lines = "\n".join(text(recipe, planned))
    assert "model is built here, on preferences" in lines
    assert "normalised by all rewards so far, then at most 5 in size, then 0.5 less without an end token" in lines


def test_the_schema_knows_the_keys_of_what_is_built():
    written = schema()
    at = lambda item: written["$defs"][item["$ref"].rpartition("/")[2]]["properties"]
    entry = written["properties"]["reward"]["anyOf"][0]["items"]["properties"]["model"]["anyOf"][0]
    (built,) = [item for item in at(entry)["build"]["anyOf"] if "$ref" in item]
    assert {"pairs", "noise", "draws"} <= set(at(built))
    assert "shaping" in written["properties"]


def test_gdpo_wants_several_rewards_and_no_shaping_of_their_sum(make):
    def linted(text: str, *overrides: str) -> set[tuple[str, str]]:
        recipe = make(text, "objective.advantages=[gdpo: {}]", *overrides)
        return {(x.level, x.key) for x in lints(recipe, arithmetic(recipe)) if x.key == "objective.advantages.gdpo"}

    two = "[{chain: {}}, {exact_match: {weight: 0.5}}]"
    assert linted(two) == set()
    assert linted("[{chain: {}}, {exact_match: {weight: 0}}]") == {("note", "objective.advantages.gdpo")}
    assert linted(two, "shaping.clip=1") == {("error", "objective.advantages.gdpo")}
    assert linted(two, "objective.rewards=[diversity: {}]") == {("error", "objective.advantages.gdpo")}


def test_what_is_right_by_a_reward_model_alone_has_to_be_said(make):
    def found(text: str, *overrides: str) -> set[tuple[str, str]]:
        recipe = make(text, *overrides)
        return {(x.level, x.key) for x in lints(recipe, arithmetic(recipe)) if x.key.endswith(".success")}

    alone, term = "[{model: {path: a}}]", "objective.rewards=[diversity: {}]"
    assert found(alone, term) == {("warning", "objective.rewards.diversity.success")}
    assert found(alone, "objective.rewards=[diversity: {success: 2.5}]") == found(alone) == found(BOTH, term) == set()


TERMS = ["objective.rewards=[pear: {}, ares: {}, diversity: {name: other}]"]


def test_rewards_are_a_list_of_terms_with_names_edits_and_controllers_on_the_clock_of_generations(make):
    knob = "objective.rewards.ares.coef={schedule: {points: [[0, 1.0]]}}"
    recipe = make("[{chain: {}}]", *TERMS, knob)
    assert [term.name for term in recipe.objective["rewards"]] == ["pear", "ares", "other"]
    assert [slot for slot, _ in recipe.terms][:4] == ["rewards"] * 3 + ["advantages"]
    assert [(k.key, k.clock) for k in knobs(recipe)] == [("objective.rewards.ares.coef", "rollout")]
    planned = plan(load(recipe.path, ["trainer.gradient_accumulation_steps=4", *TERMS, knob]))
    assert "pear -> ares(coef=schedule(...)) -> other:diversity -> grpo" in planned["objective"]
    assert any("old log-probs: pear, ares" in line for line in planned["extra_forwards"])
    assert not {"pear/think", "ares/windows"} & metrics(recipe)
    fewer = make("[{chain: {}}]", "objective.rewards=[pear: {}, ares: {}]", "objective.rewards.-pear=null")
    assert [term.name for term in fewer.objective["rewards"]] == ["ares"]


def test_a_recipe_without_reward_terms_has_the_fingerprint_that_its_first_checkpoints_bear():
    recipe = load("recipes/methods/kl_ref.yaml")
    assert fingerprint(recipe, 0) == "7d3b1da6923e0048c32b4e04b4138b02"
    assert fingerprint(load("recipes/methods/kl_ref.yaml", ["objective.rewards=[diversity: {}]"]), 0) != fingerprint(
        recipe, 0
    )
