"""What a loop says about itself when it cannot hold its target: the cause, once, and nothing while all is well."""

from __future__ import annotations

import pytest
from unit.control_support import NAN, Plant

from entropostat.rl.control import Control, watches
from entropostat.rl.controllers.watch import PATIENCE, Watch
from entropostat.rl.registry import CONTROLLERS


def pid(**options):
    limits = {"start": 1.0, "low": 0.05, "high": 4.0, "effect": "raises"}
    return CONTROLLERS.build("pid", {"signal": "entropy", "target": 1.0, "kp": 0.05, "ki": 0.02} | limits | options)


def told(controller, plant, steps, spoil=lambda step, x: x):
    """(update, sentence) of a closed loop."""
    watch, state, warnings = Watch("entropy"), controller.init(), []
    for step in range(steps):
        measured = spoil(step, plant.step(state["output"]))
        state, _ = controller.update(state, {"entropy": measured, "step": float(step)})
        warnings += [(step, text) for text in watch.look(state)]
    return warnings


def reachable(**options):
    return Plant(**{"gain": 0.5, "rest": 0.0} | options)


@pytest.mark.parametrize("gain", [0.05, 0.5, 5.0])
def test_a_loop_that_finds_its_target_says_nothing(gain):
    assert told(pid(), reachable(gain=gain, rest=1 - 2 * gain, noise=0.02), 2000) == []


def test_a_target_that_changes_on_the_way_is_no_trouble():
    target = {"schedule": {"points": [[0, 0.8], [300, 0.8], [301, 1.4]]}}
    assert told(pid(target=target), reachable(noise=0.02), 1500) == []


def test_an_unreachable_target_is_named_once_and_again_when_it_comes_back():
    plant = reachable(rest=-5.0)

    def world(step, x):
        plant.rest = 0.0 if 300 <= step < 600 else -5.0
        return x

    warnings = told(pid(), plant, 1200, world)
    assert len(warnings) == 2 and all("does not reach the target" in text for _, text in warnings)
    assert PATIENCE <= warnings[0][0] < 300 and warnings[1][0] >= 600 + PATIENCE
    assert "target 1, entropy -" in warnings[0][1]


def test_a_signal_that_is_lost_is_named_and_its_return_ends_it():
    lost = lambda step, x: NAN if 100 <= step < 150 or step >= 400 else x
    warnings = told(pid(alarm=10), reachable(), 500, lost)
    assert [step for step, _ in warnings] == [109, 409]
    assert all("nothing measured of 'entropy' for 10 updates" in text for _, text in warnings)


def test_gains_that_throw_the_value_from_bound_to_bound_are_named():
    warnings = told(pid(kp=20.0, ki=2.0), reachable(delay=5), 600)
    assert warnings and all("lower ki and kp" in text for _, text in warnings)
    assert len(warnings) == 1


def test_noise_at_ten_times_the_gain_is_named():
    warnings = told(pid(kp=30.0), reachable(noise=0.5), 600)
    assert len(warnings) == 1 and "from bound to bound" in warnings[0][1]


def test_a_world_that_turns_now_and_then_is_no_swinging_loop():
    plant = reachable()

    def world(step, x):
        plant.rest = 5.0 if step // 40 % 2 else -5.0
        return x

    assert told(pid(kp=0.5, ki=0.2), plant, 400, world) == []


def test_loops_are_watched_and_followers_are_not():
    spec = {
        "loss": ("unclipped", "unclipped", {}),
        "weights": [("entropy_tilt", "entropy_tilt", {"gain": {"autopilot": {"target": 1.0}}})],
        "penalties": [
            (
                "entropy_bonus",
                "entropy_bonus",
                {"coef": {"follow": {"knob": "weights.entropy_tilt.gain", "key": "rest"}}},
            )
        ],
    }
    assert {path: watch.signal for path, watch in watches(Control.build(spec)).items()} == {
        "weights.entropy_tilt.gain": "entropy"
    }
