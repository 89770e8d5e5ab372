"""What is said of a term whose statistics run over a single completion."""

from __future__ import annotations

import pytest
from support.linting import recipe

from entropostat import catalog
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.lints import lints

ALONE = ("trainer.per_device_train_batch_size=1", "trainer.steps_per_generation=8")
REQUIRED = {"siren": "anchor: 0.4, "}
MICRO = [
    (slot, name)
    for slot, terms in catalog.load().terms.items()
    for name, term in terms.items()
    if (scope := term.field("scope")) and "micro" in (scope.choices or ())
]


@pytest.mark.parametrize(("slot", "name"), MICRO)
def test_statistics_of_one_sequence_are_named_for_what_they_are(slot, name):
    own = f"{name}: {{{REQUIRED.get(name, '')}{'normalise: true, ' * (name == 'truncated_is')}scope: micro}}"
    term = f"objective.loss={{{own}}}" if slot == "loss" else f"objective.{slot}=[{own}]"
    loaded = recipe(term, *ALONE)
    (found,) = [lint for lint in lints(loaded, arithmetic(loaded)) if lint.key == f"objective.{slot}.{name}.scope"]
    assert ("covariance" in found.message) == (name in ("clip_cov", "kl_cov"))
    assert ("one sign" in found.message) == (name == "bapo")
    assert f"use scope: {catalog.load().terms[slot][name].field('scope').default}" in found.fix


def test_advantages_that_differ_within_a_sequence_have_a_covariance_there():
    chain = "objective.advantages=[grpo: {}, entropy_shaped: {}]"
    loaded = recipe("objective.weights=[clip_cov: {scope: micro}]", chain, *ALONE)
    (found,) = [lint for lint in lints(loaded, arithmetic(loaded)) if lint.key == "objective.weights.clip_cov.scope"]
    assert "covariance" not in found.message


def test_a_scope_that_is_not_read_is_no_fault():
    loaded = recipe("objective.weights=[truncated_is: {}]", *ALONE)
    assert [lint for lint in lints(loaded, arithmetic(loaded)) if lint.key.endswith(".scope")] == []
