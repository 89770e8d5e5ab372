"""How the recorded decoding runs are divided into inputs and outputs: README_advantage.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.harness import Record


def decoding_files(data: Mapping[str, Any]) -> Record:
    """A list of cases: sets that truncations keep of one row of logits, traces of mirostat, and where entropy spikes."""
    inputs: dict[str, np.ndarray] = {}
    outputs: dict[str, Any] = {}
    cases: dict[str, dict[str, Any]] = {}
    for i, case in enumerate(data["cases"]):
        kind = case["kind"]
        at = f"@{i}"
        cases[at] = {"kind": kind}
        if kind == "warpers":
            inputs[f"logits{at}"] = np.asarray(case["logits"])
            sets = {name: value for name, value in case.items() if name not in ("kind", "logits")}
            cases[at]["sets"] = list(sets)
            for name, kept in sets.items():
                outputs[f"{name}{at}"] = np.isin(np.arange(len(case["logits"])), np.asarray(kept).astype(int))
        elif kind == "mirostat":
            inputs |= {f"{name}{at}": np.asarray(case[name]) for name in ("logits", "uniforms")}
            cases[at] |= {name: case[name] for name in ("tau", "v2_eta")}
            for trace in ("v1_trace", "v2_orig", "v2_renorm"):
                for name in case[trace][0]:
                    outputs[f"{trace}/{name}{at}"] = np.asarray([step[name] for step in case[trace]], dtype=float)
        elif kind == "srgen_trigger":
            inputs[f"entropies{at}"] = np.asarray(case["entropies"])
            cases[at] |= {name: case[name] for name in ("N", "K", "minimal_std", "minimal_threshold", "base_threshold")}
            outputs[f"triggered{at}"] = np.asarray(case["triggered"])
        else:
            outputs[f"{kind}{at}"] = np.asarray(0.0)
    return Record(inputs, {"cases": cases}, {"f64": outputs})
