"""Layouts of the files behind ``adapters_control``: series of signals in, series of values and states out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.harness import SIDECAR, Record

SIGNALS = ("kl", "entropy", "reward")


def case_files(data: Mapping[str, Any]) -> Record:
    """A list of cases, each with its constants, the KL series and the coefficients."""
    cases = {str(i): dict(case) for i, case in enumerate(data["cases"])}
    inputs = {f"{i}/kl": np.asarray(case.pop("current_kl")) for i, case in cases.items()}
    outputs = {f"{i}/coef": np.asarray(case.pop("value_after")) for i, case in cases.items()}
    settings = {i: (c["init_kl_coef"], c["target_kl"], c["horizon"], c["n_steps"], f"{i}/kl") for i, c in cases.items()}
    return Record(inputs, {"adaptive": settings, "lagrangian": {}}, {"f64": outputs})


def klctl_files(data: Mapping[str, Any]) -> Record:
    """One KL series; ``<name>/coef`` with its four constants, ``<name>/lam_i_dp_cd_d`` with its ``cfg``."""
    outputs, adaptive, lagrangian = {}, {}, {}
    for key, value in data.items():
        name, _, what = key.partition("/")
        if what == "coef":
            outputs[key] = value
        elif what == "init_target_horizon_n":
            adaptive[name] = (*value.tolist(), "kl")
        elif what == "cfg":
            lagrangian[name] = json.loads(str(value))
        elif what:
            outputs |= {f"{name}/{column}": value[:, i] for i, column in enumerate(what.split("_"))}
    return Record({"kl": data["kl"]}, {"adaptive": adaptive, "lagrangian": lagrangian}, {"f64": outputs})


def safe_files(data: Mapping[str, Any]) -> Record:
    """``<series>/<name>``: the last part says whether it was measured; the settings lie in the file beside it."""
    arrays = {key: value for key, value in data.items() if key != SIDECAR}
    inputs = {key: value for key, value in arrays.items() if key.rpartition("/")[2] in SIGNALS}
    outputs = {key: value for key, value in arrays.items() if key not in inputs}
    return Record(inputs, data[SIDECAR], {"f64": outputs})
