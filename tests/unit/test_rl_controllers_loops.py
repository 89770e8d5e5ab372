"""Closed loops on simulated first-order plants, and what holds for every controller whatever it is fed."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.control_support import BUILT, ELSEWHERE, NAN, Plant, build, close, feed

from entropostat.rl.controllers.watch import Watch
from entropostat.rl.registry import CONTROLLERS

few = settings(max_examples=25, deadline=None, derandomize=True)
each = pytest.mark.parametrize
START, LOW, HIGH = 1.0, 0.05, 4.0


def pid(**options):
    limits = {"start": START, "low": LOW, "high": HIGH, "error": "absolute"}
    return CONTROLLERS.build("pid", {"signal": "s", "target": 1.0, "kp": 0.05, "ki": 0.02} | limits | options)


def loop(sign, at=2.0, gain=0.5, **options):
    """(controller, plant) whose target 1 is reached with the value ``at``."""
    controller = pid(effect="raises" if sign > 0 else "lowers", **options)
    return controller, {"gain": sign * gain, "rest": 1.0 - sign * gain * at}


WAYS = [
    {"space": space, "form": form, "antiwindup": antiwindup}
    for space in ("linear", "log")
    for form, antiwindup in (("position", "conditional"), ("position", "back"), ("velocity", "conditional"))
]
way = each("options", WAYS, ids=lambda o: "-".join(o.values()))
signs = each("sign", [1, -1], ids=["raises", "lowers"])


@way
@signs
@each("gain", [0.05, 0.5, 5.0])
def test_the_target_is_reached_at_a_tenth_and_at_ten_times_the_gain(options, sign, gain):
    controller, plant = loop(sign, gain=gain, **options)
    state, outputs, signals = close(controller, Plant(**plant), 8000)
    assert signals[-1] == pytest.approx(1.0, abs=0.01)
    assert state["output"] == pytest.approx(2.0, abs=0.1)
    assert all(LOW <= value <= HIGH for value in outputs)


@way
@signs
def test_a_delayed_and_noisy_signal_is_held_on_average_and_the_value_stays_calm(options, sign):
    controller, plant = loop(sign, smoothing=0.8, **options)
    _, outputs, signals = close(controller, Plant(**plant, delay=5, noise=0.2), 2000)
    rest = signals[1000:]
    assert sum(rest) / len(rest) == pytest.approx(1.0, abs=0.03)
    assert max(abs(s - 1) for s in rest) < 0.3
    assert all(LOW <= value <= HIGH for value in outputs)


@way
@signs
@each("out_of_reach", [9.0, -3.0])
def test_an_unreachable_target_pins_the_value_and_the_way_back_is_short(options, sign, out_of_reach):
    controller, far = loop(sign, at=out_of_reach, **options)
    plant = Plant(**far)
    state, outputs, _ = close(controller, plant, 3000)
    assert state["saturated"] == 1.0 and outputs[-1] == pytest.approx(HIGH if out_of_reach > 0 else LOW)
    plant.rest = loop(sign)[1]["rest"]
    state, outputs, signals = close(controller, plant, 1500, state)
    left = next(i for i, value in enumerate(outputs) if abs(value - (HIGH if out_of_reach > 0 else LOW)) > 0.05)
    assert left < 60
    assert signals[-1] == pytest.approx(1.0, abs=0.01) and state["saturated"] == 0.0


@way
@signs
def test_a_target_that_changes_is_followed_without_a_jump(options, sign):
    later = {"schedule": {"points": [[0, 1.0], [1500, 1.0 + 0.4 * sign]], "shape": "hold"}}
    controller, plant = loop(sign, target=later, kd=0.1, **options)
    plant = Plant(**plant)
    state, before, _ = close(controller, plant, 1500)
    state, after, signals = close(controller, plant, 2500, state, 1500)
    assert abs(after[0] - before[-1]) < 0.02
    assert signals[-1] == pytest.approx(1.0 + 0.4 * sign, abs=0.01)
    assert state["output"] == pytest.approx(2.8, abs=0.1)


@way
@signs
def test_a_ramp_in_fractions_of_the_first_entropy_is_tracked(options, sign):
    ramp = {"points": [[0, 1.0], [3000, 1.3 if sign > 0 else 0.7]], "of": "initial", "initial_signal": "s"}
    controller, plant = loop(sign, at=0.0, target={"schedule": ramp}, **options)
    plant = Plant(plant["gain"], rest=1.0)
    state, _, signals = close(controller, plant, 4500)
    assert signals[-1] == pytest.approx(state["target"], abs=0.01)
    assert state["target_initial"] == pytest.approx(sum(signals[:5]) / 5)


@way
@signs
def test_a_lost_signal_holds_the_value_and_the_loop_recovers(options, sign):
    controller, plant = loop(sign, kd=0.1, **options)
    plant = Plant(**plant)
    state, outputs, _ = close(controller, plant, 300)
    state, held = feed(controller, [NAN, None, math.inf, -math.inf] * 10, state)
    assert set(held) == {outputs[-1]} and state["alarm"] == 1.0
    state, outputs, signals = close(controller, plant, 1500, state)
    assert state["alarm"] == 0.0 and all(LOW <= value <= HIGH for value in outputs)
    assert signals[-1] == pytest.approx(1.0, abs=0.01)


@signs
def test_with_slew_dead_band_and_gate_the_loop_still_finds_its_target(sign):
    extra = {"slew": 0.02, "dead_band": 0.02, "gate": "crossing", "gate_timeout": 50, "measurement_clip": 5.0}
    controller, plant = loop(sign, **extra)
    _, outputs, signals = close(controller, Plant(**plant), 4000)
    assert outputs[49] == START and outputs[200] != START
    assert max(abs(b - a) for a, b in itertools.pairwise(outputs)) <= 0.02 + 1e-12
    assert signals[-1] == pytest.approx(1.0, abs=0.025)


@each("kind", ["adaptive_kl", "pid_lagrangian"])
@each("gain", [0.05, 0.5, 2.0])
def test_kl_rules_bring_a_kl_that_falls_with_the_coefficient_to_its_target(kind, gain):
    limits = (
        {"start": 1.0} if kind == "adaptive_kl" else {"kp": 0.05, "ki": 0.02, "kd": 0.05, "start": 1.0, "high": 4.0}
    )
    controller = build(kind, **limits)
    state, _, signals = close(controller, Plant(-gain, 1.0 + gain * 2.0), 6000)
    assert signals[-1] == pytest.approx(1.0, abs=0.03)
    assert state["output"] == pytest.approx(2.0, abs=0.2)


def test_the_lagrangian_comes_back_from_a_limit_that_could_not_be_met_and_omnisafes_does_not():
    ends = []
    for bound in (True, False):
        controller = build("pid_lagrangian", high=2.0, bound_integral=bound)
        plant = Plant(-0.1, 3.0)
        state, outputs, _ = close(controller, plant, 2000)
        assert outputs[-1] == 2.0
        plant.rest = 0.5
        ends.append(close(controller, plant, 100, state)[1][-1])
    assert ends[0] == 0.0 and ends[1] == 2.0


def test_step_and_aer_stop_a_falling_entropy():
    for kind, floor in (("step", 1.0), ("aer", 0.4 * 1.5)):
        options = {"delta": 0.01, "high": 2.0}
        controller, plant = build(kind, **options), Plant(1.0, 1.5, lag=0.9)
        state = controller.init()
        lowest = 9.0
        for step in range(2000):
            plant.rest = max(1.5 - 0.01 * step, 0.0)
            state, _, signals = close(controller, plant, 1, state, step)
            lowest = min(lowest, *signals)
        held = close(controller, plant, 200, state)[2]
        assert sum(held) / 200 == pytest.approx(floor, rel=0.1) and lowest > 0.3 * floor


ODD = [NAN, math.inf, -math.inf, None, 0.0, -0.0, 1e308, -1e308, 1e-308, -3.0, 1.0, 0.7, 2.0]
VARIANTS = [(kind, {}) for kind in BUILT]
VARIANTS += [("pid", o | {"slew": 0.3, "gate": "crossing", "gate_timeout": 3, "dead_band": 0.1}) for o in WAYS]
VARIANTS += [
    ("pid", {"target": {"schedule": {"points": [[0, 1.0], [5, 0.5]], "of": "initial", "initial_signal": "s"}}})
]
VARIANTS += [("aer", {"rule": "proportional"}), ("safe", {"gate_max": None, "debias": False})]
VARIANTS += [("pid_lagrangian", {"debias": False, "bound_integral": False})]
every = each("kind, options", VARIANTS, ids=lambda x: x if isinstance(x, str) else ",".join(map(str, x)))


@every
@few
@given(values=st.lists(st.sampled_from(ODD), max_size=40))
def test_any_measurement_gives_a_finite_value_within_bounds_and_a_state_of_numbers(kind, options, values):
    controller = build(kind, **options)
    state, outputs = feed(controller, values)
    assert all(isinstance(v, float) and math.isfinite(v) for v in state.values())
    bounded = kind not in ("schedule", "entropic")
    for value in outputs:
        assert math.isfinite(value)
        low, high = getattr(controller, "low", -math.inf), getattr(controller, "high", math.inf)
        assert not bounded or low <= value <= high


@every
def test_a_state_survives_json_and_goes_on_as_if_nothing_had_happened(kind, options):
    controller = build(kind, **options)
    values = [0.5, 0.9, NAN, 1.4, None, 0.7, 1.2, 0.8, 1.1]
    through = feed(controller, values)[1]
    state, first = feed(controller, values[:4])
    assert first + feed(controller, values[4:], json.loads(json.dumps(state)), 4)[1] == through


@every
@each("gap", [NAN, math.inf, None])
def test_what_is_not_measured_holds_the_value(kind, options, gap):
    controller = build(kind, **options)
    state, outputs = feed(controller, [0.5, 0.9, 1.4, 0.3, 0.6, 0.8, 0.9])
    # A schedule goes on, as its clock does.
    if kind != "schedule" and not isinstance(options.get("target"), dict):
        assert set(feed(controller, [gap] * 4, state, 7)[1]) == {outputs[-1]}


@every
def test_an_update_changes_nothing_but_what_it_returns_and_reads_only_what_it_declares(kind, options):
    controller = build(kind, **options)
    state, _ = feed(controller, [0.5, 0.9])
    before = dict(state)
    names = set(controller.signals)
    assert names <= {"s", "step", "progress"}
    first = controller.update(state, {"s": 1.4, "step": 2.0, "progress": 0.1})
    assert state == before
    assert controller.update(state, {name: {"s": 1.4, "step": 2.0, "progress": 0.1}[name] for name in names}) == first


def test_every_controller_is_tested_here():
    untested = set(CONTROLLERS.names()) - {*BUILT, *ELSEWHERE}
    assert not untested, f"{untested}: give them a line in tests/unit/control_support.py"
    assert {*BUILT, *ELSEWHERE} <= set(CONTROLLERS.names())


@pytest.mark.parametrize("kind", sorted(BUILT.keys() - {"constant", "schedule"}))
def test_a_loop_that_nothing_is_measured_for_holds_counts_and_alarms(kind):
    controller = build(kind)
    settled, _ = feed(controller, [1.2, 0.7, 1.1, 1.4, 0.6, 1.3, 0.9, 1.2])
    blind, outputs = feed(controller, [None, NAN] * 6, settled, first=8)
    assert set(outputs) == {settled["output"]} and blind["missed"] == 12 and blind["alarm"] == 1
    assert Watch("s").look(blind)[0].startswith("nothing measured of 's' for 12 updates")
    assert not feed(controller, [NAN] * 9, settled, first=8)[0]["alarm"]
    seeing, _ = feed(controller, [1.2], blind, first=20)
    assert not seeing.get("missed") and not seeing.get("alarm")
