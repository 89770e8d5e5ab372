"""The seams under PEFT, bf16 autocast, several iterations, and a generation that TRL scores on-policy."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from peft import LoraConfig
from support import tiny
from support.log_history import trained

from entropostat.faults import RunFault
from entropostat.recipe import load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.facts import extra_forwards
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.trl import scoring
from entropostat.trainers.trl.loss_pass import LossPass

TERMS: dict[str, Any] = {
    "weights": [{"clip_cov": {"fraction": 0.2, "low": 0.0}}, {"high_entropy": {"fraction": 0.5}}],
    "penalties": [{"kl_ref": {"coef": 0.1}}, {"kl_cov": {"fraction": 0.1}}, {"entropy_bonus": {"coef": 0.01}}],
}


def test_the_reference_of_an_adapter_is_the_model_without_it(path: str) -> None:
    trainer = EntropyGRPOTrainer(
        model=path,
        reward_funcs=tiny.digits,
        args=tiny.config(max_steps=4),
        train_dataset=tiny.prompts(),
        objective=tiny.objective(**TERMS),
        peft_config=LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear"),
    )
    assert trainer.ref_model is None
    logged = trained(trainer)
    assert logged[0]["kl"] == pytest.approx(0.0, abs=1e-9)
    assert logged[-1]["kl"] > 1e-6
    assert logged[1]["kl_cov/distance"] > 0


def test_the_reference_is_another_model_than_the_policy(path: str) -> None:
    """A copy whose patched forward calls the original's would read a KL of exactly 0 for ever."""
    logged = trained(tiny.ours(path, tiny.objective(penalties=["kl_ref"]), max_steps=4))
    assert logged[0]["kl"] == pytest.approx(0.0, abs=1e-9)
    assert all(row["kl"] > 1e-6 for row in logged[1:])


def test_bf16_autocast_keeps_statistics_in_float32(path: str) -> None:
    trainer = tiny.ours(path, tiny.objective(**TERMS), max_steps=4, bf16=True)
    seen = []
    tap = trainer._tap

    def watch(passed: LossPass, logps: torch.Tensor, entropy: torch.Tensor, *extra: Any) -> None:
        seen.append((logps.dtype, entropy.dtype))
        tap(passed, logps, entropy, *extra)

    trainer._tap = watch
    logged = trained(trainer)
    assert set(seen) == {(torch.float32, torch.float32)}
    assert all(row["grad_norm"] == row["grad_norm"] and row["entropy"] > 0 for row in logged)


def test_on_policy_generations_are_scored_once_more_for_their_statistics(path: str) -> None:
    """One update a generation: TRL keeps no old log-probs, Clip-Cov needs them, KL-Cov is exactly inert."""
    trainer = tiny.ours(path, tiny.objective(**TERMS), max_steps=3, steps_per_generation=1, num_iterations=1)
    logged = trained(trainer)
    assert all("old_per_token_logps" not in part for part in trainer._buffered_inputs)
    assert any(row["clip_cov/fraction"] > 0 for row in logged)
    assert all(row["kl_cov/distance"] == 0 and row["kl_cov/fraction"] > 0 for row in logged)


def test_terms_without_old_log_probs_cost_no_extra_forward(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tiny.ours(path, max_steps=2, steps_per_generation=1)
    calls = []
    monkeypatch.setattr(scoring, "score_tokens", lambda *args: calls.append(1))
    trainer.train()
    assert not calls


READERS = {
    "siren": {"penalties": [{"siren": {"anchor": 0.5}}]},
    "siren of the micro-batch": {"penalties": [{"siren": {"anchor": 0.5, "scope": "micro"}}]},
    "bonus on the top": {"penalties": [{"entropy_bonus": {"coef": 0.1, "select": "top"}}]},
    "proxies": {"penalties": [{"lp_reg": {"estimator": "k3", "scope": "micro"}}]},
    "a controller": {"penalties": [{"entropy_bonus": {"coef": {"step": {"signal": "entropy_old", "target": 1.0}}}}]},
    "another controller": {"penalties": [{"entropy_bonus": {"coef": {"step": {"signal": "entropy", "target": 1.0}}}}]},
}


@pytest.mark.parametrize("blocks", READERS.values(), ids=READERS)
def test_the_trainer_scores_a_generation_once_more_where_plan_says_so(
    path: str, blocks: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [f"objective.{slot}={json.dumps(terms)}" for slot, terms in blocks.items()]
    aligned = "trainer={num_generations: 4, per_device_train_batch_size: 8, gradient_accumulation_steps: 1, steps_per_generation: 1}"
    recipe = load(RECIPES / "quickstart" / "plain.yaml", [*overrides, aligned])
    trainer = tiny.ours(path, recipe.objective, max_steps=1, steps_per_generation=1)
    calls = []
    score = scoring.score_tokens
    monkeypatch.setattr(scoring, "score_tokens", lambda *args: calls.append(1) or score(*args))
    trainer.train()
    assert len(calls) == len(extra_forwards(recipe, arithmetic(recipe)))


def test_the_logged_advantages_are_those_that_train(path: str) -> None:
    trainer = tiny.ours(path, tiny.objective(advantages=["rloo"]), max_steps=1)
    trainer.train()
    logged = torch.tensor(sorted(trainer._logs["advantages"]))
    trained = torch.cat([part["advantages"] for part in trainer._buffered_inputs]).sort().values
    torch.testing.assert_close(logged, trained)


def test_an_evaluation_moves_no_controller(path: str) -> None:
    step = {"step": {"target": 10.0, "delta": 0.01}}
    spec = tiny.objective(penalties=[{"entropy_bonus": {"coef": step}}])
    trainer = EntropyGRPOTrainer(
        model=path,
        reward_funcs=tiny.digits,
        args=tiny.config(max_steps=2, per_device_eval_batch_size=4),
        train_dataset=tiny.prompts(),
        eval_dataset=tiny.prompts(4),
        objective=spec,
    )
    trainer.train()
    before, generations = dict(trainer.thermostat.state), trainer.generations
    trainer.evaluate()
    assert trainer.thermostat.state == before and trainer.generations == generations


def test_answer_keys_reach_the_terms(path: str) -> None:
    trainer = tiny.ours(path, max_steps=1)
    trainer.answer_keys = lambda: [str(i) for i in range(8)]
    seen = []
    score = trainer._score
    trainer._score = lambda output, batch: seen.append(batch) or score(output, batch)
    trainer.train()
    assert seen[0].answers == tuple("01234567")
    assert seen[0].logps.shape[0] == 8


CLUSTERS = {
    "advantage": {"advantages": ["grpo", "seed"]},
    "loss": {"loss": {"copo": {}}},
}


@pytest.mark.parametrize("spec", CLUSTERS.values(), ids=CLUSTERS)
def test_a_term_that_clusters_answers_stops_without_keys_and_with_too_few(path: str, spec: dict[str, Any]) -> None:
    trainer = tiny.ours(path, tiny.objective(**spec), max_steps=1)
    with pytest.raises(RunFault, match=r"clusters answers, and trainer\.answer_keys is None: give"):
        trainer.train()
    trainer.answer_keys = lambda: ["1"] * 7
    with pytest.raises(RunFault, match="gave 7 keys for the 8 completions of this rank"):
        trainer.train()


def test_the_second_iteration_of_copo_reports_what_its_clip_holds(path: str) -> None:
    """Its bounds ask for its statistics, in the loss and in the log."""
    spec = tiny.objective(loss={"copo": {"epsilon": 0.01}})
    trainer = tiny.ours(path, spec, max_steps=8, num_iterations=2)
    trainer.answer_keys = lambda: ["1", "2", None, "1", "1", "1", "1", "1"]
    found = trained(trainer)
    assert all(0 < row["copo/local"] < 1 and row["copo/global_advantage"] > 0 for row in found)
    assert max(row["clip_ratio/region_mean"] for row in found) > 0
    assert all(math.isfinite(row["loss"]) for row in found)
