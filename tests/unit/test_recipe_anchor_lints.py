"""What `plan` says of a reference policy that moves, word for word."""

from __future__ import annotations

import pytest

from entropostat.recipe import facts, load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.lints import lints, reference

RECIPE = """\
name: base
model: {build: {}}
data:
  sources: {easy: {chain: {length: 2, size: 4096}}, hard: {chain: {length: 5, size: 4096}}}
  curriculum: [{source: easy, steps: 120}, {source: hard, steps: 200}]
reward: [chain: {}]
trainer: {per_device_train_batch_size: 64, steps_per_generation: 4, num_generations: 8}
evaluate: {every: 40}
objective: {penalties: [kl_ref: {}]}
"""
KEY = "objective.penalties.kl_ref"


@pytest.fixture
def find(tmp_path):
    """Every lint of the reference, as `plan` prints it."""
    (tmp_path / "base.yaml").write_text(RECIPE)

    def run(*overrides: str) -> list[str]:
        recipe = load(tmp_path / "base.yaml", overrides)
        return [str(lint) for lint in lints(recipe, arithmetic(recipe), reference.RULES)]

    return run


EMA, RESET = f"{KEY}.reference=ema", f"{KEY}.reference=reset"
QUIET = {
    "initial": (),
    "no anchor": ("objective.penalties=[]",),
    "a horizon as long as the longest stage": (EMA, f"{KEY}.decay=.995"),
    "a long horizon": (EMA, f"{KEY}.decay=.998"),
    "no curriculum": (EMA, f"{KEY}.decay=.5", "data.curriculum=null"),
    "reset by steps": (RESET, f"{KEY}.every=50", "evaluate.every=0"),
    "reset by evaluations": (RESET, f"{KEY}.patience=2"),
    "a second term on the same reference": (EMA, "objective.penalties.+kl_ref={name: second, reference: ema}"),
    "zero3": (EMA, "launch={strategy: zero3, num_processes: 4}"),
    "TRL moves it alone": ("trainer.sync_ref_model=true",),
}
LINTS = {
    "a horizon shorter than the longest stage": (
        (EMA, f"{KEY}.decay=.98"),
        (
            f"warning: {KEY}.decay: 0.98 looks back 50 steps, and stage hard lasts 200: at its end the policy from before "
            "it has a weight of 0.98^200 = 0.018; use 0.995 or more"
        ),
    ),
    "the longest stage is the first": (
        (EMA, f"{KEY}.decay=.99", "data.curriculum=[{source: easy, steps: 400}, {source: hard, steps: 200}]"),
        (
            f"warning: {KEY}.decay: 0.99 looks back 100 steps, and stage easy lasts 400: at its end the policy from before "
            "it has a weight of 0.99^400 = 0.018; use 0.9975 or more"
        ),
    ),
    "a reset without a cause": (
        (RESET,),
        (
            f"error: {KEY}.reference: reset never happens: neither every nor patience is given; set every, in optimizer "
            "steps, or patience, in evaluations"
        ),
    ),
    "patience with evaluations at the ends only": (
        (RESET, f"{KEY}.patience=2", "evaluate.every=0"),
        (
            f"error: {KEY}.patience: counts evaluations, and there are none during training; set evaluate.every and "
            "evaluate.prompts, or use every"
        ),
    ),
    "patience with evaluations of nothing": (
        (RESET, f"{KEY}.patience=2", "evaluate.prompts=0"),
        (
            f"error: {KEY}.patience: counts evaluations, and there are none during training; set evaluate.every and "
            "evaluate.prompts, or use every"
        ),
    ),
    "a decay that nothing reads": (
        (f"{KEY}.decay=.9",),
        (
            f"warning: {KEY}.decay: is read by reference: ema only, and the reference is initial; set reference: ema, or "
            "leave decay out"
        ),
    ),
    "a patience that nothing reads": (
        (EMA, f"{KEY}.patience=2"),
        (
            f"warning: {KEY}.patience: is read by reference: reset only, and the reference is ema; set reference: reset, "
            "or leave patience out"
        ),
    ),
    "two movements": (
        (EMA, "objective.penalties.+kl_ref={name: second, reference: ema, decay: .99999}"),
        (
            f"error: {KEY}.reference: there is one reference, and second moves it otherwise; give both terms the same "
            "reference"
        ),
    ),
    "moved by TRL as well": (
        (EMA, "trainer.sync_ref_model=true"),
        f"error: trainer.sync_ref_model: {KEY}.reference moves the reference already; leave it out",
    ),
    "under FSDP": (
        (EMA, "launch={strategy: fsdp2, num_processes: 2}"),
        f"error: {KEY}.reference: cannot move a reference that FSDP holds; use ddp or a zero stage, or initial",
    ),
}


@pytest.mark.parametrize("case", QUIET)
def test_a_sound_reference_has_no_lint(case, find):
    assert find(*QUIET[case]) == []


@pytest.mark.parametrize("case", LINTS)
def test_lint_says(case, find):
    overrides, text = LINTS[case]
    assert find(*overrides) == [text]


def test_the_plan_holds_them(tmp_path):
    (tmp_path / "base.yaml").write_text(RECIPE)
    recipe = load(tmp_path / "base.yaml", [RESET])
    assert ("error", f"{KEY}.reference") in {(x.level, x.key) for x in lints(recipe, arithmetic(recipe))}


@pytest.mark.parametrize(
    ("overrides", "how"),
    [
        ((), "a frozen copy of the model"),
        (("model.peft={}",), "adapters switched off"),
        ((EMA,), "a second model that follows the policy"),
        ((EMA, "model.peft={}"), "a second adapter that follows the policy"),
    ],
)
def test_the_plan_says_what_the_reference_is(overrides, how, tmp_path):
    (tmp_path / "base.yaml").write_text(RECIPE)
    recipe = load(tmp_path / "base.yaml", overrides)
    assert f"reference log-probs: {how}" in facts.extra_forwards(recipe, arithmetic(recipe))
