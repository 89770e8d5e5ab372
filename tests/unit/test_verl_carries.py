"""What verl cannot carry is refused by name: no verl is needed to say so, and no torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from entropostat.catalog import load as load_catalog
from entropostat.recipe import Recipe, Term, load
from entropostat.rl.needs import STATISTICS
from entropostat.verl.carries import AGGREGATION, DRIVER, WORKER, refusals, slotted
from entropostat.verl.own_losses import NoCounterpart, own_loss

PLAIN = "entropostat:quickstart/plain.yaml"
HUB = "model={path: org/model}"


def recipe(*overrides: str) -> Recipe:
    return load(PLAIN, (HUB, *overrides))


def keys(*overrides: str) -> list[str]:
    return [refusal.key for refusal in refusals(recipe(*overrides))]


def pid(signal: str) -> str:
    return f"objective.penalties=[entropy_bonus: {{coef: {{pid: {{signal: {signal}, target: 1, effect: raises}}}}}}]"


def test_a_plain_recipe_and_what_the_driver_computes_run() -> None:
    weights = "[clip_cov: {}, high_entropy: {}, truncated_is: {}]"
    penalties = "[kl_cov: {}, entropy_bonus: {coef: 0.01}, kl_ref: {coef: 0.1}, renyi_bonus: {coef: 0.01}]"
    assert keys(f"objective.weights={weights}", f"objective.penalties={penalties}") == []
    assert keys(pid("entropy_old")) == keys(pid("reward")) == keys(pid("entropy_bonus/entropy")) == []


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("objective.penalties=[siren: {anchor: 1.0}]", "objective.penalties.siren"),
        ("objective.penalties=[aepo: {}]", "objective.penalties.aepo"),
        ("objective.penalties=[ter: {scope: micro}]", "objective.penalties.ter.scope"),
        ("objective.penalties=[entropy_bonus: {reduction: trl}]", "objective.penalties.entropy_bonus.reduction"),
        ("objective.penalties=[kl_ref: {coef: 0.1, reference: ema}]", "objective.penalties.kl_ref.reference"),
        ("objective.weights=[lopti: {}]", "objective.weights.lopti.order"),
        ("objective.weights=[clip_v: {}]", "objective.weights.clip_v"),
        ("objective.advantages=[hicra: {}]", "objective.advantages.hicra"),
        ("objective.advantages=[gdpo: {}]", "objective.advantages.gdpo"),
        ("objective.loss={flowrl: {}}", "objective.loss.flowrl"),
        ("objective.loss={trl: {type: vespo}}", "objective.loss.trl.type"),
        ("objective.loss={trl: {type: bnpo}}", "objective.loss.trl.type"),
        ("objective.loss={ppo_clip: {type: bnpo}}", "objective.loss.ppo_clip.type"),
        ("objective.loss={trl: {delta: 1.1}}", "objective.loss.trl.delta"),
        ("objective.loss={trl: {off_policy_mask_threshold: 1}}", "objective.loss.trl.off_policy_mask_threshold"),
        ("objective.scalars=[temperature: {value: 1.1}]", "objective.scalars.temperature"),
        ("objective.scalars=[learning_rate: {scale: 0.5}]", "objective.scalars.learning_rate"),
        ("objective.data=[difficulty: {}]", "objective.data.difficulty"),
        (pid("entropy_ratio"), "objective.penalties.entropy_bonus.coef"),
        (pid("entrpy"), "objective.penalties.entropy_bonus.coef"),
        ("optimizer.muon.adjust=original", "optimizer.muon"),
        ("optimizer.step_radius.target=1.0", "optimizer.step_radius"),
        ("shaping.normalise=true", "shaping.normalise"),
        ("sampler.min_p=0.1", "sampler.min_p"),
        ("model={build: {}}", "model.build"),
        ("model={path: org/model, load_in_4bit: true, peft: {}}", "model.load_in_4bit"),
    ],
)
def test_what_it_cannot_carry_is_named(override: str, key: str) -> None:
    assert keys(override) == [key]


def test_a_critic_of_ours_is_refused_in_both_places() -> None:
    assert keys("trainer.kind=ppo", "objective.advantages=[gae: {}]") == ["trainer.kind", "objective.advantages.gae"]


def test_filtered_groups_are_verls_own() -> None:
    assert keys("objective.data=[dynamic_sampling: {}]") == []


def test_every_refusal_says_what_to_do() -> None:
    (refusal,) = refusals(recipe("objective.penalties=[kl_ref: {coef: 0.1, reference: ema}]"))
    assert str(refusal) == (
        "objective.penalties.kl_ref.reference: verl's reference does not move; take reference: initial"
    )


def test_the_objective_alone_is_enough() -> None:
    assert refusals(recipe("objective.penalties=[aepo: {}]", "optimizer.muon.adjust=original").objective) == refusals(
        recipe("objective.penalties=[aepo: {}]")
    )


def test_every_field_that_a_term_can_need_is_there_or_refused() -> None:
    """A field that somebody adds must be placed: what is in neither set is refused, and by name."""
    placed = DRIVER | WORKER
    for slot in ("rewards", "advantages", "weights", "loss", "penalties"):
        for info in load_catalog().terms[slot].values():
            late = {field for need in info.needs for field in need.fields}
            early = {field for need in info.rollout_needs for field in need.fields}
            assert late & placed <= WORKER, f"{info.name} reads in the loss what only the driver has"
            assert early & placed <= DRIVER, f"{info.name} reads before the loss what only that has"
    assert placed & set(STATISTICS) == {"sum_p2"}


TRL: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({}, "ppo_clip", {"type": "dapo", "epsilon": 0.2, "epsilon_high": None, "clamp": None}),
    (
        {"type": "grpo", "epsilon_high": 0.3, "delta": 2.0},
        "ppo_clip",
        {"type": "grpo", "epsilon": 0.2, "epsilon_high": 0.3, "dual": 2.0, "clamp": None},
    ),
    (
        {"type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4},
        "gspo",
        {"type": "grpo", "epsilon": 3e-4, "epsilon_high": 3e-4},
    ),
    ({"type": "cispo", "epsilon_high": 5.0}, "cispo", {"type": "dapo", "epsilon_high": 4.0}),
    ({"type": "sapo"}, "sapo", {"type": "grpo", "tau_pos": 1.0, "tau_neg": 1.05}),
]


@pytest.mark.parametrize(("options", "kind", "own"), TRL)
def test_a_loss_of_trls_is_one_of_ours(options: dict[str, Any], kind: str, own: dict[str, Any]) -> None:
    assert own_loss(Term("named", "trl", options)) == Term("named", kind, own)
    assert own["type"] in AGGREGATION


def test_a_moving_cap_of_cispo_has_no_counterpart() -> None:
    moved = Term("trl", "trl", {"type": "cispo", "epsilon_high": {"pid": {"signal": "entropy", "target": 1}}})
    with pytest.raises(NoCounterpart, match=r"objective\.loss\.trl\.epsilon_high: .* moved by a controller; take"):
        own_loss(moved)


def test_the_loss_comes_as_verl_computes_it() -> None:
    assert [term.kind for slot, term in slotted(recipe().objective) if slot == "loss"] == ["ppo_clip"]


def test_neither_verl_nor_torch_is_imported() -> None:
    code = "import sys, entropostat.verl.carries; sys.exit(any(m in sys.modules for m in ('torch', 'verl', 'trl')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
