"""Adapters of the controllers: a series of signals goes in, one state per update comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from golden.harness import Adapter, Inputs, Results
from golden.layouts_control import case_files, klctl_files, safe_files
from torch import Tensor

from entropostat.rl.registry import CONTROLLERS

OPEN = 1e12
"""A bound that the reference does not have."""
COLUMNS = {"lam": "output", "i": "integral", "dp": "p", "cd": "smoothed", "d": "d"}
PID = {"adj": "pid", "integral": "integral", "prev_error": "prev_error", "ema": "reward_ema"}
PENALTY = {"penalty": "penalty", "threshold": "target", "kl_short": "smoothed", "kl_long": "kl_long"}
PENALTY |= {"entropy_factor": "gate", "active": "active", "phase": "phase"}
PENALTY |= {"pid_integral": "integral", "reward_ema": "reward_ema"}
ASYMMETRIC = {"penalty": "penalty", "asymmetric_penalty": "above", "momentum_penalty": "rising"}
ASYMMETRIC |= {"momentum": "momentum", "asymmetric_active": "active"}
OPTIONS = {"base_threshold": "threshold", "entropy_floor": "floor", "pid_kp": "kp", "pid_ki": "ki", "pid_kd": "kd"}
OPTIONS |= {"lambda_asymmetric": "strength", "lambda_momentum": "momentum", "momentum_window": "window"}


def states(kind: str, options: Mapping[str, Any], **signals: Tensor) -> list[dict[str, float]]:
    """The state after each update of a series."""
    controller = CONTROLLERS.build(kind, options)
    state, passed = controller.init(), []
    for values in zip(*(series.tolist() for series in signals.values()), strict=True):
        state, _ = controller.update(state, dict(zip(signals, values, strict=True)))
        passed.append(state)
    return passed


def series(passed: list[dict[str, float]], name: str) -> Tensor:
    return torch.tensor([state.get(name, 0.0) for state in passed], dtype=torch.float64)


def columns(passed: list[dict[str, float]], names: Mapping[str, str], prefix: str) -> Results:
    return {f"{prefix}/{theirs}": series(passed, ours) for theirs, ours in names.items()}


def kl_coefficients(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for name, (start, target, horizon, samples, kl) in params["adaptive"].items():
        options = {"start": start, "target": target, "horizon": horizon, "samples": int(samples)}
        results |= columns(states("adaptive_kl", options, kl=x[kl]), {"coef": "output"}, name)
    for name, cfg in params["lagrangian"].items():
        high = 1.0 if cfg["diff_norm"] else OPEN if cfg["sum_norm"] else cfg["pmax"]
        options = {"kp": cfg["kp"], "ki": cfg["ki"], "kd": cfg["kd"], "delay": cfg["delay"], "start": cfg["init"]}
        options |= {"smoothing": cfg["ap"], "derivative_smoothing": cfg["ad"], "target": cfg["limit"]}
        options |= {"high": high, "bound_integral": cfg["diff_norm"], "debias": False}
        results |= columns(states("pid_lagrangian", options, kl=x["kl"]), COLUMNS, name)
    return results


def pid_and_phase(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for key, rewards in x.items():
        name = key.partition("/")[0]
        still = torch.zeros_like(rewards)
        for gains, values in params["gains"].items():
            options = dict(zip(("kp", "ki", "kd"), values, strict=True))
            passed = states("safe", options, kl=still, reward=rewards)
            results |= columns(passed, PID, f"{name}/{gains}")
        phase = series(passed, "phase").long()
        factors = torch.tensor(CONTROLLERS.build("safe").phases, dtype=torch.float64)
        results |= {f"{name}/phase": phase, f"{name}/phase_mult": factors[phase]}
    return results


def penalty(x: Inputs, params: dict[str, Any]) -> Results:
    steps = states("preview", {}, kl_old=x["preview/kl"])
    results = columns(steps, {"factor": "output", "should_scale": "active"}, "preview")
    results["preview/should_scale"] = results["preview/should_scale"].bool()
    for key in x:
        prefix, _, signal = key.rpartition("/")
        if signal != "reward":
            continue
        options = renamed(params["configs"][prefix.rpartition("__")[2]]) | {"reference": True}
        signals = {name: x[f"{prefix}/{name}"] for name in ("kl", "reward", "entropy")}
        values = columns(states("safe", options, **signals), PENALTY, prefix)
        results |= values | {f"{prefix}/phase": values[f"{prefix}/phase"].long()}
    return results


def asymmetric(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for key, kl in x.items():
        for name, config in params["configs"].items():
            passed = states("safe_asymmetric", renamed(config) | {"reference": True}, kl=kl)
            results |= columns(passed, ASYMMETRIC, f"{key.removesuffix('/kl')}/{name}")
    return results


def renamed(config: Mapping[str, Any]) -> dict[str, Any]:
    return {OPTIONS.get(name, name): value for name, value in config.items()}


LENGTHS = [f"{kl}/{name}/hist_len" for kl in ("low", "rising", "spike", "negative") for name in ("default", "w5", "w1")]

ADAPTERS = (
    Adapter(("adaptive_kl_controller",), kl_coefficients, case_files),
    Adapter(("klctl",), kl_coefficients, klctl_files),
    Adapter(("safe_pid_phase",), pid_and_phase, safe_files),
    Adapter(("safe_controller",), penalty, safe_files),
    Adapter(
        ("safe_asymmetric",),
        asymmetric,
        safe_files,
        out_of_scope=dict.fromkeys(LENGTHS, "how long a list the reference keeps; it reads one window of it"),
    ),
)
