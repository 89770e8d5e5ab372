"""Combinations that are valid key by key and still do not do what they say."""

from __future__ import annotations

import dataclasses

import pytest
from support.linting import CLIP_COV, ON_POLICY

from entropostat.catalog import load as load_catalog
from entropostat.recipe import facts, load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.lints import lints


@pytest.fixture
def find(base):
    """(level, key) of every lint."""

    def run(*overrides: str):
        recipe = load(base, overrides)
        return {(lint.level, lint.key) for lint in lints(recipe, arithmetic(recipe))}

    return run


def test_sound_recipe_has_no_lint(find):
    assert find() == set()


OURS = "use_vllm: true, vllm_importance_sampling_correction: false"


@pytest.mark.parametrize(
    "overrides",
    [
        ("objective.weights=[icepop: {}]", f"trainer={{{OURS}}}"),
        ("objective.loss={dppo: {}}", f"trainer={{{OURS}}}"),
        ("objective.loss={dppo: {behaviour: old}}", "trainer.use_vllm=true"),
        ("objective.weights=[rejection: {}, off_policy_mask: {}]", "trainer.use_vllm=true"),
        ("objective.weights=[rejection: {}, icepop: {}]", f"trainer={{{OURS}}}"),
        ("objective.weights=[off_policy_mask: {}]",),
        ("objective.loss={ipo: {}}",),
    ],
)
def test_terms_that_read_the_sampler_have_no_lint_where_they_act_and_nobody_else_corrects(find, overrides):
    assert find(*overrides) == set()


KL_COV = "objective.penalties.+kl_cov={}"
CASES = {
    "nothing too much to keep": (
        ("objective.data=[dynamic_sampling: {}, rsr: {}]",),
        "warning",
        "objective.data.rsr",
    ),
    "refill for an estimator that does not compare": (
        ("objective.advantages=[w_reinforce: {}]", "objective.data=[dynamic_sampling: {}]"),
        "warning",
        "objective.data.dynamic_sampling",
    ),
    "refill of what a reshaper learns from": (
        ("objective.advantages=[grpo: {}, kl_reward: {}]", "objective.data=[dynamic_sampling: {}]"),
        "warning",
        "objective.data.dynamic_sampling",
    ),
    "refill beside other rollouts": (
        ("objective.penalties=[aepo: {}]", "objective.data=[dynamic_sampling: {}]"),
        "warning",
        "objective.penalties.aepo",
    ),
    "refill for rewards that never repeat": (
        ("reward=[chain: {}, model: {path: judge}]", "objective.data=[dynamic_sampling: {}]"),
        "warning",
        "objective.data.dynamic_sampling",
    ),
    "diversity of answers that nobody gives": (
        ("reward=[model: {path: judge}]", "objective.data=[diversity_weighted: {by: answers}]"),
        "warning",
        "objective.data.diversity_weighted.by",
    ),
    "reshaper first": (("objective.advantages=[edge: {}]",), "error", "objective.advantages.edge"),
    "kl_cov on-policy": ((KL_COV, ON_POLICY), "warning", "objective.penalties.kl_cov"),
    "clip on-policy": (("objective.loss={trl: {epsilon: 0.2}}", ON_POLICY), "warning", "objective.loss.trl.epsilon"),
    "dual clip on-policy": (
        ("objective.loss={ppo_clip: {dual: 3}}", ON_POLICY),
        "warning",
        "objective.loss.ppo_clip.dual",
    ),
    "sequence level and token weights": (
        ("objective.loss={trl: {importance_sampling_level: sequence}}", CLIP_COV),
        "error",
        "objective.loss.trl.importance_sampling_level",
    ),
    "luspo and token weights": (
        ("objective.loss={trl: {type: luspo}}", CLIP_COV),
        "warning",
        "objective.loss.trl.type",
    ),
    "micro scope on one sequence": (
        (
            "objective.weights.+clip_cov={scope: micro}",
            "trainer.per_device_train_batch_size=1",
            "trainer.steps_per_generation=8",
        ),
        "warning",
        "objective.weights.clip_cov.scope",
    ),
    "top_p": (("sampler.top_p=.9",), "warning", "sampler.top_p"),
    "top_k": (("sampler.top_k=9",), "warning", "sampler.top_k"),
    "min_p": (("sampler.min_p=.1",), "warning", "sampler.min_p"),
    "repetition": (("sampler.repetition_penalty=1.1",), "warning", "sampler.repetition_penalty"),
    "temperature": (("sampler.temperature=.8",), "note", "sampler.temperature"),
    "temperature that moves under one that compares": (
        ("objective.advantages=[grpo: {}, dcpo: {}]", "objective.scalars.+temperature={}"),
        "error",
        "objective.scalars.temperature",
    ),
    "temperature that something moves": (
        ("sampler.temperature=.8", "objective.scalars.+temperature={value: 1.2}"),
        "error",
        "sampler.temperature",
    ),
    "evaluation beyond vLLM's context": (
        ("trainer.use_vllm=true", "trainer.vllm_max_model_length=64", "evaluate.max_new_tokens=64"),
        "warning",
        "evaluate.max_new_tokens",
    ),
    "temperature beyond vLLM": (("trainer.use_vllm=true", "sampler.temperature=2.5"), "error", "sampler.temperature"),
    "temperature below vLLM": (("trainer.use_vllm=true", "sampler.temperature=.005"), "error", "sampler.temperature"),
    "evaluation beyond vLLM": (("trainer.use_vllm=true", "evaluate.temperature=3"), "error", "evaluate.temperature"),
    "constant scalar beyond vLLM": (
        ("trainer.use_vllm=true", "objective.scalars.+temperature={value: 3}"),
        "error",
        "objective.scalars.temperature.value",
    ),
    "schedule beyond vLLM": (
        ("trainer.use_vllm=true", "objective.scalars.+temperature={value: {schedule: {points: [[0, 1], [9, 4]]}}}"),
        "error",
        "objective.scalars.temperature.value.schedule.points",
    ),
    "aepo beyond vLLM": (
        ("trainer.use_vllm=true", "objective.penalties.+aepo={t_high: 2.5}"),
        "error",
        "objective.penalties.aepo.t_high",
    ),
    "best checkpoint": (("trainer.save_strategy=best",), "error", "trainer.save_strategy"),
    "controller on an inert term": (
        ("objective.penalties.+kl_cov={coef: {pid: {signal: entropy, target: 1}}}", ON_POLICY),
        "warning",
        "objective.penalties.kl_cov.coef",
    ),
    "controller on an inert clip": (
        ("objective.loss={trl: {epsilon: 0.2, epsilon_high: {schedule: {points: [[0, 1]]}}}}", ON_POLICY),
        "warning",
        "objective.loss.trl.epsilon_high",
    ),
    "two controllers on one signal": (
        (
            "objective.penalties.+kl_ref={coef: {pid: {signal: entropy, target: 1}}}",
            "objective.penalties.+entropy_bonus={coef: {step: {}}}",
        ),
        "warning",
        "objective.penalties.entropy_bonus.coef",
    ),
    "unknown signal": (
        ("objective.penalties.+kl_ref={coef: {pid: {signal: entrpy, target: 1}}}",),
        "error",
        "objective.penalties.kl_ref.coef.pid.signal",
    ),
    "unknown signal under a target's schedule": (
        (
            "objective.penalties.+kl_ref={coef: {pid: {signal: kl, target: {schedule: {of: initial, points: [[0, 1]], "
            + "initial_signal: entrpy}}}}}",
        ),
        "error",
        "objective.penalties.kl_ref.coef.pid.target.schedule.initial_signal",
    ),
    "unknown second signal": (
        ("objective.penalties.+kl_ref={coef: {safe: {reward_signal: rewrd}}}",),
        "error",
        "objective.penalties.kl_ref.coef.safe.reward_signal",
    ),
    "kl_old on-policy": (
        ("objective.penalties.+kl_ref={coef: {pid: {signal: kl_old, target: 1}}}", ON_POLICY),
        "warning",
        "objective.penalties.kl_ref.coef.pid.signal",
    ),
    "one completion": (("trainer.num_generations=1",), "error", "trainer.num_generations"),
    "two ratios to the sampler": (
        ("objective.weights=[icepop: {}, sequence_mask: {}]",),
        "error",
        "objective.weights.sequence_mask",
    ),
    "a loss and a weight with the ratio to the sampler": (
        ("objective.weights=[truncated_is: {}]", "objective.loss={dppo: {}}"),
        "error",
        "objective.loss.dppo",
    ),
    "TRL corrects for the sampler too": (
        ("objective.weights=[icepop: {}]", "trainer.use_vllm=true"),
        "error",
        "trainer.vllm_importance_sampling_correction",
    ),
    "TRL corrects for the sampler that a loss corrects for": (
        ("objective.loss={ipo: {}}", "trainer.use_vllm=true"),
        "error",
        "trainer.vllm_importance_sampling_correction",
    ),
    "a server that may tell other log-probs": (
        ("objective.weights=[icepop: {}]", f"trainer={{{OURS}, vllm_mode: server}}"),
        "note",
        "objective.weights.icepop",
    ),
    **{
        f"{kind} without another engine": ((f"objective.weights=[{kind}: {{}}]",), "note", f"objective.weights.{kind}")
        for kind in ("icepop", "truncated_is", "sequence_mask", "rejection")
    },
    "off_policy_mask on-policy": (
        ("objective.weights=[off_policy_mask: {}]", ON_POLICY),
        "note",
        "objective.weights.off_policy_mask",
    ),
    "dppo on-policy": (("objective.loss={dppo: {}}", ON_POLICY), "note", "objective.loss.dppo"),
    "ipo on-policy": (("objective.loss={ipo: {}}", ON_POLICY), "note", "objective.loss.ipo"),
    "broken groups": (("trainer.num_generations=7",), "error", "trainer.num_generations"),
    "dropout that is kept": (("model.dropout=keep", "model.peft={lora_dropout: 0.1}"), "warning", "model.dropout"),
    "dropout that is not read": (("model.peft={lora_dropout: 0.1}",), "warning", "model.peft.lora_dropout"),
    "noise on embeddings": (("trainer.neftune_noise_alpha=5",), "warning", "trainer.neftune_noise_alpha"),
    "two sizes of a generation": (("trainer.generation_batch_size=256",), "error", "trainer.generation_batch_size"),
    "updates that mix generations": (
        ("trainer.gradient_accumulation_steps=3",),
        "warning",
        "trainer.gradient_accumulation_steps",
    ),
    "single with processes": (("launch.num_processes=2",), "error", "launch.strategy"),
    "processes over machines": (
        ("launch={strategy: ddp, num_processes: 3, num_machines: 2}", "slurm.nodes=2"),
        "error",
        "launch.num_processes",
    ),
    "fewer nodes than machines": (
        ("launch={strategy: ddp, num_processes: 2, num_machines: 2}",),
        "warning",
        "slurm.nodes",
    ),
    "less data than a generation": (("data.sources.easy.chain.size=8",), "warning", "data.sources.easy"),
    "less data than the curriculum": (("data.sources.easy.chain.size=64",), "note", "data.sources.easy"),
    "steps against the curriculum": (("trainer.max_steps=40",), "note", "trainer.max_steps"),
    "nothing held out": (("data.held_out=0",), "error", "data.held_out"),
    "reference to update": (("trainer.sync_ref_model=true",), "warning", "trainer.sync_ref_model"),
    "16-bit master weights": (("model.dtype=bfloat16",), "warning", "model.dtype"),
    "user code": (("reward.+function={path: 'a:b'}",), "note", "reward.function.path"),
}


@pytest.mark.parametrize("case", CASES)
def test_lint_is_raised(case, find):
    overrides, level, key = CASES[case]
    assert (level, key) in find(*overrides)


def test_kl_cov_with_several_updates_is_no_lint(find):
    assert find(KL_COV) == set()


def test_kl_cov_on_policy_with_corrected_vllm_is_driven_by_noise(find):
    assert find(KL_COV, ON_POLICY, "trainer.use_vllm=true") == {("warning", "objective.penalties.kl_cov")}


def test_default_clip_range_is_no_lint_on_policy(find):
    assert find(ON_POLICY) == set()


def test_sequence_masking_with_token_advantages_is_an_error(find, monkeypatch):
    catalog = load_catalog()
    grpo = dataclasses.replace(catalog.terms["advantages"]["grpo"], tokenwise=True)
    terms = {**catalog.terms, "advantages": {**catalog.terms["advantages"], "grpo": grpo}}
    monkeypatch.setattr(facts, "load", lambda: dataclasses.replace(catalog, terms=terms))
    told = find("objective.loss={trl: {off_policy_mask_threshold: 1}}")
    assert ("error", "objective.loss.trl.off_policy_mask_threshold") in told


@pytest.mark.parametrize(
    "loss, clips", [("{sapo: {}}", False), ("{trl: {type: vespo}}", False), ("{cispo: {}}", True), ("{trl: {}}", True)]
)
def test_a_loop_on_what_the_loss_clips_needs_a_loss_that_clips(find, loss, clips):
    loop = "objective.penalties=[{entropy_bonus: {coef: {pid: {signal: clip_fraction, target: .1}}}}]"
    errors = {key for level, key in find(loop, f"objective.loss={loss}") if level == "error"}
    assert any(key.endswith("coef.pid.signal") for key in errors) is not clips
