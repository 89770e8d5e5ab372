"""Batch arithmetic, forward passes and costs, as the plan tells them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from support.linting import CLIP_COV, ON_POLICY, RECIPE

from entropostat.catalog import load as load_catalog
from entropostat.recipe import facts, load
from entropostat.recipe.arithmetic import arithmetic, stages
from entropostat.recipe.stream_cost import stream


@pytest.mark.parametrize(
    ("trainer", "generation", "updates", "aligned"),
    [
        ("{}", 8, 1, True),
        ("{gradient_accumulation_steps: 4}", 32, 1, True),
        ("{gradient_accumulation_steps: 4, num_iterations: 2}", 32, 2, False),
        ("{steps_per_generation: 4}", 32, 4, False),
        ("{gradient_accumulation_steps: 8, steps_per_generation: 4}", 32, Fraction(1, 2), True),
        ("{generation_batch_size: 64}", 64, 8, False),
    ],
)
def test_batch_arithmetic_is_trls(base, trainer, generation, updates, aligned):
    base.write_text(RECIPE.replace(RECIPE[RECIPE.index("trainer:") :], f"trainer: {trainer}\n"))
    sizes = arithmetic(load(base))
    assert (sizes.generation, sizes.updates, sizes.aligned) == (generation, updates, aligned)


def test_world_size_multiplies_the_generation(base):
    sizes = arithmetic(load(base, ["launch={strategy: ddp, num_processes: 4}"]))
    assert (sizes.generation, sizes.prompts, sizes.step) == (1024, 128, 256)


def test_stage_edges_are_rounded_to_generations(base):
    recipe = load(base, ["data.curriculum=[{source: easy, steps: 6}, {source: easy, steps: 9}]"])
    edges = [(stage.begin, stage.end, stage.prompts) for stage in stages(recipe, arithmetic(recipe))]
    assert edges == [(0, 8, 64), (8, 16, 64)]


def forwards(base, *overrides: str) -> list[str]:
    recipe = load(base, overrides)
    return [line.split(":")[0] for line in facts.extra_forwards(recipe, arithmetic(recipe))]


def test_extra_forwards_are_named(base):
    assert forwards(base) == ["old log-probs"]
    assert forwards(base, ON_POLICY) == []
    assert forwards(base, ON_POLICY, CLIP_COV) == ["old log-probs"]
    assert forwards(base, ON_POLICY, "objective.weights.+clip_cov={scope: micro}") == []
    assert forwards(base, ON_POLICY, "objective.penalties.+kl_ref={}") == ["reference log-probs"]
    signal = "objective.penalties.+entropy_bonus={coef: {pid: {signal: kl, target: 1}}}"
    assert forwards(base, ON_POLICY, signal) == ["reference log-probs"]


def test_plan_says_what_a_refill_may_cost(base):
    recipe = load(base, ["objective.data=[dynamic_sampling: {max_rounds: 3}, rsr: {}, difficulty: {}]", ON_POLICY])
    refill, recovery, sieve = stream(recipe, arithmetic(recipe))
    assert "3 further round(s)" in refill and "8 prompts x 8" in refill and "4 times the generation" in refill
    assert "at most 1 generation" in recovery and "0.1 to 0.9" in sieve
    (forward,) = facts.extra_forwards(recipe, arithmetic(recipe))
    assert forward.startswith("old log-probs: rsr")


@pytest.mark.parametrize("name", load_catalog().terms["data"])
def test_plan_has_a_line_for_every_link_of_the_stream(base, name):
    recipe = load(base, [f"objective.data=[{name}: {{}}]"])
    (line,) = stream(recipe, arithmetic(recipe))
    assert line.startswith(f"{name}: ") and "your own" not in line
