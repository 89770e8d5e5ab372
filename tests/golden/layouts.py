"""How the recorded files are laid out: what is input, what is parameter, what must be reproduced."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.harness import Arrays, Record, Results

INJECTED = ("perm",)
"""Recorded draws of the reference: inputs of the comparison."""


def covariance_files(data: Mapping[str, Any]) -> Record:
    """README_cov_steer.md: ``in__*``, ``f64__*``, ``f32__*`` and a JSON ``meta``."""
    meta = json.loads(str(data["meta"]))
    outputs: dict[str, Results] = {}
    injected: dict[str, Arrays] = {}
    for key, value in data.items():
        run, _, name = key.partition("__")
        if run in ("f64", "f32"):
            home: dict[str, Any] = injected if name in INJECTED else outputs
            home.setdefault(run, {})[name] = value
    scalars = meta.pop("outputs", {})
    if scalars and set(scalars) <= {"f64", "f32"}:
        for run, named in scalars.items():
            outputs[run] |= {name.removeprefix("actor/"): value for name, value in named.items()}
    elif scalars:
        outputs["f64"] = {name: float(value) for name, value in scalars.items()}  # 'nan' is written as text
        meta["names"] = list(scalars)
    params = meta | meta.pop("params", {}) | {"fork": meta["repo"] == "entmech"}
    return Record({k[4:]: v for k, v in data.items() if k.startswith("in__")}, params, outputs, injected)


def kl_cov_files(data: Mapping[str, Any]) -> Record:
    """With ties at the threshold the reference's choice is an input, and the covariances chosen are the output."""
    record = covariance_files(data)
    for run, recorded in record.outputs.items():
        tied = recorded["n_ge_kth"] > recorded["n_selected"]
        chosen = recorded["selected"]
        record.injected[run] = {"ties": chosen if tied else chosen[:0], "tied": tied}
        recorded["selected_cov"] = np.sort(recorded["cov"][tuple(chosen.T)])
    return record


def plain_files(data: Mapping[str, Any]) -> Record:
    """README_aepo_lpreg.md: ``in_*``, ``out_*`` and a JSON ``cfg``; float64."""
    inputs = {k[3:]: v for k, v in data.items() if k.startswith("in_")}
    outputs = {k[4:]: v for k, v in data.items() if k.startswith("out_")}
    return Record(inputs, json.loads(str(data["cfg"])), {"f64": outputs})


def trajectory_files(data: Mapping[str, Any]) -> Record:
    """One array whose name lists its columns: the first is what the controller measured."""
    key = next(k for k in data if k.startswith("traj_"))
    columns = dict(zip(key.removeprefix("traj_").split("_"), data[key].T, strict=True))
    return Record({"entropy": columns.pop("entropy")}, json.loads(str(data["cfg"])), {"f64": columns})


def klest_files(data: Mapping[str, Any]) -> Record:
    inputs = {name: data[name] for name in ("logp", "ref_logp")}
    return Record(inputs, {}, {"f32": {k: v for k, v in data.items() if k not in inputs}})
