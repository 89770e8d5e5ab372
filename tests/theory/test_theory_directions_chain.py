"""The direction in which each advantage term moves entropy, in exact expectation and on samples of drawn policies.

In expectation base estimators differ in the length of the step alone; what they and their reshapers claim about entropy is
about samples, and holds where the sampled completions are likely.
"""

from __future__ import annotations

import pytest
import torch
from theory.tabular import SEEDS, draw, entropies, pull, slopes

from entropostat.rl.registry import ADVANTAGES

BASES = {
    "grpo": {}, "dr_grpo": {}, "rloo": {}, "passk": {"k": 3}, "w_reinforce": {"positive": 0.1}, "qae": {"quantile": 0.3},
    "gae": {}, "reinforce_pp": {"baseline": "group"}, "opo": {}, "otb": {}, "pkpo": {"k": 3}, "maxrl": {},
    "pshw": {"center": 0.5, "gain": 2.0}, "gtpo": {"level": "sequence", "normalise": "together"},
}  # fmt: skip


BEST_ALONE = {"passk_best"}
"""In expectation several completions are the best, and then it does nothing."""
SEVERAL_REWARDS = {"gdpo"}
"""With one reward it is grpo's estimator (test_rl_gdpo)."""

BY_RANK = {"unlikeliness"}
"""More than two advantages a state: a claim of its own (test_theory_likeliness)."""


def test_every_base_estimator_is_known():
    assert {*BASES, *BEST_ALONE, *SEVERAL_REWARDS, *BY_RANK} == {
        kind for kind in ADVANTAGES.names() if not ADVANTAGES[kind].reshapes
    }


@pytest.mark.parametrize("kind, options", BASES.items(), ids=BASES)
def test_with_right_and_wrong_answers_a_base_estimator_changes_the_length_of_a_step_and_not_its_direction(
    kind, options
):
    """Two advantages a state differ from the centred reward by a factor and a constant, and a constant has no effect."""
    for seed in SEEDS:
        case = draw(seed, right=True)
        ratio = slopes(case, advantages=[(kind, options)]) / slopes(case)
        assert (ratio > 1e-3).all()


def sample(seed, likely):
    """One completion each of the actions that lower entropy when they are reinforced, or of those that raise it."""
    case = draw(seed, states=4, right=True)
    states, actions = torch.nonzero((pull(case.logits) < 0) == likely, as_tuple=True)
    right = case.reward[states, actions] > 0
    return (case, (states, actions)) if right.any() and (~right).any() else None


SAMPLES = [pytest.param(likely, 1 if likely else -1, id="likely" if likely else "rare") for likely in (True, False)]
"""Reward lowers the entropy of a sample of likely completions, and raises that of a sample of rare ones."""


def samples(likely):
    cases = [drawn for seed in SEEDS if (drawn := sample(seed, likely)) is not None]
    assert len(cases) > 10
    return cases


@pytest.mark.parametrize("likely, sign", SAMPLES)
def test_w_reinforce_reward_lowers_entropy_and_punishment_raises_it_on_likely_completions_and_not_on_rare(likely, sign):
    for case, rows in samples(likely):
        psr, nsr = (
            slopes(case, rows=rows, advantages=[("w_reinforce", {"positive": x, "negative": 1 - x})]).sum()
            for x in (1, 0)
        )
        assert sign * psr < -1e-5 and sign * nsr > 1e-5


@pytest.mark.parametrize("likely, sign", SAMPLES)
def test_entropic_lowers_entropy_by_a_positive_alpha_on_likely_completions_and_not_on_rare(likely, sign):
    base = ("w_reinforce", {"positive": 1.0})
    for case, rows in samples(likely):
        slope_of = [
            float(slopes(case, rows=rows, advantages=[base, ("entropic", {"alpha": a})]).sum())
            for a in (-0.5, 0.0, 0.5)
        ]
        assert sign * slope_of[0] > sign * slope_of[1] > sign * slope_of[2]


@pytest.mark.parametrize("likely, sign", SAMPLES)
def test_entrocraft_brings_entropy_back_to_its_band_by_likely_completions_and_drives_it_away_by_rare(likely, sign):
    for case, rows in samples(likely):
        now = float(entropies(case.logits)[rows[0]].mean())

        def outside(lower, upper, case=case, rows=rows):
            band = ("entrocraft", {"lower": lower, "upper": upper, "center": 0.5, "gain": 2.0})
            return float(slopes(case, rows=rows, advantages=[("grpo", {}), band]).sum())

        assert sign * outside(now - 0.2, now - 0.1) < -1e-5
        assert sign * outside(now + 0.1, now + 0.2) > 1e-5


def test_edge_speeds_the_decided_states_and_slows_the_uncertain_ones_whichever_way_they_go():
    for seed in SEEDS:
        case = draw(seed)
        plain, edged = (slopes(case, advantages=[("dr_grpo", {}), *more]) for more in ([], [("edge", {"cap": None})]))
        h = entropies(case.logits)
        torch.testing.assert_close(edged, plain * h.mean() / h)


def test_entropy_shaped_has_no_effect_in_expectation_where_its_bound_is_nowhere_reached():
    """The bonus is then the same for all actions of a state: a baseline."""
    for seed in SEEDS:
        case = draw(seed)
        added = gain_of_shaping(case, alpha=0.2 * float(case.centred.abs().min()))
        assert added.abs().max() < 1e-12


def test_entropy_shaped_has_no_direction_of_its_own():
    added = [float(gain_of_shaping(draw(seed), alpha=0.4).sum()) for seed in SEEDS]
    assert min(added) < -1e-3 < 1e-3 < max(added)


def gain_of_shaping(case, alpha):
    chain = [("dr_grpo", {})]
    shaped = slopes(case, advantages=[*chain, ("entropy_shaped", {"alpha": alpha})])
    return shaped - slopes(case, advantages=chain)
