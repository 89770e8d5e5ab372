"""Layouts of the files behind ``adapters_reshaping``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.harness import Arrays, Record

CASE = re.compile(r"(?P<shape>linear|cos)_H(?P<entropy>[\d.]+)_s(?P<step>\d+)")


def clip_b_files(data: Mapping[str, Any]) -> Record:
    """README_aepo_lpreg.md. The reference casts to float32 inside, so all but S is compared in that precision."""
    outputs = {k[4:]: v for k, v in data.items() if k.startswith("out_")}
    metrics = json.loads(str(outputs.pop("metrics")))
    exact = {name: outputs.pop(name) for name in ("S", "S_minus_E")}
    return Record(inputs_of(data), json.loads(str(data["cfg"])), {"f64": exact, "f32": outputs | metrics})


def reward_files(data: Mapping[str, Any]) -> Record:
    """Token rewards in, token advantages out. A name such as linear_H0.3_s50 holds the setting that it was run at."""
    inputs = inputs_of(data)
    outputs = {k[4:]: v for k, v in data.items() if k.startswith("out_")}
    params = json.loads(str(data["cfg"]))
    if "entropic_traj" in outputs:
        inputs["entropy"], outputs["entropic_integral"] = outputs.pop("entropic_traj").T
    matches = {name: CASE.fullmatch(name) for name in outputs}
    params["bands"] = {
        name: (match["shape"], float(match["entropy"]), float(match["step"]))
        for name, match in matches.items()
        if match
    }
    return Record(inputs, params, {"f64": outputs})


def inputs_of(data: Mapping[str, Any]) -> Arrays:
    """``in_*``, with prompt names as numbers."""
    inputs = {k[3:]: v for k, v in data.items() if k.startswith("in_")}
    if "uid" in inputs:
        inputs["groups"] = np.unique(json.loads(str(inputs.pop("uid"))), return_inverse=True)[1]
    return inputs
