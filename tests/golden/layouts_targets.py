"""Layouts of the files behind ``adapters_targets``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.harness import Record
from golden.layouts_reshaping import inputs_of

EXACT = ("temperature", "rho", "bool_reward", "old_log_probs", "old_log_probs_t", "true_ratio")
"""What the reference computes without a float32 in between."""


def dcpo_files(data: Mapping[str, Any]) -> Record:
    """README_aepo_lpreg.md. The reference casts alpha to float32, so what follows from it is compared in that precision.

    Where nothing is right it divides 0 by 0. That NaN is a known error which we do not share: a scalar is left out here, and
    of an array the harness wants a finite result only.
    """
    outputs = {k[4:]: v for k, v in data.items() if k.startswith("out_")}
    outputs = {k: v for k, v in outputs.items() if v.ndim or not np.isnan(v)}
    exact = {k: outputs.pop(k) for k in EXACT}
    inputs = inputs_of(data)
    params = {k: float(inputs.pop(k)) for k in ("entropy", "entropy_base")}
    inputs["groups"] = np.arange(len(inputs["responses"])) // int(inputs.pop("n"))
    return Record(inputs, params, {"f64": exact, "f32": outputs})


def siren_files(data: Mapping[str, Any]) -> Record:
    """README_aepo_lpreg.md. The quantile alone was taken in float32."""
    outputs = {k[4:]: v for k, v in data.items() if k.startswith("out_")}
    bound = {"lower_bound": outputs.pop("lower_bound")}
    return Record(inputs_of(data), json.loads(str(data["cfg"])), {"f64": outputs, "f32": bound})


def confucius_files(data: Mapping[str, Any]) -> Record:
    """README_advantage.md: a list of cases of three kinds, each with inputs and results side by side."""
    inputs, outputs, settings, groups, traces = {}, {}, {}, [], {}
    for i, case in enumerate(data["cases"]):
        if case["kind"] == "rsr_trace":
            steps = case["steps"]
            sampled = [(at, *pair) for at, step in enumerate(steps) for pair in step["sampled"]]
            inputs[f"sampled@{i}"] = np.asarray(sampled)
            traces[f"@{i}"] = {"places": int(case["batch_size"]), "size": int(case["G"]), "steps": len(steps)}
            for name in ("kept", "trained", "recovered", "pending"):
                rows = [(at, group) for at, step in enumerate(steps) for group in step[name]]
                outputs[f"{name}@{i}"] = np.asarray(rows, dtype=np.int64).reshape(-1, 2)
            continue
        if case["kind"] == "pshw":
            inputs[f"R@{i}"] = np.asarray(case["R"])
            groups.append(f"@{i}")
            outputs |= {f"{name}@{i}": np.asarray(case[name]) for name in ("adv", "D", "mu")}
            continue
        if case["kind"] != "ter":
            outputs[f"{case['kind']}@{i}"] = np.asarray(0.0)
            continue
        inputs[f"entropy@{i}"] = np.asarray(case["entropy"])
        settings[f"@{i}"] = {"target": case["target"], "coef": case["coef"]}
        outputs |= {f"{name}@{i}": np.asarray(case[name]) for name in ("loss_term", "dloss_dentropy")}
    return Record(inputs, {"settings": settings, "groups": groups, "traces": traces}, {"f64": outputs})
