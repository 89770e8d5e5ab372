"""The autopilot: two actuators on one demand, and what the loop does when something goes wrong."""

from __future__ import annotations

import json
import math
import random

import pytest
from support.autopilot import QUICK, autopilot

from entropostat.rl.control import Control

NAN = float("nan")
GAIN, COEF = "weights.entropy_tilt.gain", "penalties.entropy_bonus.coef"


def composed(**options):
    follow = {"follow": {"knob": GAIN, "key": "rest"}}
    return Control.build(
        {
            "loss": ("unclipped", "unclipped", {}),
            "weights": [("entropy_tilt", "entropy_tilt", {"gain": {"autopilot": {"target": 1.0, **QUICK} | options}})],
            "penalties": [("entropy_bonus", "entropy_bonus", {"coef": follow})],
        }
    )


class Plant:
    """Entropy that drifts, moved by both actuators: what the tilt can do is ``authority``, and the bonus always acts."""

    def __init__(self, control, scale=1.0, drift=-0.02, delay=0, noise=0.0, seed=0):
        self.control, self.scale, self.drift, self.delay, self.noise = control, scale, drift, delay, noise
        self.random, self.state = random.Random(seed), control.init()
        self.entropy, self.authority, self.past, self.log = 1.0, 0.1, [], []

    def run(self, steps, spoil=None):
        for _ in range(steps):
            values = self.control.values(self.state)
            push = 0.3 * self.authority * values[GAIN] + 1.0 * values[COEF]
            self.entropy = min(max(self.entropy + self.drift + self.scale * push, 0.0), 5.0)
            self.past.append(self.entropy)
            seen = self.past[max(len(self.past) - 1 - self.delay, 0)] + self.noise * self.random.gauss(0, 1)
            signals = {"entropy": seen, "entropy_tilt/authority": self.authority}
            self.state = self.control.update(json.loads(json.dumps(self.state)), signals if spoil is None else spoil)
            self.log.append(self.state[GAIN] | {"entropy": self.entropy})
        return self

    def worst(self, last, target=1.0):
        return max(abs(entry["entropy"] - target) for entry in self.log[-last:])


def sound(plant):
    """Every output finite and within its bounds, whatever happened."""
    c = plant.control.knobs[0].controller
    for entry in plant.log:
        assert all(math.isfinite(x) for x in entry.values())
        assert (
            c.gain_min - 1e-12 <= entry["output"] <= c.gain_max + 1e-12 and c.bonus_low <= entry["rest"] <= c.bonus_high
        )
        assert 0 <= entry["share"] <= 1
    return plant


# ---------------------------------------------------------------------------------------------- the loop on a plant


@pytest.mark.parametrize("drift", [-0.02, 0.02])
def test_it_holds_its_target_against_a_drift_either_way(drift):
    plant = sound(Plant(composed(), drift=drift).run(300))
    assert plant.worst(50) < 0.01
    assert plant.log[-1]["output"] * drift < 0 and plant.log[-1]["rest"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_a_plant_ten_times_stronger_or_weaker_stays_bounded_and_near(scale):
    plant = sound(Plant(composed(), scale=scale, drift=-0.02 * scale).run(600))
    assert plant.worst(100) < 0.25


def test_a_late_and_noisy_signal_keeps_it_near():
    plant = sound(Plant(composed(smoothing=0.5), delay=2, noise=0.05).run(600))
    assert plant.worst(200) < 0.25


@pytest.mark.parametrize("drift, bonus", [(-0.5, 0.1), (0.7, -0.02)])
def test_an_unreachable_target_saturates_both_and_unwinds_at_once_when_it_becomes_reachable(drift, bonus):
    plant = sound(Plant(composed(), drift=drift).run(300))
    assert plant.log[-1]["saturated"] == 1 and plant.worst(1) > 0.9
    assert plant.log[-1]["output"] == pytest.approx(math.copysign(1.5, bonus))
    assert plant.log[-1]["rest"] == pytest.approx(bonus)
    plant.drift = math.copysign(0.01, drift)
    plant.run(300)
    beyond = [(entry["entropy"] - 1) * math.copysign(1, bonus) for entry in plant.log[-300:]]
    assert max(beyond) < 0.4  # 300 updates of integral would go far beyond
    assert sound(plant).worst(20) < 0.1


def test_a_target_that_changes_gives_no_kick_and_is_reached():
    points = {"points": [[0, 1.0], [200, 0.5]], "shape": "hold"}
    controller = autopilot(target={"schedule": points})
    state = controller.init()
    for step in (1.0, 2.0, 3.0):
        state, before = controller.update(state, {"entropy": 0.9, "step": step})
    opening = state["bump"]
    state, after = controller.update(state, {"entropy": 0.9, "step": 200.0})
    assert state["target"] == 0.5 and before > 0 > opening
    # The integral of one update and what the opening of the gate still loses, and nothing else.
    assert after == pytest.approx(before + 0.2 * -0.5 - opening / 10, abs=1e-9)
    plant = Plant(composed(target=0.6)).run(400)
    assert sound(plant).worst(50, 0.6) < 0.02


def test_a_target_on_its_way_is_met_by_the_proportional_part_and_fills_no_integral():
    ramp = {"schedule": {"points": [[0, 1.0], [100, 0.5]]}}
    controller = autopilot(target=ramp, ki=1e-9, kp=1.0)
    state = controller.init()
    for step in range(101):
        state, _ = controller.update(state, {"entropy": 0.8, "step": float(step)})
    assert state["i"] == pytest.approx(0, abs=1e-6) and state["demand"] == pytest.approx(-0.5, abs=1e-4)


@pytest.mark.parametrize("spoil", [{}, {"entropy": NAN}, {"entropy": math.inf, "entropy_tilt/authority": NAN}])
def test_a_missing_signal_holds_both_actuators_raises_the_alarm_and_ends_without_a_trace(spoil):
    plant = Plant(composed()).run(100)
    before = plant.log[-1]
    plant.drift = 0.0
    sound(plant.run(30, spoil))
    held = plant.log[-1]
    assert all(held[key] == before[key] for key in ("output", "rest", "integral", "share"))
    assert held["alarm"] == 1 and plant.log[-25]["alarm"] == 0
    plant.drift = -0.02
    plant.run(300)
    assert plant.log[-1]["alarm"] == 0 and sound(plant).worst(50) < 0.02


def test_work_goes_to_the_bonus_when_reweighting_loses_its_authority_and_comes_back():
    plant = Plant(composed()).run(200)
    assert plant.log[-1]["share"] == 1 and plant.log[-1]["rest"] == pytest.approx(0, abs=1e-12)
    plant.authority = 0.015  # between the two thresholds: nothing moves
    plant.run(20)
    assert plant.log[-1]["share"] == 1
    plant.authority = 0.005
    plant.run(300)
    assert plant.log[-1]["share"] == 0 and plant.log[-1]["output"] == 0
    assert plant.log[-1]["rest"] == pytest.approx(0.02, rel=0.1) and plant.worst(50) < 0.02
    plant.authority = 0.015
    plant.run(20)
    assert plant.log[-1]["share"] == 0
    plant.authority = 0.1
    plant.run(300)
    assert plant.log[-1]["share"] == 1 and plant.log[-1]["rest"] == pytest.approx(0, abs=1e-12)
    assert sound(plant).worst(50) < 0.02


# ---------------------------------------------------------------------------------------------- its parts


def test_the_two_outputs_add_up_to_the_demand_wherever_both_are_within_bounds():
    draw = random.Random(1)
    for _ in range(500):
        low, high = -draw.random() * 0.1, draw.random() * 0.1
        controller = autopilot(bonus_low=low, bonus_high=high, bonus_gain=0.02 + draw.random() * 0.1)
        state = controller.init() | {"share": draw.random(), "integral": 20 * draw.random() - 10, "error": 0.0}
        state["way"] = draw.choice([-1.0, 1.0])
        state, output = controller.update(state, {"entropy": 2 * draw.random(), "entropy_tilt/authority": 0.0})
        assert output + state["rest"] / controller.bonus_gain == pytest.approx(state["demand"], abs=1e-9)
        assert low <= state["rest"] <= high


def test_a_handover_takes_as_many_updates_as_said_and_moves_no_output_faster():
    controller = autopilot(handover=5, kp=1.0, ki=0.0)
    state, outputs, shares = controller.init() | {"best": 1.0, "integral": 0.8, "error": 0.0}, [], []
    for _ in range(7):
        state, output = controller.update(state, {"entropy": 1.0, "entropy_tilt/authority": 0.01})
        outputs.append(output)
        shares.append(state["share"])
    assert shares == pytest.approx([0.8, 0.6, 0.4, 0.2, 0, 0, 0])
    assert outputs == pytest.approx([0.8 * share for share in shares])


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_each_side_has_bounds_of_its_own_and_the_integral_stops_where_both_actuators_do(share):
    controller = autopilot(gain_min=-0.8, gain_max=0.2, bonus_low=-0.02, bonus_high=0.05)
    reached = {}
    for entropy in (2.0, 0.1):
        state = controller.init() | {"share": share, "way": 0.0}
        for _ in range(100):
            state, output = controller.update(state, {"entropy": entropy})
        assert state["saturated"] == 1
        reached[entropy] = (output, state["rest"], state["demand"])
    low, high = reached[2.0], reached[0.1]
    assert low[:2] == pytest.approx((max(-0.8 * share, low[2] * share), -0.02)) and high[1] == pytest.approx(0.05)
    assert low[0] + low[1] / 0.05 == pytest.approx(low[2]) and high[0] + high[1] / 0.05 == pytest.approx(high[2])
    if share == 1:
        assert (low[0], high[0]) == pytest.approx((-0.8, 0.2))
        assert (low[2], high[2]) == pytest.approx((-0.8 - 0.4, 0.2 + 1.0))
    without = autopilot(gain_min=-0.8, gain_max=0.2, bonus_gain=0.0)
    assert without._reach(1.0) == (-0.8, 0.2)


def test_without_lower_bounds_it_only_lifts_and_remembers_nothing_of_what_lay_above():
    controller = autopilot(gain_min=0.0, bonus_low=0.0)
    state, outputs = controller.init(), []
    for entropy in [1.5] * 50 + [0.9]:
        state, output = controller.update(state, {"entropy": entropy})
        outputs.append((output, state["rest"]))
    assert outputs[:-1] == [(0.0, 0.0)] * 50 and outputs[-1][0] > 0


def test_without_a_bonus_the_tilt_keeps_the_whole_demand():
    controller = autopilot(bonus_gain=0.0)
    state = controller.init() | {"best": 1.0}
    for _ in range(50):
        state, output = controller.update(state, {"entropy": 0.5, "entropy_tilt/authority": 0.0})
    assert output == controller.gain_max and state["rest"] == 0 and state["saturated"] == 1
    assert state["integral"] <= controller.gain_max


def test_it_waits_above_its_target_and_starts_from_zero_once_it_is_met_or_patience_ends():
    def outputs(controller, values):
        state, given = controller.init(), []
        for value in values:
            state, output = controller.update(state, {"entropy": value})
            given.append(output)
        return given

    gated = autopilot(gate="reached", patience=None)
    falling = outputs(gated, [3.0, 2.0, 1.5, 1.1, 0.9, 0.9, 1.1])
    assert falling[:4] == [0, 0, 0, 0]
    assert falling[4:6] == pytest.approx([0.2 * 0.1, 2 * 0.2 * 0.1 + 0.1 * 5 * 0.1])
    assert falling[6] == pytest.approx(0.2 * 0.1 - 5.0 * 0.1 - 0.9**2 * 5.0 * 0.1)  # once open it stays open
    assert outputs(gated, [0.9])[0] > 0  # below from the start: to raise entropy needs no learning first
    late = outputs(autopilot(gate="reached", patience=3), [3.0] * 5)
    assert late[:3] == [0, 0, 0] and late[3] == pytest.approx(-0.2 * 0.5)


def test_opening_far_from_the_target_leaves_nothing_wrong_in_the_integral():
    """Both actuators are at a bound for long: an integral that had taken the opening's bump would still ask for the wrong side."""
    controller = autopilot(gate="reached", patience=1, target=0.1)
    state = controller.init()
    for _ in range(60):
        state, _ = controller.update(state, {"entropy": 0.5})
    assert state["integral"] <= 0 and state["saturated"]
    state, output = controller.update(state, {"entropy": 0.1})
    assert output == pytest.approx(state["integral"], abs=0.02)


def test_skipped_measurements_count_in_the_integral():
    controller = autopilot(kp=0.0)
    state, _ = controller.update(controller.init(), {"entropy": 0.9})
    once = state["integral"]
    for _ in range(3):
        state, _ = controller.update(state, {})
    state, _ = controller.update(state, {"entropy": 0.9})
    assert state["integral"] == pytest.approx(once * 5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"authority_low": 0.5}, "autopilot.authority_low: 0.5 must not be above authority_high"),
        ({"target": 0.0}, "autopilot.target: 0 has no relative error"),
        ({"gain_max": 2.5}, "gain_max: 2.5 must be at most 2"),
        ({"gain_min": 0.1}, "gain_min: 0.1 must be at most 0"),
    ],
)
def test_conditions_between_its_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        autopilot(**options)
