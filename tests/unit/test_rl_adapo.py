"""A value that is multiplied while its signal is on one side of the target, and divided on the other."""

from __future__ import annotations

import pytest
from unit.control_support import NAN, build, close, feed
from unit.control_support import Plant as Simulated

RANGE = {"low": 0.1, "high": 1.0, "start": 0.4}


@pytest.mark.parametrize("effect", ["raises", "lowers"])
def test_it_is_multiplied_below_the_target_and_divided_above_and_stays_at_it(effect):
    below, above = (0.5, 1.5) if effect == "raises" else (1.5, 0.5)
    state, outputs = feed(
        build("adapo", factor=2.0, effect=effect, **RANGE), [above, 1.0, below, below, below, None, above]
    )
    assert outputs == pytest.approx([0.2, 0.2, 0.4, 0.8, 1.0, 1.0, 0.5])
    assert state["error"] == pytest.approx(above - 1.0)


def test_bounds_are_reported_and_hold():
    state, outputs = feed(build("adapo", factor=2.0, **RANGE), [1.5] * 4)
    assert outputs == [0.2, 0.1, 0.1, 0.1] and state["saturated"] == 1
    assert feed(build("adapo", factor=2.0, **RANGE), [0.5, 0.5])[0]["saturated"] == 1
    assert feed(build("adapo", factor=2.0, **RANGE), [0.5])[0]["saturated"] == 0


def test_within_the_band_nothing_moves():
    outputs = feed(build("adapo", factor=2.0, band=0.1, **RANGE), [0.91, 1.09, 1.0, 0.89])[1]
    assert outputs == pytest.approx([0.4, 0.4, 0.4, 0.8])


def test_a_measurement_that_is_none_holds_and_says_so_after_a_while():
    state, outputs = feed(build("adapo", **RANGE), [None, NAN] * 5)
    assert set(outputs) == {0.4} and state["alarm"] == 1
    assert feed(build("adapo", **RANGE), [0.5], state)[0]["alarm"] == 0


def test_it_waits_for_a_target_that_is_a_share_of_the_start():
    target = {"schedule": {"points": [[0, 0.5]], "of": "initial", "initial_signal": "s", "settle": 2}}
    outputs = feed(build("adapo", target=target, factor=2.0, **RANGE), [2.0, 2.0, 0.9])[1]
    assert outputs == pytest.approx([0.4, 0.2, 0.4])  # once it is known to be 1.0


@pytest.mark.parametrize("effect, gain", [("raises", 2.0), ("lowers", -2.0)])
def test_a_loop_of_the_right_sign_cycles_around_its_target_within_a_few_factors(effect, gain):
    controller = build("adapo", factor=1.05, effect=effect, low=0.01, high=5.0, start=0.2)
    rest = 0.2 if gain > 0 else 2.2
    _, _, signals = close(controller, Simulated(gain, rest, lag=0.5), 400)
    assert all(abs(s - 1.0) < 0.2 for s in signals[200:])
    wrong = build(
        "adapo", factor=1.05, effect="lowers" if effect == "raises" else "raises", low=0.01, high=5.0, start=0.2
    )
    assert all(abs(s - 1.0) > 0.2 for s in close(wrong, Simulated(gain, rest, lag=0.5), 400)[2][200:])


@pytest.mark.parametrize("options", [{"start": 0.05}, {"start": 2.0}, {"low": 0.5, "high": 0.3}])
def test_a_start_outside_of_its_bounds_is_refused(options):
    with pytest.raises(ValueError, match=r"adapo.start: .* must lie in \[low, high\]"):
        build("adapo", **(RANGE | options))
