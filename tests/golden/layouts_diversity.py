"""Layouts of the files behind ``adapters_diversity``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.harness import Record

INPUTS = ("X", "K", "p")


def vendi_files(data: Mapping[str, Any]) -> Record:
    """README_advantage.md: vectors X, their kernel K and shares p beside each case's scores."""
    inputs, outputs, names = {}, {}, {}
    for i, case in enumerate(data["cases"]):
        inputs |= {f"{i}/{key}": np.asarray(case[key], dtype=float) for key in INPUTS}
        flat: dict[str, Any] = {}
        for key, value in case.items():
            if isinstance(value, dict):
                flat |= {f"{key}/{order}": each for order, each in value.items()}
            elif key not in (*INPUTS, "kind"):
                flat[key] = value
        names[i] = list(flat)
        outputs |= {f"{i}/{key}": np.asarray(value) for key, value in flat.items()}
    return Record(inputs, {"names": names}, {"f64": outputs})


FITTED = ("fit_a", "fit_b", "ceiling_b_minus_a", "rmse", "r2", "prefix_a", "prefix_b")
FORETOLD = ("extrapolation_rmse", "extrapolation_final_abs_err")


def law_files(data: Mapping[str, Any]) -> Record:
    """README_cov_steer.md: a series of entropies and rewards, and how many of them the prefix has."""
    inputs, outputs, prefix = {}, {}, {}
    for i, case in enumerate(data["cases"]):
        inputs |= {f"{i}/{key}": np.asarray(case[key], dtype=float) for key in ("H", "R")}
        prefix[i] = int(case["prefix_n"])
        outputs |= {f"{i}/{key}": np.asarray(case[key]) for key in (*FITTED, *FORETOLD)}
    return Record(inputs, {"prefix": prefix}, {"f64": outputs})


GIVEN = {"tilt": "tilt_beta_reward_kl", "bon": "bon_N_reward_klexact_klbound"}
ESTIMATED = {"snis": "snis_beta_reward_kl_ess", "unbiased": "bon_unbiased_N_reward_klbound"}


def frontier_files(data: Mapping[str, Any]) -> Record:
    """README_safe.md: outcomes with their probabilities and rewards, a policy omega, samples; the first column of a table is given."""
    inputs, outputs = {}, {}
    cases = sorted({key.partition("/")[0] for key in data})
    params: dict[str, Any] = {"cases": cases, "excess": {}}
    for case in cases:
        inputs |= {f"{case}/{key}": data[f"{case}/{key}"] for key in ("p", "r", "omega", "samples")}
        for name, key in (GIVEN | ESTIMATED).items():
            inputs[f"{case}/{name}"] = data[f"{case}/{key}"][:, 0]
            outputs[f"{case}/{key}"] = data[f"{case}/{key}"][:, 1:]
        for key in (k for k in data if k.startswith(f"{case}/excess_kl_beta")):
            params["excess"][key] = float(key.rpartition("beta")[2])
            outputs[key] = data[key]
    return Record(inputs, params, {"f64": outputs})
