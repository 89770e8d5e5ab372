"""Knobs that follow another knob's controller."""

from __future__ import annotations

import json

import pytest

from entropostat.rl.control import Control

NAN = float("nan")
COEF = "penalties.entropy_bonus.coef"


def spec(**options):
    slots = {"coef": {"pid": {"signal": "entropy", "target": 1.0, "ki": 0.5, "high": 5.0, "start": 0.25}}}
    penalties = [
        ("entropy_bonus", "entropy_bonus", slots),
        ("renyi_bonus", "renyi_bonus", {"coef": {"follow": options}}),
    ]
    return {"loss": ("unclipped", "unclipped", {}), "penalties": penalties}


def test_a_follower_takes_what_its_knob_has_just_reached_from_the_first_value_on():
    control = Control.build(spec(knob=COEF, key="integral"))
    assert Control.build(spec(knob=COEF)).template.penalties[1].term.coef == 0.25
    state = control.init()
    assert control.values(state)["penalties.renyi_bonus.coef"] == 0
    state = control.update(json.loads(json.dumps(state)), {"entropy": 0.8})
    assert control.values(state) == {COEF: pytest.approx(0.35), "penalties.renyi_bonus.coef": pytest.approx(0.1)}
    state[COEF]["integral"] = NAN
    assert control._followed(state)["penalties.renyi_bonus.coef"]["output"] == pytest.approx(0.1)
    assert control.signals == {"entropy"} and list(state) == [knob.path for knob in control.knobs]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"knob": "penalties.entropy_bonus.coeff"}, "renyi_bonus.coef: unknown knob .*did you mean 'penalties.entropy"),
        ({"knob": COEF, "key": "integrl"}, "unknown number in the state of penalties.entropy.*did you mean 'integral'"),
        ({"knob": "penalties.renyi_bonus.coef"}, "renyi_bonus.coef: follows itself, penalties.renyi_bonus.coef"),
    ],
)
def test_a_follower_of_nothing_is_refused_with_the_nearest_spelling(options, message):
    with pytest.raises(ValueError, match=message):
        Control.build(spec(**options))


def test_a_follower_of_a_follower_is_refused_and_so_is_a_circle():
    to = {"follow": {"knob": "penalties.renyi_bonus.coef"}}
    for coef in ({"follow": {"knob": COEF}}, to):
        parts = [("entropy_bonus", "entropy_bonus", {"coef": to}), ("renyi_bonus", "renyi_bonus", {"coef": coef})]
        with pytest.raises(ValueError, match=r"follows (itself|a follower)"):
            Control.build({"loss": ("unclipped", "unclipped", {}), "penalties": parts})
