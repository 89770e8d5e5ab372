"""The tabular plant of the benchmarks, and the loop closed on it with real gradients."""

from __future__ import annotations

import pytest
import torch

from benchmarks.holding.plant import Plant, Size, tracking_error
from entropostat.rl.control import Control
from entropostat.rl.objective import normalise_terms

GAIN = "weights.entropy_tilt.gain"
SMALL = {"contexts": 12, "steps": 130, "noise": 0.2, "rate": 0.2}


def spec(weights=(), penalties=(), advantages=("grpo",)):
    lists = {"advantages": advantages, "weights": weights, "penalties": penalties}
    terms = {slot: normalise_terms(list(given)) for slot, given in lists.items()}
    return {"loss": ("ppo_clip", "ppo_clip", {}), **terms}


def piloted(**options):
    follow = {"follow": {"knob": GAIN, "key": "rest"}}
    return spec([{"entropy_tilt": {"gain": {"autopilot": options}}}], [{"entropy_bonus": {"coef": follow}}])


def run(given, seed=0, **size):
    return Plant(Control.build(given), seed, Size(**(size or SMALL))).run()


def test_the_autopilot_holds_the_exact_entropy_where_plain_training_loses_it_and_learns_as_well():
    plain, held = run(spec()), run(piloted(target=1.0, gain_max=0.4))
    errors = [tracking_error(p.history["entropy"], 1.0) for p in (plain, held)]
    assert errors[0] > 0.4 and errors[1] < 0.05
    assert min(p.history["reward"][-1] for p in (plain, held)) > 0.95
    first = next(i for i, gate in enumerate(held.history[f"{GAIN}/gate"]) if gate)
    assert held.history["signal"][first] < 1.1 and not any(held.history[f"{GAIN}/output"][:first])
    assert held.history["entropy"][:first] == plain.history["entropy"][:first]


def test_the_bonus_takes_over_where_all_answers_are_right():
    done = run(piloted(target=1.0, bonus_high=0.1), contexts=12, steps=200, rate=0.2)
    assert done.history["reward"][-1] > 0.99
    assert done.history[f"{GAIN}/share"][-1] == 0 and done.history[f"{GAIN}/rest"][-1] > 0
    assert tracking_error(done.history["entropy"], 1.0, begin=0.75) < 0.1


OBJECTIVES = {
    "weights": spec([{"clip_v": {"mu": 0.5}}, {"steer": {"omega": "full"}}]),
    "nucleus": spec(penalties=[{"siren": {"anchor": 0.5}}, {"kl_ref": {"coef": 0.1}}]),
    "temperatures": spec(advantages=("grpo", {"dcpo": {}})),
    "top tokens": spec(penalties=[{"entropy_bonus": {"coef": 0.01, "select": "top"}}]),
}


@pytest.mark.parametrize("given", OBJECTIVES.values(), ids=OBJECTIVES.keys())
def test_the_plant_fills_what_terms_ask_for_and_repeats_itself(given):
    size = {"contexts": 6, "steps": 4, "windows": 2}
    one, two = run(given, **size), run(given, **size)
    assert repr(one.history) == repr(two.history)  # NaN where a window holds no token of the term
    assert one.steps == 4 and one.generations == 2
    assert torch.equal(one.logits, two.logits) and not torch.equal(one.logits, one.reference)
    assert run(given, seed=1, **size).history["entropy"] != one.history["entropy"]
