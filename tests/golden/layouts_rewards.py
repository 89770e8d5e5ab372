"""Layouts of the files behind ``adapters_rewards``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.harness import SIDECAR, Record

BUCKETS = ("easy", "medium", "hard")
Cases = list[tuple[str, dict[str, Any], dict[str, Any]]]
"""(name of the case, what an adapter may see, what it must reproduce)."""


def pear_files(data: Mapping[str, Any]) -> Record:
    """README_safe.md: rows of parameters and results beside the entropies ``i/H``."""
    inputs, outputs, rows = {}, {}, {}
    for row in data[SIDECAR]["rows"]:
        i = row["i"]
        inputs[f"{i}/H"] = np.asarray(data[f"{i}/H"])
        rows[i] = {key: row[key] for key in ("k0", "correct", "alpha", "s", "r_fmt")}
        results = ("H_think", "H_think_all_tokens_if_missing", "H_answer", "penalty", "reward")
        outputs |= {f"{i}/{key}": np.asarray(row[key]) for key in results if row[key] is not None}
    return Record(inputs, {"rows": rows}, {"f64": outputs})


def ares_files(data: Mapping[str, Any]) -> Record:
    """README_advantage.md: a list of cases of five kinds. What the reference computes in float32 is compared so."""
    params: dict[str, Any] = {}
    exact: dict[str, Any] = {}
    single: dict[str, Any] = {}
    for i, case in enumerate(data["cases"]):
        name, kind = f"{case['kind']}@{i}", case["kind"]
        given, results = CASES[kind](case)
        params[name] = given
        where = single if kind == "window_entropy_top10_logprobs" else exact
        where |= {f"{name}/{key}": np.asarray(value) for key, value in results.items()}
    return Record({}, {"cases": params}, {"f64": exact, "f32": single})


def _split(case: Mapping[str, Any], *results: str) -> tuple[dict[str, Any], dict[str, Any]]:
    given = {key: value for key, value in case.items() if key not in results}
    return given, {key: case[key] for key in results if key in case}


def _grid(case: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return _split(case, "outputs", "overall")


def _windows(case: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    counts = ("valid_trigger_count", "invalid_trigger_count")
    return _split(case, *counts, "mean_entropy", "soft_cost", "percentile_threshold")


def _online(case: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    given = {"group": case["group"], "steps": [{key: s[key] for key in ("acc", "hwe_counts")} for s in case["steps"]]}
    results = {
        "difficulty": [[BUCKETS.index(s["difficulty"][f"g{g}"]) for g in range(len(s["difficulty"]))] for s in case["steps"]],
    }  # fmt: skip
    for key in ("target", "alpha"):
        results |= {f"{key}_{n}": [s[key][n] for s in case["steps"] if n in s[key]] for n in BUCKETS}
    return given, results


def _beta(case: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    given = {key: case[key] for key in ("levels", "seq_mean_kl", "params")}
    given["updates"] = [entry["update"] for entry in case["trace"]]
    results = {
        f"{key}_{name}": [entry[key][name] for entry in case["trace"]]
        for key in ("beta", "ema_kl", "e_ema")
        for name in case["trace"][0][key]
    }
    return given, results


def _dual(case: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    steps, names = case["steps"], list(case["steps"][0]["kl"])
    given = {"kl": {name: [step["kl"][name] for step in steps] for name in names}}
    given |= {key: value for key, value in case.items() if key not in ("steps", "kind")}
    results = {f"lambda_{name}": [step["lambdas"][name] for step in steps] for name in names}
    return given, results | {f"coef_{name}": [step["coefs"][name] for step in steps] for name in names}


CASES = {
    "hierarchical_entropy_reward": _grid,
    "window_entropy_top10_logprobs": _windows,
    "online_difficulty_and_alpha": _online,
    "dynamic_kl_beta": _beta,
    "token_adaptive_dual_ascent": _dual,
}
