"""What the user is told about a broken override on the command line."""

from __future__ import annotations

import pytest

from entropostat.recipe import RecipeError, load

GOOD = """\
model: {build: {}}
data: {sources: {easy: {chain: {}}}, curriculum: [{source: easy, steps: 1}]}
reward: [chain: {}]
objective: {penalties: [kl_ref: {coef: 0.001}]}
"""


def _complaint(folder, override: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load("good.yaml", [override])
    return str(caught.value)


OVERRIDES = {
    "no equals sign": ("seed", "command line: 'seed' is not an override; write key.subkey=value"),
    "unknown key": (
        "objective.penalties.kl_ref.coeff=.1",
        "command line: objective.penalties.kl_ref.coeff: unknown key 'coeff' (value 0.1); did you mean 'coef'?",
    ),
    "unknown term": (
        "objective.penalties.entropy_bonus.coef=.1",
        (
            "command line: objective.penalties.entropy_bonus: there is no term 'entropy_bonus' here; known: kl_ref; add it "
            "with 'objective.penalties.+entropy_bonus={...}'"
        ),
    ),
    "wrong type": ("seed=a", "command line: seed: must be a whole number from 0 to 4294967295, not 'a'"),
    "item beyond the list": (
        "data.curriculum.3.steps=1",
        "command line: data.curriculum.3: there is no item 3; the list has 1, counted from 0",
    ),
    "bad yaml": ("seed=[1", "command line: not valid YAML: expected ',' or ']', but got '<stream end>'"),
}


@pytest.mark.parametrize("case", OVERRIDES)
def test_broken_override_gives_this_line(case, folder):
    override, expected = OVERRIDES[case]
    assert _complaint(folder, override) == expected
