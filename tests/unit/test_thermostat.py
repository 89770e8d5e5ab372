"""The thermostat without a trainer: it drives a plain loop, it goes on from a checkpoint, and it tells what keeps it from its target."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from unit.rl_support import batch_of

from entropostat.rl.batch import TokenBatch
from entropostat.rl.control import Control
from entropostat.rl.signals import OLD_ENTROPY, REF_ENTROPY, SIGNALS
from entropostat.rl.thermostat import Thermostat

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "plain_loop.py"
PID = {"pid": {"signal": "entropy", "target": 1.0, "effect": "raises", "ki": 0.1, "high": 1.0}}
VELOCITY = {
    "pid": {"signal": "reward_velocity", "target": 0.0, "error": "absolute", "effect": "raises", "ki": 0.1, "high": 1.0}
}


def thermostat(*coefs: Any) -> Thermostat:
    bonuses = [(f"bonus{i}", "entropy_bonus", {"coef": coef}) for i, coef in enumerate(coefs)]
    return Thermostat(Control.build({"loss": ("ppo_clip", "ppo_clip", {}), "penalties": bonuses}))


def step(of: Thermostat, batch: TokenBatch, number: int) -> None:
    of.window.add(batch, {}, of.objective.loss.term)
    of.update(of.window.close(), number, 10)


def test_a_plain_loop_is_held_at_its_target_without_any_trainer() -> None:
    """The file that the docs show, in a process in which nobody could import a trainer."""
    code = (
        "import sys\n"
        "for name in ('trl', 'transformers', 'accelerate', 'datasets', 'deepspeed', 'pydantic'):\n"
        "    sys.modules[name] = None\n"
        f"sys.path.insert(0, {str(EXAMPLE.parent)!r})\n"
        "import json, plain_loop\n"
        "print(json.dumps([plain_loop.train(0.0), plain_loop.train(plain_loop.PID)]))\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    assert ran.returncode == 0, ran.stderr
    plain, held = json.loads(ran.stdout)
    assert plain[-1][0] < 0.05
    late = [entropy for entropy, _, _ in held[-30:]]
    assert sum(late) / len(late) == pytest.approx(1.0, abs=0.1) and max(abs(h - 1) for h in late) < 0.25
    assert len({bonus for *_, bonus in held}) > 50


def test_it_goes_on_from_its_state_as_if_it_had_not_stopped() -> None:
    whole, batch = thermostat(PID, VELOCITY), batch_of(3)
    for number in (1, 2):
        whole.note_generation(batch.set(rewards=batch.require("rewards") + number))
        step(whole, batch, number)
    again = thermostat(PID, VELOCITY)
    again.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    assert again.objective == whole.objective != thermostat(PID, VELOCITY).objective
    for of in (whole, again):
        of.note_generation(batch.set(rewards=batch.require("rewards") * 3))
        step(of, batch, 3)
    assert again.state == whole.state and again.held == whole.held and again.watches == whole.watches
    assert again.objective == whole.objective


def test_a_knob_that_a_checkpoint_does_not_know_starts_afresh() -> None:
    one, two = thermostat(PID), thermostat(PID, VELOCITY)
    step(one, batch_of(3), 1)
    two.load_state_dict(one.state_dict())
    fresh = thermostat(PID, VELOCITY)
    assert two.state["penalties.bonus0.coef"] == one.state["penalties.bonus0.coef"]
    assert two.state["penalties.bonus1.coef"] == fresh.state["penalties.bonus1.coef"]


def test_a_knob_that_only_a_checkpoint_knows_is_left_out() -> None:
    one, two = thermostat(PID), thermostat(PID, VELOCITY)
    step(two, batch_of(3), 1)
    one.load_state_dict(two.state_dict())
    assert list(one.state) == list(one.watches) == ["penalties.bonus0.coef"]
    assert one.state.items() <= two.state.items() and one.objective != thermostat(PID).objective


@pytest.mark.parametrize("signal", sorted(SIGNALS))
def test_a_forward_is_asked_for_only_where_a_signal_needs_it(signal: str) -> None:
    """Entropies of the reference and of the policy that generated: TRL gives the log-probs of both anyway."""
    of = thermostat({"pid": {**PID["pid"], "signal": signal}})
    assert of.reads_reference_entropy is (signal in REF_ENTROPY)
    assert ("old_entropy" in of.rollout_needs) is (signal in OLD_ENTROPY)


def test_signals_of_a_generation_hold_until_the_next_and_are_told_once() -> None:
    of, batch = thermostat(VELOCITY), batch_of(3)
    assert set(of.note_generation(batch)) == {"reward_velocity"}
    before = dict(of.held)
    step(of, batch, 1)
    assert of.held == before and "reward" in before
    assert thermostat(PID).note_generation(batch) == {}


def test_the_entropy_of_the_reference_is_measured_where_it_is_read() -> None:
    of, batch = thermostat({"pid": {**PID["pid"], "signal": "entropy_ratio"}}), batch_of(3)
    assert of.note_generation(batch, 2 * batch.require("old_entropy")) == {"entropy_ratio": pytest.approx(0.5)}
    of = thermostat({"pid": {**PID["pid"], "signal": "reward"}})
    assert of.note_generation(batch) == {}, "rewards have a place in the log already"
    for number in (1, 2):
        step(of, batch, number)
        assert of.report()["penalties.bonus0.coef/signal"] == pytest.approx(float(batch.require("rewards").mean()))


def test_the_velocity_is_that_of_the_average_over_generations() -> None:
    of, batch = thermostat(VELOCITY), batch_of(3)
    rewards = batch.require("rewards")
    told = [of.note_generation(batch.set(rewards=rewards + shift))["reward_velocity"] for shift in (0.0, 1.0, 1.0)]
    assert told == pytest.approx([0.0, 0.05, 0.05 * 0.95])


def test_what_a_term_reports_is_a_signal() -> None:
    of = thermostat({"pid": {**PID["pid"], "signal": "bonus1/entropy"}}, 0.1)
    of.window.add(batch_of(3), {"bonus1/entropy": torch.tensor(0.25)})
    of.update(of.window.close(), 1, 10)
    assert of.report()["penalties.bonus0.coef/signal"] == 0.25


def test_the_norm_of_the_gradient_and_the_progress_are_signals() -> None:
    for signal, value in (("grad_norm", 2.0), ("step", 3.0), ("progress", 0.3)):
        of = thermostat({"pid": {**PID["pid"], "signal": signal, "smoothing": 0.0}})
        of.window.add(batch_of(3), {}, of.objective.loss.term)
        of.update(of.window.close(), 3, 10, grad_norm=2.0)
        assert of.report()["penalties.bonus0.coef/signal"] == value


def test_a_loop_that_measures_nothing_says_so_and_logs_no_old_measurement() -> None:
    of, batch = thermostat(PID), batch_of(3)
    step(of, batch, 1)
    assert of.report()["penalties.bonus0.coef/signal"] > 0
    nothing = batch.set(mask=torch.zeros_like(batch.mask))
    told = []
    for number in range(2, 16):
        step(of, nothing, number)
        told += list(of.problems())
    assert of.report()["penalties.bonus0.coef/signal"] != of.report()["penalties.bonus0.coef/signal"]
    ((knob, problem),) = told
    assert knob == "penalties.bonus0.coef" and "nothing measured of 'entropy'" in problem
