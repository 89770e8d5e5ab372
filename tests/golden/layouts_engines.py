"""Layouts of the files behind ``adapters_dppo`` and ``adapters_mismatch``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.harness import Record, Results

RUNS = ("f64", "f32")


def engine_files(data: Mapping[str, Any]) -> Record:
    """README_engines.md: ``in__*``, ``f64__*``, ``f32__*``, and in the JSON ``meta`` the parameters and each run's metrics."""
    meta = json.loads(str(data["meta"]))
    metrics = meta.pop("outputs")
    outputs: dict[str, Results] = {}
    for run in RUNS:
        arrays = {k.removeprefix(f"{run}__"): v for k, v in data.items() if k.startswith(f"{run}__")}
        scalars = {k.removeprefix("actor/"): v for k, v in metrics[run].items()}
        outputs[run] = arrays | {k: np.asarray(v, dtype=float) for k, v in scalars.items() if k not in arrays}
    for name, value in outputs["f32"].items():
        # A masked token whose ratio overflows in float32 makes the reference's sum NaN: right is what float64 gives.
        outputs["f32"][name] = np.where(np.isnan(value), outputs["f64"][name], value)
    params = meta["params"] | {"method": meta["method"], "fork": False}
    return Record({k[4:]: v for k, v in data.items() if k.startswith("in__")}, params, outputs)


def correction_files(data: Mapping[str, Any]) -> Record:
    """README_cov_steer.md, rollout_corr: one array for each setting that ``meta.outputs`` spells out; float64."""
    meta = json.loads(str(data["meta"]))["outputs"]
    outputs: Results = {k[5:]: v for k, v in data.items() if k.startswith("f64__")}
    settings = {}
    for name, entry in meta.items():
        settings[name] = entry.get("spec") or {"option": entry["option"], "threshold": entry["threshold"]}
        if "masked_fraction" in entry:
            outputs[f"{name}_fraction"] = np.asarray(entry["masked_fraction"])
    return Record({k[4:]: v for k, v in data.items() if k.startswith("in__")}, {"settings": settings}, {"f64": outputs})
