"""The parts of the PID controller that are off by default: forms, anti-windup, filters, limits and the gate."""

from __future__ import annotations

import json
import math

import pytest
from unit.control_support import NAN, feed

from entropostat.rl.registry import CONTROLLERS

LATER = {"schedule": {"points": [[0, 1.0], [3, 2.0]], "shape": "hold"}}


def pid(**options):
    wide = {"signal": "s", "target": 1.0, "error": "absolute", "error_clip": 100.0, "low": -10.0, "high": 10.0}
    return CONTROLLERS.build("pid", wide | options)


SERIES = [0.5, 0.9, 0.7, 1.4, 1.1, 0.2, 0.8]


@pytest.mark.parametrize("effect", ["raises", "lowers"])
@pytest.mark.parametrize("space", [{}, {"space": "log", "low": 1e-3, "start": 0.5}], ids=str)
def test_away_from_the_bounds_the_velocity_form_is_the_position_form_without_its_first_kick(effect, space):
    gains = {"kp": 0.3, "ki": 0.1, "kd": 0.2, "derivative_smoothing": 0.5, "smoothing": 0.3, "effect": effect}
    one, other = pid(**gains, **space), pid(form="velocity", **gains, **space)
    a, b = feed(one, SERIES)[1], feed(other, SERIES)[1]
    kick = 0.3 * 0.5 * (1 if effect == "raises" else -1)
    distance = [one._offset(x) - one._offset(y) for x, y in zip(a, b, strict=True)]
    assert distance == pytest.approx([kick] * len(SERIES))


def test_the_velocity_form_forgets_at_a_bound_and_leaves_it_at_once():
    controller = pid(form="velocity", kp=1.0, ki=0.5, low=0.0, high=1.0)
    state, outputs = feed(controller, [0.0] * 30)
    assert outputs[-1] == 1.0 and state["saturated"] == 1.0
    assert feed(controller, [1.2], state)[1][0] == 0.0  # 1 - 1.2 kp - 0.2 ki, cut
    assert feed(controller, [0.9], state)[1] == [pytest.approx(1 - 0.9 + 0.05)]


def test_back_calculation_takes_out_a_share_of_what_the_bound_swallows():
    controller = pid(ki=0.4, low=-1.0, high=1.0, antiwindup="back", back_gain=0.5)
    state, outputs = feed(controller, [0.0] * 4)
    assert outputs == pytest.approx([0.4, 0.8, 1.0, 1.0])
    assert feed(controller, [0.0] * 3)[0]["integral"] == pytest.approx(1.2 - 0.5 * 0.2)
    assert state["integral"] == pytest.approx(1.5 - 0.5 * 0.5)
    assert feed(controller, [0.0] * 400)[0]["integral"] == pytest.approx(1.4)
    assert feed(controller, [2.0] * 400)[0]["integral"] == pytest.approx(-1.4)
    whole = feed(pid(ki=0.4, low=-1.0, high=1.0, antiwindup="back", back_gain=1.0), [0.0] * 9)[0]
    assert whole["integral"] == pytest.approx(1.0)


def test_back_calculation_on_the_logarithm_counts_in_the_logarithm():
    controller = pid(ki=0.5, space="log", start=1.0, low=0.1, high=math.e, antiwindup="back", back_gain=0.5)
    assert feed(controller, [0.0] * 3)[0]["integral"] == pytest.approx(1.5 - 0.5 * 0.5)


@pytest.mark.parametrize("form", ["position", "velocity"])
def test_slew_bounds_every_change_in_the_unit_of_the_space_and_winds_nothing_up(form):
    controller = pid(kp=2.0, ki=0.5, slew=0.1, form=form)
    state, outputs = feed(controller, [0.0] * 20)
    steps = [b - a for a, b in zip([0.0, *outputs], outputs, strict=False)]
    assert steps == pytest.approx([0.1] * 20)
    assert abs(state["integral"]) <= 0.5 and state["saturated"] == 0.0
    assert feed(controller, [3.0], state)[1] == [pytest.approx(1.9)]
    log = pid(kp=2.0, ki=0.5, slew=0.1, form=form, space="log", start=0.5, low=0.01)
    assert feed(log, [-9.0] * 3)[1] == pytest.approx([0.5 * math.exp(0.1 * k) for k in (1, 2, 3)])
    near = pid(kp=2.0, ki=0.5, slew=0.4, form=form, start=9.8)
    assert feed(near, [0.0] * 2)[1] == [10.0, 10.0]


def test_errors_inside_the_dead_band_do_nothing_and_larger_ones_count_from_its_edge():
    controller = pid(kp=1.0, ki=0.1, dead_band=0.2)
    assert feed(controller, [0.85, 1.15, 1.0])[1] == [0.0] * 3
    assert feed(controller, [0.5])[1] == [pytest.approx(0.3 + 0.03)]
    assert feed(controller, [1.5])[1] == [pytest.approx(-0.3 - 0.03)]


def test_the_derivative_can_be_smoothed_apart_from_the_signal():
    _, outputs = feed(pid(kd=1.0, derivative_smoothing=0.75), [1.0, 1.4, 1.4, 1.4])
    assert outputs == pytest.approx([0.0, -0.1, -0.075, -0.05625])


def test_a_spike_is_cut_before_it_enters_the_average():
    plain, clipped = ({"smoothing": 0.5}, {"smoothing": 0.5, "measurement_clip": 3.0})
    for error, bound in (("absolute", 3.0), ("relative", 6.0)):
        states = [feed(pid(target=2.0, error=error, **o), [2.0, 1e6])[0] for o in (plain, clipped)]
        assert states[0]["smoothed"] > 1e5
        assert states[1]["smoothed"] == pytest.approx((0.25 * 2 + 0.5 * bound) / 0.75)
        assert states[1]["signal"] == 1e6
    low = feed(pid(target=2.0, **clipped), [-1e6])[0]
    assert low["smoothed"] == pytest.approx(-3.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_gate_waits_for_the_target_and_opens_without_a_bump(sign):
    controller = pid(kp=5.0, ki=0.1, gate="crossing", start=0.3)
    far = [1 - 0.8 * sign, 1 - 0.4 * sign, 1 - 0.1 * sign]
    state, outputs = feed(controller, far)
    assert outputs == [0.3] * 3 and state["gate"] == 0.0
    state, outputs = feed(controller, [1 + 0.2 * sign], state)
    assert state["gate"] == 1.0 and outputs == [pytest.approx(0.3 - 0.1 * 0.2 * sign)]
    # It stays open, and the proportional part acts from here.
    state, outputs = feed(controller, [1 - 0.4 * sign], state)
    assert outputs == [pytest.approx(0.3 - 0.02 * sign + 5 * 0.6 * sign + 0.04 * sign)]
    assert state["gate"] == 1.0


def test_the_gate_opens_at_once_on_the_target_and_in_the_end_anyway():
    assert feed(pid(kp=1.0, gate="crossing"), [1.0, 0.5])[1] == [0.0, 0.5]
    late = pid(kp=5.0, ki=0.1, gate="crossing", gate_timeout=3)
    assert feed(late, [0.5, NAN, 0.5, 0.5, 0.5])[1] == pytest.approx([0, 0, 0, 0, 0.05])
    assert feed(pid(kp=5.0, ki=0.1, gate="crossing"), [0.5] * 50)[1] == [0.0] * 50
    velocity = pid(kp=5.0, ki=0.1, kd=1.0, gate="crossing", gate_timeout=2, form="velocity")
    assert feed(velocity, [0.5, 0.5, 0.4])[1] == pytest.approx([0, 0, 0.06])


def test_the_gate_remembers_a_crossing_that_falls_into_the_warm_up():
    assert feed(pid(ki=0.1, gate="crossing", warmup=3), [0.5, 1.5, 1.5, 1.5])[1] == pytest.approx([0, 0, 0, -0.05])


@pytest.mark.parametrize("form", ["position", "velocity"])
def test_a_new_target_moves_the_value_through_the_integral_alone(form):
    controller = pid(kp=5.0, ki=0.1, kd=2.0, target=LATER, form=form)
    state, outputs = feed(controller, [1.0, 1.0, 1.0, 1.0])
    assert outputs == pytest.approx([0.0, 0.0, 0.0, 0.1]) and state["target"] == 2.0
    # From then on the proportional part answers to the signal as before.
    assert feed(controller, [1.5], state, first=4)[1] == [pytest.approx(0.1 - 5 * 0.5 - 2 * 0.5 + 0.05)]


@pytest.mark.parametrize("form", ["position", "velocity"])
def test_a_ramp_moves_the_value_at_once_and_leaves_nothing_in_the_integral(form):
    ramp = {"schedule": {"points": [[0, 1.0], [100, 2.0]]}}
    state, outputs = feed(pid(kp=5.0, ki=1e-9, target=ramp, form=form), [1.0] * 101)
    assert outputs == pytest.approx([5.0 * step / 100 for step in range(101)], abs=1e-5)
    assert state["integral"] == pytest.approx(0, abs=1e-6)


def test_without_an_integral_to_take_it_a_new_target_moves_the_proportional_part():
    assert feed(pid(kp=5.0, target=LATER), [1.0] * 4)[1] == [0.0, 0.0, 0.0, 5.0]


def test_a_saved_state_under_another_target_goes_on_from_its_value():
    state, outputs = feed(pid(kp=1.0, ki=0.1), [0.5] * 5)
    again = json.loads(json.dumps(state))
    assert feed(pid(kp=1.0, ki=0.1, target=3.0), [0.5], again)[1] == [pytest.approx(outputs[-1] + 0.25)]


def test_a_state_saved_before_an_option_was_switched_on_is_taken_over():
    keys = ("output", "integral", "average", "weight", "count", "missed", "signal", "smoothed", "error", "p", "d")
    state = {key: value for key, value in feed(pid(kp=1.0, ki=0.1), [0.5] * 5)[0].items() if key in keys}
    for form in ("position", "velocity"):
        changed = {"gate": "crossing", "derivative_smoothing": 0.5, "kd": 1.0, "form": form}
        _, outputs = feed(pid(kp=1.0, ki=0.1, **changed), [0.5, 1.5], state)
        assert outputs == [state["output"], pytest.approx(state["output"] - 0.05)]


def test_missing_measurements_raise_the_alarm_and_the_next_one_ends_it():
    controller = pid(ki=0.1, alarm=3)
    state, _ = feed(controller, [0.5, NAN, None])
    assert state["alarm"] == 0.0
    state, outputs = feed(controller, [math.inf], state)
    assert state["alarm"] == 1.0 and state["missed"] == 3 and outputs == [pytest.approx(0.05)]
    assert feed(controller, [0.5], state)[0]["alarm"] == 0.0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"form": "velocity", "kp": 1.0}, "pid.ki: 0 holds no target with form: velocity"),
        ({"error": "relative", "measurement_clip": 1.0}, "pid.measurement_clip: 1 must be above 1"),
        ({"error": "relative", "target": LATER["schedule"]}, "target: give a number or {schedule: {points: ...}}"),
        ({"target": {"pid": {}}}, "target: give a number or {schedule: {points: ...}}"),
        (
            {"target": {"schedule": {"pionts": []}}},
            "unknown key of controllers/schedule 'pionts', did you mean 'points'",
        ),
        ({"target": {"schedule": {}}}, "target: .*missing.*points"),
        ({"target": {"schedule": {"points": [[0, 1], [0, 2]]}}}, "must ascend"),
        ({"error": "relative", "target": {"schedule": {"points": [[0, 1], [9, 0]]}}}, "pid.target: 0 has no relative"),
        ({"slew": 0.0}, "PID.slew: 0.0 must be above 0"),
        ({"back_gain": 1.5}, "PID.back_gain: 1.5 must be at most 1"),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pid(**options)
