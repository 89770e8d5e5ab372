"""Layouts of the files behind ``adapters_steps``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.harness import Record

GIVEN = ("param/", "step/", "x")


def radius_files(data: Mapping[str, Any]) -> Record:
    """README_safe.md: cases of a network with two layers and a tanh, each with a step of its weights."""
    inputs, outputs = {}, {}
    for key, value in data.items():
        case, _, name = key.partition("/")
        (inputs if name.startswith(GIVEN) else outputs)[f"{name}@{case}"] = np.asarray(value)
    cases = sorted({key.partition("/")[0] for key in data})
    return Record(inputs, {"cases": cases}, {"f64": outputs})


def muon_files(data: Mapping[str, Any]) -> Record:
    """README_advantage.md: a weight and its gradients; the weight after each step, by torch and by the formula."""
    inputs, outputs, settings = {}, {}, {}
    for i, case in enumerate(data["cases"]):
        inputs |= {f"W0@{i}": np.asarray(case["W0"]), f"grads@{i}": np.asarray(case["grads"])}
        settings[f"@{i}"] = {key: case[key] for key in ("lr", "wd", "momentum", "adjust_lr_fn")}
        outputs |= {f"{name}@{i}": np.asarray(case[name]) for name in ("params_torch_bf16NS", "params_float64")}
    return Record(inputs, {"settings": settings}, {"f32": outputs})
