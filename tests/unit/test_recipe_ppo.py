"""`trainer.kind: ppo`, its critic block, and what plan says where the two and `gae` do not belong together."""

from __future__ import annotations

import pytest
from support.linting import linted, recipe

from entropostat.cli.plan import plan, text
from entropostat.recipe import RecipeError, load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.facts import extra_forwards
from entropostat.recipe.lints import critic, lints

PPO, GAE = "trainer.kind=ppo", "objective.advantages=[gae: {}]"


def fix(*overrides: str) -> str:
    loaded = recipe(*overrides)
    (lint,) = lints(loaded, arithmetic(loaded), critic.RULES)
    return lint.fix


def test_the_defaults_are_a_detached_head_on_the_policys_backbone():
    block = recipe(PPO, GAE).critic
    assert (block.trunk, block.detach, block.heads, block.clip, block.learning_rate) == ("shared", True, 1, 0.2, None)
    assert linted(critic.RULES, PPO, GAE) == set() == linted(critic.RULES)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("critic.heads=3", r"critic\.heads: must be at least 1 and at most 2, not 3"),
        ("critic.combine=max", r"critic\.combine: must be one of min, mean, softmin, not 'max'"),
        ("critic.alpha=0", r"critic\.alpha: must be at least 1e-18 and at most 1e\+12, not 0"),
        ("critic.coef=0", r"critic\.coef: must be at least 1e-18 and at most 1e\+12, not 0"),
        ("critic.head=2", r"critic\.head: unknown key 'head' \(value 2\); did you mean 'heads'\?"),
        ("critic={heads: 2, init: 0}", r"init: 0 starts both heads at the same weights, where they stay; use 0\.01"),
        ("trainer.kind=pop", r"trainer\.kind: must be one of grpo, ppo, not 'pop'; did you mean 'ppo'\?"),
        (
            "trainer={kind: ppo, cliprange_value: 0.2}",
            r"was an option of TRL's PPOTrainer \(value 0\.2\); use critic\.clip",
        ),
        ("trainer={kind: ppo, kl_coef: 0.1}", r"use objective\.advantages\.gae\.kl_coef"),
        ("trainer={kind: ppo, response_length: 53}", r"use trainer\.max_completion_length"),
    ],
)
def test_a_wrong_key_is_named_with_its_place(override, message):
    with pytest.raises(RecipeError, match=message):
        recipe(PPO, GAE, override)


REFUSED = {
    "ppo on grpo's advantages": (
        (PPO,),
        "objective.advantages.grpo",
        "use advantages: [gae: {}], or trainer.kind: grpo",
    ),
    "gae without a critic": ((GAE,), "objective.advantages.gae", "set trainer.kind: ppo, or begin with grpo"),
    "a critic without ppo": (
        ("critic={}",),
        "critic",
        "set trainer.kind: ppo and objective.advantages: [gae: {}], or remove the block",
    ),
    "gae behind another": (
        (PPO, "objective.advantages=[gae: {}, gae: {name: again}]"),
        "objective.advantages.again",
        "put gae first, and terms that reshape advantages behind it",
    ),
    "rows that are replaced": (
        (PPO, GAE, "objective.penalties.+aepo.reference=true"),
        "objective.penalties.aepo.reference",
        "set it to false",
    ),
    "fsdp": ((PPO, GAE, "launch={strategy: fsdp2, num_processes: 2}"), "launch.strategy", "use ddp or a zero strategy"),
    "a reference that TRL moves": (
        (PPO, GAE, "trainer.sync_ref_model=true"),
        "trainer.sync_ref_model",
        "add kl_ref: {coef: 0.0, reference: ema} to objective.penalties instead",
    ),
    "a copy of adapters": (
        (PPO, GAE, "model.peft={}", "critic.trunk=separate"),
        "critic.trunk",
        "use trunk: shared, whose heads train under model.peft too, or train all weights",
    ),
    "DeepSpeed's Muon": (
        (PPO, GAE, "optimizer.muon.adjust=original", "launch={strategy: zero2, num_processes: 2}"),
        "optimizer.muon",
        "use single or ddp, or leave it out",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_plan_refuses_with_the_fix(case):
    overrides, key, wanted = REFUSED[case]
    assert linted(critic.RULES, *overrides) == {("error", key)}
    assert fix(*overrides) == wanted


UNREAD = {
    "detach": "critic={trunk: separate, detach: false}",
    "combine": "critic.combine=mean",
    "per_head": "critic.per_head=false",
    "alpha": "critic={heads: 2, alpha: 0.5}",
    "delta": "critic.delta=0.1",
    "clip_rule": "critic={clip: null, clip_rule: mean}",
}


@pytest.mark.parametrize("key", UNREAD)
def test_what_nothing_reads_is_noticed(key):
    assert linted(critic.RULES, PPO, GAE, UNREAD[key]) == {("warning", f"critic.{key}")}


def test_a_value_clip_is_inert_where_every_generation_serves_one_update():
    aligned = "trainer.steps_per_generation=1"
    assert linted(critic.RULES, PPO, GAE, aligned, "critic.clip=0.1") == {("warning", "critic.clip")}
    assert linted(critic.RULES, PPO, GAE, aligned) == set()


def test_one_completion_per_prompt_is_enough_for_a_critic_and_no_other():
    one = "trainer.num_generations=1"
    of = lambda loaded: {(lint.level, lint.key) for lint in lints(loaded, arithmetic(loaded))}
    assert ("error", "trainer.num_generations") in of(recipe(one))
    assert not any(level == "error" for level, _ in of(recipe(PPO, GAE, one)))
    assert arithmetic(load(RECIPES / "quickstart" / "plain.yaml", [PPO, GAE, one])).prompts == 256


def test_plan_says_what_is_learnt_and_what_it_costs():
    loaded = recipe(PPO, GAE, "critic={heads: 2, combine: softmin, learning_rate: 1.0e-4}")
    planned = plan(loaded)
    assert planned["trainer"] == "ppo"
    wanted = (
        "2 heads, softmin on the policy's backbone, detached; 0.1 * mse, values clipped at 0.2, learning rate 0.0001"
    )
    assert planned["critic"] == wanted
    assert f"critic      {wanted}" in text(loaded, planned)
    assert plan(recipe(PPO, GAE, "critic={trunk: separate, clip: null}"))["critic"] == (
        "one head on a copy of the policy's backbone; 0.1 * mse"
    )
    assert plan(recipe())["critic"] is None and not any(
        line.startswith("critic") for line in text(recipe(), plan(recipe()))
    )
    aligned = recipe(PPO, GAE, "trainer.steps_per_generation=1")
    assert any("old log-probs and values: gae" in line for line in extra_forwards(aligned, arithmetic(aligned)))
