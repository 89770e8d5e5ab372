"""Layouts of the files behind ``adapters_ppo``: SAFE's critic, reward normaliser and whole training steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.harness import SIDECAR, Record

PHASES = ("WARMUP", "CLIMBING", "PLATEAU", "CONVERGED")
ASIDE = ("rollout/rewards",)
"""Under the inputs of the reference, but computed by it."""


def critic_files(data: Mapping[str, Any]) -> Record:
    """README_safe.md: whole critics ``h<width>_a<alpha>_ln<0|1>``, and the soft minimum alone by ``softmin_a<alpha>``."""
    given = ("/hidden", "/v1", "/v2")
    inputs, outputs, alphas = {}, {}, {}
    for key, value in data.items():
        case, _, name = key.partition("/")
        alphas[case] = float(re.search(r"_a([\d.]+)", case).group(1))
        alone = case.startswith("softmin") and f"/{name}" in given
        (inputs if alone or name == "hidden" or name.startswith("param/") else outputs)[key] = value
    return Record(inputs, {"alphas": alphas}, {"f64": outputs})


def normaliser_files(data: Mapping[str, Any]) -> Record:
    """Batches of rewards ``x``; after each, what they became and the state."""
    inputs = {key: value for key, value in data.items() if key.endswith("/x")}
    return Record(inputs, {}, {"f32": {key: value for key, value in data.items() if key not in inputs}})


def step_files(data: Mapping[str, Any]) -> Record:
    """README_safe.md: ``<trainer>_s<seed>_lr<rate>_e<epochs>``; metrics in the file beside it."""
    inputs, outputs, runs = {}, {}, {}
    for key, value in data.items():
        if key == SIDECAR:
            continue
        run, _, name = key.partition("/")
        kind, rate, epochs = re.fullmatch(r"([a-z]+)_s\d+_lr([\d.e-]+)_e(\d+)", run).groups()
        runs[run] = {"kind": kind, "lr": float(rate), "epochs": int(epochs)}
        given = name.startswith(("rollout/", "policy_init/", "critic_init/")) and name not in ASIDE
        (inputs if given else outputs)[key] = value
    for run, metrics in data[SIDECAR].items():
        for name, value in metrics.items():
            outputs[f"{run}/{name}"] = np.asarray(PHASES.index(value) if name == "phase" else value)
    return Record(inputs, {"runs": runs}, {"f32": outputs})
