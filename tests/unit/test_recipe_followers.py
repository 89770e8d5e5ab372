"""Knobs that follow others: what ``plan`` says before anything is trained."""

from __future__ import annotations

import pytest

from entropostat.recipe import load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.lints import lints

RECIPE = """\
name: base
model: {build: {}}
data: {sources: {easy: {chain: {length: 5, size: 4096}}}, curriculum: [{source: easy, steps: 8}]}
reward: [chain: {}]
evaluate: {prompts: 4, samples: 2, k: [1]}
trainer: {per_device_train_batch_size: 64, steps_per_generation: 4, num_generations: 8}
objective:
  weights: [entropy_tilt: {gain: {autopilot: {target: 0.5}}}]
"""
BONUS = "objective.penalties.+entropy_bonus={coef: {follow: {knob: %s, key: %s}}}"
GAIN, COEF = "weights.entropy_tilt.gain", "objective.penalties.entropy_bonus.coef"


@pytest.fixture
def find(tmp_path):
    (tmp_path / "base.yaml").write_text(RECIPE)

    def run(*overrides):
        recipe = load(tmp_path / "base.yaml", overrides)
        return [lint for lint in lints(recipe, arithmetic(recipe)) if lint.level != "note"]

    return run


def test_the_two_actuators_together_are_sound(find):
    assert find(BONUS % (GAIN, "rest")) == []


def test_an_autopilot_whose_second_actuator_nothing_follows_is_named(find):
    for overrides in ((), (BONUS % (GAIN, "output"),)):
        (lint,) = find(*overrides)
        assert (lint.level, lint.key) == ("warning", f"objective.{GAIN}")
    assert find(f"objective.{GAIN}.autopilot.bonus_gain=0") == []


@pytest.mark.parametrize(
    "knob, key, message",
    [
        ("weights.entropy_tlt.gain", "rest", "did you mean 'weights.entropy_tilt.gain'"),
        (GAIN, "rset", "unknown number in the state of weights.entropy_tilt.gain 'rset', did you mean 'rest'"),
        ("penalties.entropy_bonus.coef", "output", "follows itself"),
    ],
)
def test_a_follower_of_nothing_is_an_error_with_the_nearest_spelling(find, knob, key, message):
    errors = [lint for lint in find(BONUS % (knob, key)) if lint.level == "error"]
    assert [lint.key for lint in errors] == [COEF] and message in str(errors[0])


def test_a_metric_that_no_term_reports_is_no_signal(find):
    told = find(BONUS % (GAIN, "rest"), f"objective.{GAIN}.autopilot.authority_signal=entropy_tilt/authorty")
    assert [lint.key for lint in told] == [f"objective.{GAIN}.autopilot.authority_signal"]
