"""What to change, as YAML for a child recipe (``extends:`` the run's own) that loads. Comments say why."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import numpy as np

from entropostat.diagnose.log import Floats, Log

WORD = re.compile(r"-?[A-Za-z_][\w.]*", re.ASCII)


def _penalty(log: Log, term: str, options: str) -> str:
    """Edits the term where the run has it, adds it where not."""
    present = term in log.terms or any(
        key.startswith((f"{term}/", f"forces/{term}/", f"control/penalties.{term}.")) for key in log.keys
    )
    entry = f"edit: {{{term}: {options}}}" if present else f"+{term}: {options}"
    return f"objective:\n  penalties:\n    {entry}\n"


def collapse(log: Log, start: float) -> str:
    target = max(start / 2, 1e-3)
    pid = f"{{pid: {{signal: entropy, target: {target:.3g}, effect: raises, kp: 0.01, ki: 0.001, low: 0, high: 0.02}}}}"
    return (
        "# Hold entropy at half of its start; the bound keeps the bonus from blowing it up. Where prompts change during\n"
        "# the run, an anchor is the better actuator: kl_ref.\n" + _penalty(log, "entropy_bonus", f"{{coef: {pid}}}")
    )


def explosion(log: Log, start: float) -> str:
    if log.has("entropy_bonus/entropy") or log.has("forces/entropy_bonus/share"):
        pid = f"{{pid: {{signal: entropy, target: {start:.3g}, effect: raises, kp: 0.01, ki: 0.001, low: -0.01, high: 0.01}}}}"
        return "# The bonus drives it up: let it follow the entropy, with a bound that may turn it round.\n" + _penalty(
            log, "entropy_bonus", f"{{coef: {pid}}}"
        )
    return (
        "# Pull back to the initial policy, and take smaller steps.\n"
        + _penalty(log, "kl_ref", "{coef: 0.05}")
        + f"trainer: {{learning_rate: {rate(log, 3):.2g}, max_grad_norm: 0.5}}\n"
    )


def rate(log: Log, by: float) -> float:
    """The run's largest learning rate, divided."""
    series = log.series("learning_rate").finite
    return (float(series.values.max()) if len(series) and series.values.max() > 0 else 1e-6) / by


def wrong_tokens(log: Log) -> str:
    return "# Give the bonus only to the tokens that are still decisions.\n" + _penalty(
        log, "entropy_bonus", "{select: top, top_fraction: 0.2}"
    )


def saturated(log: Log, knob: str, value: float) -> str:
    why = "# Widen the bound at which the loop sits, or move the target to what this actuator reaches.\n"
    if _autopilot(log, knob):
        return why + _loop(knob, "autopilot", {"gain_max": 2.0, "bonus_high": 0.2})
    if _at_low(log, knob, value):
        return why + _loop(knob, "pid", {"low": value / 3 if value > 0 else value * 3 if value < 0 else -0.01})
    return why + _loop(knob, "pid", {"high": value * 3 if value > 0 else 0.01})


def oscillating(log: Log, knob: str) -> str:
    why = "# A third of the gains, a smoother signal, and a limit to the change per update.\n"
    error, p, i = (log.series(f"control/{knob}/{key}").finite.values for key in ("error", "p", "i"))
    gains: dict[str, float] = {}
    if len(error) == len(p) and (gain := _ratio(p, error)):
        gains["kp"] = gain / 3
    if len(error) == len(i) and (gain := _ratio(np.diff(i), error[1:])):
        gains["ki"] = gain / 3
    if _autopilot(log, knob):
        return why + _loop(knob, "autopilot", gains | {"smoothing": 0.8})
    output = log.series(f"control/{knob}/output").finite.values
    slew = max(float(output.max() - output.min()) / 50, 1e-6) if len(output) else 0.01
    return why + _loop(knob, "pid", gains | {"smoothing": 0.8, "slew": slew})


def _loop(knob: str, kind: str, options: Mapping[str, float]) -> str:
    slot, _, rest = knob.partition(".")
    term, _, field = rest.partition(".")
    text = ", ".join(f"{key}: {value:.3g}" for key, value in options.items())
    slot, term, field = map(_word, (slot, term, field))
    return f"objective:\n  {slot}:\n    edit: {{{term}: {{{field}: {{{kind}: {{{text}}}}}}}}}\n"


def _word(name: str) -> str:
    """A name out of the log as YAML: it may hold anything, and the advice is put into a recipe."""
    return name if WORD.fullmatch(name) else json.dumps(name)


def _autopilot(log: Log, knob: str) -> bool:
    return log.has(f"control/{knob}/authority") or log.has(f"control/{knob}/rest")


def _ratio(values: Floats, error: Floats) -> float:
    """The gain by which an error became a part of the output, as far as no bound cut it."""
    use = np.abs(error) > 1e-6
    return float(np.median(np.abs(values[use] / error[use]))) if use.any() else 0.0


def _at_low(log: Log, knob: str, value: float) -> bool:
    output = log.series(f"control/{knob}/output").finite
    return bool(len(output)) and abs(value - output.values.min()) < abs(value - output.values.max())


def why_inert(term: str) -> str:
    known = {
        "kl_cov": "one update per generation: the policy is the old policy, and the distance between them 0",
        "clip_cov": "no covariance lies in the band (low, high), or the share rounds to no token",
    }
    return known.get(term, f"{term} has no gradient, or selects no token")


def inert(log: Log, term: str) -> str:
    if term == "kl_cov":
        return "# Two updates a generation or more, or take the term out.\ntrainer: {num_iterations: 2}\n"
    if term == "clip_cov":
        return (
            "# A band where covariances are: see clip_cov/admissible, and raise the share for small batches.\n"
            "objective:\n  weights:\n    edit: {clip_cov: {low: 0.0, high: 5.0, fraction: 2.0e-3}}\n"
        )
    slot = "weights" if log.has(f"forces/{term}/touched_up") and not log.has(f"forces/{term}/share") else "penalties"
    return f"# It does nothing: take it out, or raise its coefficient.\nobjective:\n  {slot}:\n    {_word(f'-{term}')}: null\n"


def blip(log: Log) -> str:
    return "# Nothing to change by itself. Where it comes again, take smaller steps.\n" + _steps(log)


def _steps(log: Log) -> str:
    return f"trainer: {{learning_rate: {rate(log, 3):.2g}, max_grad_norm: 0.5}}\n"


def smaller_steps(log: Log) -> str:
    return "# Smaller steps, bounded by what they do to the policy, and an anchor.\n" + (
        _steps(log) + "optimizer: {step_radius: {}}\n" + _penalty(log, "kl_ref", "{coef: 0.05}")
    )


def reward_lost(log: Log) -> str:
    return (
        "# Go back to a checkpoint from before, with smaller steps and an anchor: what is lost is not learned again by more of the same.\n"
        + _penalty(log, "kl_ref", "{coef: 0.05}")
        + _steps(log)
    )


def truncation(log: Log) -> str:
    longest = log.series("completions/max_length").finite
    room = int(2 * longest.values.max()) if len(longest) else 2048
    return (
        "# A price on completions that never end; more room only where they would have ended.\n"
        f"shaping: {{missing_eos_penalty: 0.5}}\ntrainer: {{max_completion_length: {room}}}\n"
    )


def dead_groups(state: str) -> str:
    """``state``: solved, never or lost."""
    if state == "lost":
        return (
            "# What the run could do is gone: neither other prompts nor more samples bring it back. Go back to a checkpoint from before.\n"
            "trainer: {max_grad_norm: 0.5}\n"
        )
    if state == "solved":
        return "# Solved every time: harder prompts, or more completions of each to see a rare failure.\ntrainer: {num_generations: 16}\n"
    return (
        "# Never solved: easier prompts first, or more and hotter completions of each to see a rare success.\n"
        "trainer: {num_generations: 16}\nsampler: {temperature: 1.2}\n"
    )


def missing(names: list[str]) -> str:
    if names:
        return failing(names[0], False)
    return (
        "# Nothing to change by itself: a verifier that compares needs reference answers (answer: and answer_regex: of the data\n"
        "# source), and a function must return a number.\n"
    )


def failing(name: str, slow: bool) -> str:
    if slow:
        return f"# More time for each completion; look first for what takes so long.\nreward:\n  edit: {{{name}: {{timeout: 60.0}}}}\n"
    return f"# Nothing to change by itself: mend what {name} runs on, or its options. Its first warning names the example and the error.\n"


def constant(high: bool) -> str:
    return (
        "# Look at completions.jsonl first. If the verifier is right, other prompts; else more and hotter completions of each.\n"
        f"trainer: {{num_generations: 16}}\n{'' if high else 'sampler: {temperature: 1.2}' + chr(10)}"
    )


def length_hacking(log: Log) -> str:
    return (
        "# A loss that does not weigh a completion by its length, and a price on those that never end.\n"
        "objective: {loss: {trl: {type: dr_grpo}}}\nshaping: {missing_eos_penalty: 0.5}\n"
    )


def reward_gap(log: Log) -> str:
    pid = "{pid: {signal: kl, target: 0.05, effect: lowers, space: log, ki: 0.05, start: 0.1, low: 0.01, high: 1.0}}"
    return "# Hold the distance to the initial policy; stop where held-out was best.\n" + _penalty(
        log, "kl_ref", f"{{coef: {pid}}}"
    )


def incompetent(log: Log) -> str:
    return (
        "# Keep what the policy could do, not only that it does it: an anchor through the stage that does not reward it.\n"
        + _penalty(log, "kl_ref", "{coef: 0.3}")
    )


CORRECTORS = ("dppo", "icepop", "ipo", "sequence_mask", "truncated_is")
"""Terms that carry the ratio of trainer to sampler, beside which TRL's own correction is refused."""


def mismatch(log: Log) -> str:
    why, correction = "correct the rest by importance weights", "true"
    if own := sorted(log.terms.intersection(CORRECTORS)):
        why, correction = f"{own[0]} corrects the rest, so TRL must not", "false"
    change = f"# Sample from what is trained: no truncation, and {why}.\nsampler: {{top_p: 1.0, top_k: 0}}\n"
    if "aepo" in log.terms:  # its rows of another temperature bear no correction where they are trained as they are
        return change
    return change + f"trainer: {{vllm_importance_sampling_correction: {correction}}}\n"


def non_finite(log: Log) -> str:
    return (
        "# Smaller steps, and a bound on each.\n"
        f"trainer: {{learning_rate: {rate(log, 3):.2g}, max_grad_norm: 0.5}}\noptimizer: {{step_radius: {{}}}}\n"
    )


def nothing_trained(log: Log, truncated: bool) -> str:
    if truncated:
        longest = log.series("completions/max_length").finite
        room = int(2 * longest.values.max()) if len(longest) else 1024
        return (
            "# Give completions room to end. Or train on those that are cut off too: mask_truncated_completions: false.\n"
            f"trainer: {{max_completion_length: {room}}}\n"
        )
    return "# See what the completions are, in completions.jsonl.\ntracking: {completions: 8}\n"
