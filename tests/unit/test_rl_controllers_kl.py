"""Rules of the literature: adaptive KL, PID Lagrangian, SAFE and AER; and values that follow the initial signal."""

from __future__ import annotations

import math

import pytest
from unit.control_support import NAN, build, feed

from entropostat.rl.controllers.safe import CLIMBING, CONVERGED, PLATEAU, WARMUP
from entropostat.rl.registry import CONTROLLERS

each = pytest.mark.parametrize


def signals(**values):
    return {"kl": 0.0, "reward": 0.0, "entropy": 1.9} | values


def run(controller, rows):
    state = controller.init()
    for row in rows:
        state, _ = controller.update(state, signals(**row))
    return state


# ------------------------------------------------------------------------------------------ targets and schedules


def test_a_schedule_in_shares_of_the_initial_signal_waits_until_that_has_settled():
    points = {"points": [[0, 0.8], [10, 0.4]], "of": "initial", "settle": 3, "start": 0.1}
    controller = build("schedule", **points)
    assert controller.signals == ("step", "s")
    state, outputs = feed(controller, [1.0, NAN, 2.0, 3.0, 99.0])
    assert state["initial"] == pytest.approx(2.0)
    assert outputs == pytest.approx([0.1, 0.1, 0.1, 2 * (0.8 - 0.04 * 3), 2 * (0.8 - 0.04 * 4)])
    assert feed(controller, [None], state, 20)[1] == [pytest.approx(0.8)]


def test_a_schedule_without_a_clock_holds():
    controller = CONTROLLERS.build("schedule", {"points": [[0, 1.0], [10, 2.0]]})
    state, _ = controller.update(controller.init(), {"step": 5.0})
    assert controller.update(state, {}) == ({"output": 1.5}, 1.5)


TARGET = {"schedule": {"points": [[0, 0.5], [10, 1.5]], "of": "initial", "initial_signal": "h", "settle": 2}}


@each(
    "kind, options", [("pid", {"ki": 0.1}), ("step", {}), ("entropic", {}), ("adaptive_kl", {}), ("pid_lagrangian", {})]
)
def test_a_target_can_be_a_schedule_in_shares_of_another_signal(kind, options):
    controller = build(kind, target=TARGET, **options)
    assert set(controller.signals) == {"s", "h", "step"}
    state = controller.init()
    for step, (h, s) in enumerate([(2.0, 1.0), (4.0, NAN), (9.0, 1.0), (9.0, 1.0)]):
        state, output = controller.update(state, {"s": s, "h": h, "step": float(step)})
        if step == 0:
            assert output == controller.init()["output"] and "target" not in state
    assert state["target"] == pytest.approx(3 * (0.5 + 0.3))
    assert state["error"]


def test_a_constant_is_constant():
    assert feed(build("constant"), [1.0, NAN, None])[1] == [0.3] * 3
    assert build("constant").init() == {"output": 0.3} and build("constant").signals == ()


# ------------------------------------------------------------------------------------------ adaptive KL


def test_adaptive_kl_moves_by_the_clipped_relative_error_times_the_share_of_the_horizon():
    controller = build("adaptive_kl", start=1.0)
    assert feed(controller, [1.1])[1] == [pytest.approx(1.01)]
    assert feed(controller, [50.0, 0.0])[1] == pytest.approx([1.02, 1.02 * 0.98])
    assert feed(build("adaptive_kl", start=1.0, target=4.0), [4.4])[1] == [pytest.approx(1.01)]


def test_adaptive_kl_never_reaches_zero_and_stays_below_its_bound():
    fast = build("adaptive_kl", start=1.0, samples=64, horizon=4.0, low=0.01, high=5.0)
    state, outputs = feed(fast, [0.0, 0.0])
    assert outputs == [0.01, 0.01]
    assert feed(fast, [9.0] * 9, state)[1][-1] == 5.0


@each(
    "kind, options, message",
    [
        ("adaptive_kl", {"start": 1e-9}, "adaptive_kl.start: 1e-09 must lie in"),
        ("adaptive_kl", {"target": 0.0}, "adaptive_kl.target: 0 has no relative error"),
        ("aer", {"start": 1.0}, "aer.start: 1 must lie in"),
        ("safe", {"phases": [1.0, 1.0]}, "safe.phases: .* must be four factors above 0"),
        ("safe", {"phases": [1.0, 1.0, 0.0, 1.0]}, "safe.phases"),
        ("safe", {"tau_low": 0.9}, "nor tau_low above tau_high"),
        ("safe_asymmetric", {"low": 11.0}, "safe_asymmetric.low: 11 must not be above high"),
        ("step", {"target": {"points": []}}, "target: give a number or"),
    ],
)
def test_what_cannot_work_is_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        build(kind, **options)


# ------------------------------------------------------------------------------------------ PID Lagrangian


def test_the_lagrangian_adds_its_three_parts():
    options = {"kp": 2.0, "ki": 0.5, "kd": 4.0, "smoothing": 0.5, "derivative_smoothing": 0.5, "delay": 2, "start": 0.1}
    state, outputs = feed(build("pid_lagrangian", **options), [1.4, 1.4, 2.4])
    assert outputs[0] == pytest.approx(2 * 0.4 + (0.1 + 0.2))
    p = (0.25 * 0.4 / 2 + 0.5 * 0.4 / 2 + 1.4 / 2) / (1 - 0.125)
    cost = (0.125 * 1.4 + 0.25 * 1.4 + 0.5 * 2.4) / (1 - 0.125)
    assert state["p"] == pytest.approx(p) and state["smoothed"] == pytest.approx(cost)
    assert state["integral"] == pytest.approx(0.1 + 0.5 * (0.4 + 0.4 + 1.4))
    assert outputs[2] == pytest.approx(2 * p + 1.2 + 4 * (cost - 1.4))


def test_the_lagrangians_derivative_damps_a_rise_and_ignores_a_fall():
    options = {"kp": 0.0, "ki": 0.0, "kd": 1.0, "derivative_smoothing": 0.0, "delay": 2, "start": 2.0}
    controller = build("pid_lagrangian", **options)
    assert feed(controller, [1.0, 1.0, 1.5, 1.2, 0.2])[1] == pytest.approx([2, 2, 2.5, 2.2, 2])
    assert feed(controller, [1.0, 1.5, 1.5])[1] == pytest.approx([2, 2, 2.5])  # the first has nothing so far back
    biased = build("pid_lagrangian", debias=False, **options)
    assert feed(biased, [1.0, 1.0, 1.0])[1] == pytest.approx([3.0, 3.0, 2.0])


def test_the_lagrangian_stays_between_zero_and_its_bound():
    controller = build("pid_lagrangian", high=0.5)
    assert feed(controller, [0.0] * 20)[1][-1] == 0.0 and feed(controller, [0.0] * 20)[0]["integral"] == 0.0
    assert feed(controller, [9.0] * 20)[1][-1] == 0.5 and feed(controller, [9.0] * 20)[0]["integral"] == 0.5


# ------------------------------------------------------------------------------------------ SAFE


def safe(**options):
    return CONTROLLERS.build("safe", {"smoothing": 0.0, "phases": [1.0] * 4, "kp": 0.0, "ki": 0.0, "kd": 0.0} | options)


def test_safe_pulls_by_the_slope_of_its_penalty_and_only_above_the_threshold():
    for kl, entropy in ((0.5, 1.9), (0.5, 0.0), (0.35, 9.0), (0.2, 0.0)):
        controller = safe(gate_max=None)
        at = [run(controller, [{"kl": kl + h, "entropy": entropy}]) for h in (-1e-6, 0.0, 1e-6)]
        slope = (at[2]["penalty"] - at[0]["penalty"]) / 2e-6
        assert at[1]["output"] == pytest.approx(slope, rel=1e-5, abs=1e-12)
        assert (at[1]["output"] > 0) == (kl > 0.3) == bool(at[1]["active"])


def test_safe_pulls_harder_where_entropy_is_low_up_to_its_bound():
    gates = {h: run(safe(), [{"kl": 0.5, "entropy": h}])["gate"] for h in (9.0, 1.9, 0.9, 0.0)}
    assert gates == {9.0: 0.5, 1.9: pytest.approx(1.0), 0.9: pytest.approx(2.0), 0.0: 5.0}
    assert run(safe(gate_max=None), [{"kl": 0.5, "entropy": 0.0}])["gate"] == pytest.approx(20.0)
    assert run(safe(), [{"kl": 0.5, "entropy": -3.0}])["gate"] == 5.0


def test_safe_goes_on_without_reward_or_entropy_and_holds_without_kl():
    controller = safe(kp=1.0, alarm=2)
    state = run(controller, [{"reward": 0.0}, {"reward": 1.0}, {"kl": 0.9, "entropy": 0.9}])
    same = run(controller, [{"reward": 0.0}, {"reward": 1.0}, {"kl": 0.9, "entropy": 0.9, "reward": NAN}])
    assert same["pid"] == pytest.approx(0.049) and state["pid"] != same["pid"]
    assert run(controller, [{"kl": 0.9, "entropy": 0.9}, {"kl": 0.9, "entropy": NAN}])["gate"] == pytest.approx(2.0)
    assert run(controller, [{"kl": 0.9, "entropy": math.inf}])["gate"] == 1.0
    held = run(controller, [{"kl": 0.9}, {"kl": NAN, "reward": 5.0}, {"kl": math.inf}])
    assert held["output"] == run(controller, [{"kl": 0.9}])["output"]
    assert held["alarm"] == 1.0 and "reward_1" not in held


def test_safes_average_of_the_kl_has_no_start_up_bias_unless_told():
    assert run(safe(smoothing=0.9), [{"kl": 0.5}])["smoothed"] == pytest.approx(0.5)
    assert run(safe(smoothing=0.9, debias=False), [{"kl": 0.5}])["smoothed"] == pytest.approx(0.05)


def test_safe_tightens_its_threshold_when_the_reward_falls():
    falls, rises = ([{"reward": r} for r in series] for series in ((0.8, 0.2), (0.2, 0.8)))
    assert run(safe(kp=1.0), falls)["target"] == pytest.approx(0.3 - 0.03 - 0.001)
    assert run(safe(kp=1.0), rises)["target"] == pytest.approx(0.3 + 0.03 - 0.001)
    assert run(safe(kp=99.0), falls)["target"] == 0.1 and run(safe(kp=99.0), rises)["target"] == 0.6


def test_safe_reads_its_phase_off_the_last_rewards():
    controller = safe(window=4, phases=[1.5, 1.2, 0.8, 1.0])

    def after(*rewards):
        state = run(controller, [{"reward": r} for r in rewards])
        return int(state["phase"]), state["target"]

    flat = [0.5, 0.5, 0.5]
    assert after(*flat) == (WARMUP, pytest.approx(0.45))
    assert after(*flat, 0.5) == (PLATEAU, pytest.approx(0.24))
    assert after(0.1, 0.2, 0.3, 0.4) == (PLATEAU, pytest.approx(0.24))  # nothing older to compare with
    assert after(*[0.5] * 4, *[0.52] * 4) == (CLIMBING, pytest.approx(0.36))
    assert after(*[0.9] * 4) == (CONVERGED, pytest.approx(0.3))
    assert after(0.9, 0.9, 0.9, 0.8)[0] == PLATEAU
    assert after(*[0.1] * 9, *[0.5] * 8)[0] == PLATEAU  # what lies further back is forgotten


def test_safes_asymmetric_variant_pulls_above_its_threshold_and_brakes_a_rise():
    controller = build("safe_asymmetric", window=3, strength=0.5, momentum=6.0)
    state, outputs = feed(controller, [0.1, 0.2, 0.4])
    rise = 0.3 / 3
    assert outputs == pytest.approx([0, 0, 2 * 0.5 * 0.1 + 2 * 6 * rise / 3])
    assert state["penalty"] == pytest.approx(0.5 * 0.01 + 6 * rise * rise)
    h = 1e-6
    sides = [feed(controller, [0.1, 0.2, 0.4 + d])[0]["penalty"] for d in (-h, h)]
    assert outputs[2] == pytest.approx((sides[1] - sides[0]) / (2 * h), rel=1e-5)
    assert feed(controller, [0.2, 0.2, 0.1])[1] == [0.0] * 3
    below, outputs = feed(controller, [0.1, 0.1, 0.2])
    assert outputs[2] == pytest.approx(2 * 6 * (0.1 / 3) / 3) and below["above"] == 0.0


def test_safe_as_released_reports_its_penalty_and_pulls_at_nothing():
    """The penalty of the release is a number in the loss, so no coefficient stands for it."""
    series = [{"kl": 0.9, "entropy": 0.1, "reward": 0.5}] * 9
    ours, released = (run(safe(smoothing=0.9, low=0.1, reference=r), series) for r in (False, True))
    assert released["output"] == 0.0 and safe(low=0.1, reference=True).init()["output"] == 0.0
    assert released == run(safe(smoothing=0.9, low=0.0, high=1e-9, gate_max=None, debias=False), series) | {
        "output": 0.0
    }
    assert released["gate"] > 5 >= ours["gate"] and released["smoothed"] < 0.6 < ours["smoothed"]
    state, outputs = feed(build("safe_asymmetric", low=0.1, reference=True), [0.9] * 3)
    assert outputs == [0.0] * 3 and state["penalty"] == pytest.approx(0.1 * 0.6**2)


# ------------------------------------------------------------------------------------------ step preview


def test_the_preview_shortens_the_next_step_as_far_as_the_last_one_went_too_far():
    controller = build("preview", limit=0.5, low=0.1)
    state, outputs = feed(controller, [0.0, 0.25, 0.5, 1.0, 2.0, 50.0, -1.0])
    assert outputs == pytest.approx([1.0, 1.0, 1.0, 0.5, 0.25, 0.1, 1.0])
    assert controller.init()["output"] == 1.0 and state["active"] == 0.0
    assert feed(controller, [0.5001])[0]["active"] == 1.0


def test_the_preview_holds_where_nothing_was_measured_and_says_so_in_the_end():
    controller = build("preview", limit=0.5, alarm=2)
    state, outputs = feed(controller, [2.0, None, NAN])
    assert outputs == [0.25] * 3 and state["alarm"] == 1.0
    assert feed(controller, [0.1], state)[0]["alarm"] == 0.0


# ------------------------------------------------------------------------------------------ AER


def test_aer_aims_at_a_share_of_the_first_entropies_and_waits_for_them():
    controller = build("aer", settle=2, delta=0.01, start=0.02)
    state, outputs = feed(controller, [1.0, NAN, 3.0, 0.7, 0.9])
    assert state["target"] == pytest.approx(0.8)
    assert outputs == pytest.approx([0.02, 0.02, 0.01, 0.02, 0.01])


def test_aer_moves_in_proportion_to_its_error_if_told():
    controller = build("aer", settle=1, delta=0.01, rule="proportional", start=0.05)
    _, outputs = feed(controller, [2.0, 0.4, 1.2, 0.8])
    assert outputs == pytest.approx([0.04, 0.045, 0.04, 0.04])


def test_aer_says_when_its_bonus_is_at_a_bound():
    state, outputs = feed(build("aer", settle=1, high=0.0015), [1.0, 0.1, 0.1])
    assert outputs == pytest.approx([0.0, 0.001, 0.0015]) and state["saturated"] == 1.0
    assert feed(build("aer", settle=1), [1.0, 0.1])[0]["saturated"] == 0.0
