"""How an evaluation samples, what it costs, and what `plan` says of both."""

from __future__ import annotations

import math

import pytest
from support.linting import linted, recipe

from entropostat.cli.plan import plan, text
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.evaluated import cost, sampling
from entropostat.recipe.lints import evaluation, lints

PID = "{pid: {signal: entropy, target: 0.3, effect: raises, kp: 0.5, start: 1.0, low: 0.7, high: 1.5}}"
MOVED = f"objective.scalars=[temperature: {{value: {PID}}}]"
KEYS = {"temperature": 0.5, "top_p": 0.6, "top_k": 7}


@pytest.mark.parametrize("key", KEYS)
def test_null_is_trainings_and_a_value_is_its_own(key):
    trained = recipe(f"sampler.{key}={KEYS[key]}")
    assert getattr(sampling(trained), key) == KEYS[key] == getattr(trained.sampler, key)
    own = recipe(f"sampler.{key}={KEYS[key]}", f"evaluate.{key}={getattr(recipe().sampler, key)}")
    assert getattr(sampling(own), key) == getattr(recipe().sampler, key)


def test_the_length_is_trainings_unless_it_has_its_own():
    assert sampling(recipe()).max_new_tokens == 21
    assert sampling(recipe("evaluate.max_new_tokens=64")).max_new_tokens == 64
    endless = recipe("trainer.max_completion_length=null")
    assert sampling(endless).max_new_tokens is None and cost(endless, arithmetic(endless)).tokens is None
    assert all("tokens" not in line for line in text(endless, plan(endless)) if "evaluated for each" in line)


def test_a_temperature_that_is_moved_is_not_followed_and_one_that_is_set_is():
    moved = recipe(MOVED)
    assert sampling(moved).temperature == 1.0 and sampling(moved).moved == "objective.scalars.temperature"
    (note,) = [lint for lint in lints(moved, arithmetic(moved)) if lint.key == "objective.scalars.temperature"]
    assert note.level == "note" and "every evaluation samples at 1, sampler.temperature" in note.message
    own = recipe(MOVED, "evaluate.temperature=.6")
    assert sampling(own).temperature == 0.6
    (note,) = [lint for lint in lints(own, arithmetic(own)) if lint.key == "objective.scalars.temperature"]
    assert "samples at 0.6, evaluate.temperature" in note.message
    fixed = recipe("objective.scalars=[temperature: {value: 0.7}]")
    assert sampling(fixed).temperature == 0.7 and sampling(fixed).moved is None
    assert not linted(evaluation.RULES, "evaluate.prompts=0", MOVED)


def test_the_cost_by_hand():
    """Two sources: 162 chains of two numbers, of which a fifth is held out (33), and 4096 of five (more than the 40 asked for).
    One set of 10 rows. (33 + 40 + 10) prompts x (4 + 1 greedy) completions of at most 8 tokens.
    """
    given = recipe(
        "evaluate={prompts: 40, samples: 4, k: [1], max_new_tokens: 8, every: 100, greedy: true, reference: false}",
        "evaluate.sets={test: {chain: {length: 3, size: 10}}}",
    )
    most = cost(given, arithmetic(given))
    assert most.prompts == {"easy": 33, "hard": 40, "test": 10}
    assert most.completions == 83 * 5 and most.tokens == 83 * 5 * 8
    assert most.times == 5, "at 0, 100, 200, 300 and 320"
    assert most.all_completions == 5 * 83 * 5 and most.all_tokens == 5 * 83 * 5 * 8
    assert most.training == 320 / 4 * 256 and most.training_tokens == 320 / 4 * 256 * 21
    none_greedy = recipe("evaluate={prompts: 40, samples: 4, k: [1], greedy: false}")
    assert cost(none_greedy, arithmetic(none_greedy)).completions == 73 * 4


@pytest.mark.parametrize("every, times", [(0, 2), (1, 321), (160, 3), (320, 2), (319, 3), (1000, 2)])
def test_how_often(every, times):
    given = recipe(f"evaluate.every={every}")
    assert cost(given, arithmetic(given)).times == times


def test_where_nothing_is_held_out_or_evaluated_nothing_is_counted():
    without = recipe("data.held_out=0", "evaluate.sets={test: {chain: {length: 3, size: 10}}}")
    assert cost(without, arithmetic(without)).prompts == {"test": 10}
    never = recipe("evaluate.prompts=0")
    assert cost(never, arithmetic(never)).times == 0 and plan(never)["evaluate"]["all_completions"] == 0
    assert "evaluate    never" in text(never, plan(never))


def test_more_than_training_is_a_warning_by_tokens_and_exactly_from_there():
    most = cost(recipe(), arithmetic(recipe()))
    room = most.training_tokens / (most.all_tokens / 21)
    assert ("warning", "evaluate") not in linted(evaluation.RULES, f"evaluate.max_new_tokens={math.floor(room)}")
    assert ("warning", "evaluate") in linted(evaluation.RULES, f"evaluate.max_new_tokens={math.floor(room) + 1}")
    assert ("warning", "evaluate") in linted(evaluation.RULES, "evaluate.every=20")
    unknown = "data={sources: {a: {file: {path: a.jsonl}}}, curriculum: null}"
    given = recipe(unknown, "trainer.max_steps=-1")
    assert cost(given, arithmetic(given)).times is None and not linted(
        evaluation.RULES, unknown, "trainer.max_steps=-1"
    )
    assert any("each time" in line for line in text(given, plan(given)))


def test_plan_says_how_it_samples_and_what_it_costs():
    lines = text(given := recipe("evaluate.temperature=.5", "evaluate.top_k=3", "sampler.top_p=.9"), plan(given))
    said = "\n".join(lines)
    assert "sampled by transformers at temperature 0.5, top_p 0.9, top_k 3; each time 2,193 completions" in said
    assert "in all 19,737 completions of at most 414,477 tokens together" in said
    assert "training draws 20,480 completions of at most 430,080 tokens together: 0.96 evaluated for each" in said
    vllm = plan(recipe("trainer.use_vllm=true"))["evaluate"]
    assert vllm["by"] == "vLLM"
