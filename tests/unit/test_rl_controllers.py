"""Controllers: signs, bounds, holds, convergence on a plant of known gain."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropostat.rl.registry import CONTROLLERS

NAN = float("nan")
few = settings(max_examples=25, deadline=None, derandomize=True)


def pid(**options):
    return CONTROLLERS.build("pid", {"signal": "s", "target": 1.0, "low": -10.0, "high": 10.0} | options)


def feed(controller, values, state=None):
    state = controller.init() if state is None else state
    outputs = []
    for value in values:
        state, output = controller.update(state, {} if value is None else {"s": value})
        outputs.append(output)
    return state, outputs


@pytest.mark.parametrize("effect, direction", [("raises", 1), ("lowers", -1)])
@pytest.mark.parametrize("gains", [{"kp": 1.0}, {"ki": 1.0}], ids=str)
def test_pid_moves_the_value_in_the_direction_that_brings_the_signal_back(effect, direction, gains):
    assert feed(pid(effect=effect, **gains), [0.5])[1][0] == pytest.approx(direction * 0.5)
    assert feed(pid(effect=effect, **gains), [1.5])[1][0] == pytest.approx(-direction * 0.5)
    assert feed(pid(effect=effect, **gains), [1.0])[1][0] == 0


@pytest.mark.parametrize("effect, direction", [("raises", 1), ("lowers", -1)])
def test_pid_brakes_a_signal_that_moves_and_a_new_target_gives_no_kick(effect, direction):
    assert feed(pid(effect=effect, kd=2.0), [1.0, 1.3])[1] == [0, pytest.approx(-direction * 0.6)]
    state, _ = feed(pid(effect=effect, kd=2.0), [1.0, 1.0])
    assert feed(pid(effect=effect, kd=2.0, target=3.0), [1.0], state)[1] == [0]


def test_pid_error_is_relative_to_the_target_or_absolute_and_bounded():
    assert feed(pid(kp=1.0, target=4.0), [3.0])[1] == [0.25]
    assert feed(pid(kp=1.0, target=4.0, error="absolute"), [3.5])[1] == [0.5]
    assert feed(pid(kp=1.0, target=-4.0), [-5.0])[1] == [0.25]
    assert feed(pid(kp=1.0, error="absolute", error_clip=0.3), [-9.0])[1] == [pytest.approx(0.3)]
    assert feed(pid(kp=1.0, error="absolute", error_clip=0.3), [9.0])[1] == [pytest.approx(-0.3)]


def test_pid_adds_its_parts_to_the_start_value_and_reports_them():
    state, outputs = feed(pid(kp=0.5, ki=0.1, kd=0.2, start=2.0), [0.6, 0.8])
    assert outputs[0] == pytest.approx(2 + 0.5 * 0.4 + 0.1 * 0.4)
    assert state["p"] == pytest.approx(0.1)
    assert state["i"] == pytest.approx(0.06)
    assert state["d"] == pytest.approx(-0.04)
    assert outputs[1] == pytest.approx(2 + 0.1 + 0.06 - 0.04)
    assert state["error"] == pytest.approx(0.2) and state["target"] == 1.0 and state["signal"] == 0.8


def test_pid_on_the_logarithm_multiplies_and_cannot_leave_zero_behind():
    controller = pid(ki=1.0, space="log", start=0.5, low=0.01, high=10.0)
    assert feed(controller, [0.5])[1] == [pytest.approx(0.5 * math.exp(0.5))]
    state, outputs = feed(controller, [2.0] * 50)
    assert outputs[-1] == pytest.approx(0.01) and state["saturated"] == 1.0
    assert feed(controller, [0.0] * 8, state)[1][-1] > 0.5


@pytest.mark.parametrize("effect", ["raises", "lowers"])
def test_pid_stops_integrating_at_a_bound_and_leaves_it_at_once(effect):
    controller = pid(ki=0.4, low=-1.0, high=1.0, effect=effect)
    for far, back in ((0.0, 2.0), (2.0, 0.0)):
        state, outputs = feed(controller, [far] * 40)
        assert abs(outputs[-1]) <= 1.0 and abs(state["integral"]) <= 1.0
        assert abs(feed(controller, [back], state)[1][0]) < abs(outputs[-1])
        assert feed(controller, [back] * 2, state)[0]["saturated"] == 0.0


def test_pid_says_when_it_sits_on_a_bound():
    state, outputs = feed(pid(kp=5.0, low=0.0, high=1.0), [0.0])
    assert outputs == [1.0] and state["saturated"] == 1.0
    assert feed(pid(kp=0.5, low=0.0, high=1.0), [0.0])[0]["saturated"] == 0.0


@pytest.mark.parametrize("gap", [NAN, math.inf, -math.inf, None])
def test_pid_holds_on_a_missing_signal_and_integrates_the_time_that_it_missed(gap):
    controller = pid(ki=0.1)
    state, outputs = feed(controller, [0.5, gap, gap])
    assert outputs == [pytest.approx(0.05)] * 3
    assert state["integral"] == pytest.approx(0.05) and state["missed"] == 2
    state, outputs = feed(controller, [0.5], state)
    assert outputs == [pytest.approx(0.05 + 3 * 0.05)] and state["missed"] == 0


def test_pid_derivative_is_per_measurement_over_a_gap():
    assert feed(pid(kd=1.0), [1.0, NAN, 1.4])[0]["d"] == pytest.approx(-0.2)


def test_pid_smoothing_has_no_start_up_bias_and_decays_as_told():
    state, _ = feed(pid(smoothing=0.9), [0.7])
    assert state["smoothed"] == pytest.approx(0.7)
    state, _ = feed(pid(smoothing=0.9), [0.7] * 5 + [1.7])
    weights = [0.9**k for k in range(6)]
    assert state["smoothed"] == pytest.approx((1.7 + 0.7 * sum(weights[1:])) / sum(weights))


def test_pid_waits_for_its_warm_up_at_the_start_value():
    _, outputs = feed(pid(kp=1.0, start=0.3, warmup=2), [0.5, 0.5, 0.5])
    assert outputs == [0.3, 0.3, pytest.approx(0.8)]


@few
@given(
    gain=st.floats(0.2, 3.0),
    lag=st.floats(0.0, 0.9),
    rest=st.floats(0.2, 2.0),
    effect=st.sampled_from(["raises", "lowers"]),
    space=st.sampled_from(["linear", "log"]),
)
def test_pid_brings_a_first_order_plant_of_the_declared_sign_to_its_target(gain, lag, rest, effect, space):
    sign = 1.0 if effect == "raises" else -1.0
    target = rest + sign * gain * 0.8  # reached at value 0.8
    if abs(target) < 0.3:
        target = rest = 1.0
        rest -= sign * gain * 0.8
    bounds = {"start": 0.5, "low": 0.05, "high": 5.0}
    controller = pid(target=target, ki=0.05, kp=0.1, error="absolute", effect=effect, space=space, **bounds)
    state, value, signal = controller.init(), 0.5, rest
    for _ in range(1500):
        signal = lag * signal + (1 - lag) * (rest + sign * gain * value)
        state, value = controller.update(state, {"s": signal})
    assert signal == pytest.approx(target, abs=0.02)
    assert value == pytest.approx(0.8, abs=0.05)


def test_pid_with_the_wrong_sign_runs_into_its_bound():
    controller, signal = pid(ki=0.2, effect="lowers", low=0.0, high=2.0, start=1.0), 0.8
    state, value = controller.init(), 1.0
    for _ in range(200):
        signal = 0.5 * value  # raises
        state, value = controller.update(state, {"s": signal})
    assert value in (pytest.approx(0.0), 2.0) and state["saturated"] == 1.0


def test_pid_state_survives_json_and_goes_on_as_if_nothing_had_happened():
    controller, values = pid(kp=0.3, ki=0.1, kd=0.1, smoothing=0.5), [0.5, 0.9, NAN, 1.4, 0.7]
    through = feed(controller, values)[1]
    state, first = feed(controller, values[:2])
    assert first + feed(controller, values[2:], json.loads(json.dumps(state)))[1] == through


@pytest.mark.parametrize(
    "options, message",
    [
        ({"start": 11.0}, r"pid.start: 11 must lie in \[low, high\] = \[-10, 10\]"),
        ({"space": "log"}, "pid.low: -10 must be above 0 with space: log"),
        ({"target": 0.0}, "pid.target: 0 has no relative error"),
        ({"kp": -1.0}, "PID.kp: -1.0 must be at least 0"),
        ({"effect": "up"}, "PID.effect: 'up' is not one of raises, lowers"),
    ],
)
def test_pid_rejects_what_cannot_work(options, message):
    with pytest.raises(ValueError, match=message):
        pid(**options)


def schedule(points, **options):
    return CONTROLLERS.build("schedule", {"points": points, **options})


def test_schedule_joins_its_points_and_is_constant_outside_of_them():
    points = [[10, 1.0], [20, 3.0], [40, 0.0]]
    want = {0: 1.0, 10: 1.0, 15: 2.0, 20: 3.0, 30: 1.5, 40: 0.0, 99: 0.0}
    assert {x: schedule(points)._value_at(x) for x in want} == want
    hold = schedule(points, shape="hold")
    assert [hold._value_at(x) for x in (0, 10, 19.9, 20, 39.9, 40)] == [1.0, 1.0, 1.0, 3.0, 3.0, 0.0]
    cosine = schedule(points, shape="cosine")
    assert [cosine._value_at(x) for x in (10, 15, 20)] == pytest.approx([1.0, 2.0, 3.0])
    assert cosine._value_at(12.5) == pytest.approx(1 + 2 * (1 - math.cos(math.pi / 4)) / 2)


def test_schedule_follows_the_step_or_the_fraction_of_the_run():
    steps, fraction = schedule([[0, 0.0], [10, 1.0]]), schedule([[0, 0.0], [1, 1.0]], unit="fraction")
    assert steps.signals == ("step",) and fraction.signals == ("progress",)
    assert steps.update(steps.init(), {"step": 5.0, "progress": 0.9})[1] == 0.5
    assert fraction.update(fraction.init(), {"step": 5.0, "progress": 0.9}) == ({"output": 0.9}, 0.9)
    assert schedule([[0, 4.0], [1, 2.0]]).init() == {"output": 4.0}


@pytest.mark.parametrize(
    "points, message",
    [
        ([], "must be a list"),
        ([[1, 2, 3]], "must be a list"),
        ([[2, 0], [1, 0]], "must ascend"),
        ([[1, 0], [1, 2]], "must ascend"),
    ],
)
def test_schedule_rejects_points_that_are_no_function_of_the_step(points, message):
    with pytest.raises(ValueError, match=message):
        schedule(points)


def reference_rule(entropies, target, delta, low, high):
    """TRL's adaptive entropy coefficient, restated: move, clip, apply only while the entropy is at or below target."""
    coefficient, applied = 0.0, []
    for entropy in entropies:
        coefficient = coefficient + delta if entropy <= target else coefficient - delta
        coefficient = max(low, min(high, coefficient))
        applied.append(coefficient if entropy <= target else 0.0)
    return applied


@few
@given(st.lists(st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.9]), min_size=1, max_size=60), st.sampled_from([0.02, 1.0]))
def test_step_is_trls_rule(entropies, high):
    controller = CONTROLLERS.build("step", {"high": high})
    state, applied = controller.init(), []
    for entropy in entropies:
        state, output = controller.update(state, {"entropy": entropy})
        applied.append(output)
    assert applied == reference_rule(entropies, 0.2, 0.005, 0.0, high)


def test_step_compares_at_the_target_as_told_and_holds_on_nan():
    for compare, output in (("le", 0.005), ("lt", 0.0)):
        controller = CONTROLLERS.build("step", {"compare": compare})
        state, first = controller.update(controller.init(), {"entropy": 0.2})
        assert first == output
        held, value = controller.update(state, {"entropy": NAN})
        assert value == output and held["coefficient"] == state["coefficient"]
    assert CONTROLLERS.build("step", {"start": 0.5}).init()["output"] == 0.0
    assert CONTROLLERS.build("step", {"signal": "kl"}).signals == ("kl",)
