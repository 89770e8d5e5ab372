"""The advice against a sampler that is not the policy suits the objective of the run."""

from __future__ import annotations

import pytest
from support.linting import recipe

from entropostat import catalog
from entropostat.diagnose import advice
from entropostat.diagnose.log import Log
from entropostat.recipe import load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.lints import lints

CORRECTORS = sorted(
    (slot, name)
    for slot, terms in catalog.load().terms.items()
    for name, term in terms.items()
    if term.corrects_sampler
)
KEY = "vllm_importance_sampling_correction"


def followed(tmp_path, *overrides):
    """The recipe of a run that samples by vLLM, changed as it is advised to; and the errors that ``plan`` finds in it."""
    parent = recipe("trainer.use_vllm=true", *overrides)
    (tmp_path / "parent.yaml").write_text(parent.dump())
    log = Log(terms=[term.name for _, term in parent.terms])
    (tmp_path / "child.yaml").write_text("extends: parent.yaml\n" + advice.mismatch(log))
    child = load(tmp_path / "child.yaml")
    return child, [lint for lint in lints(child, arithmetic(child)) if lint.level == "error"]


@pytest.mark.parametrize(("slot", "name"), CORRECTORS)
@pytest.mark.parametrize("before", ["true", "false"])
def test_beside_a_term_that_carries_the_ratio_the_advice_turns_trl_s_correction_off(slot, name, before, tmp_path):
    term = f"objective.loss={{{name}: {{}}}}" if slot == "loss" else f"objective.{slot}=[{name}: {{}}]"
    child, errors = followed(tmp_path, term, f"trainer.{KEY}={before}")
    assert child.trainer[KEY] is False and errors == []


@pytest.mark.parametrize(
    "term", ["objective.weights=[rejection: {}]", "objective.weights=[off_policy_mask: {}]", "seed=1"]
)
def test_elsewhere_it_turns_it_on(term, tmp_path):
    child, errors = followed(tmp_path, term, f"trainer.{KEY}=false")
    assert child.trainer[KEY] is True and errors == []


def test_rows_of_another_temperature_are_left_uncorrected(tmp_path):
    child, errors = followed(tmp_path, "objective.penalties=[aepo: {reference: true}]", f"trainer.{KEY}=false")
    assert child.trainer[KEY] is False and errors == []


def test_the_terms_that_carry_the_ratio_are_those_of_the_catalog():
    assert list(advice.CORRECTORS) == sorted(name for _, name in CORRECTORS)
