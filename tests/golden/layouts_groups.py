"""Layouts of the files behind ``adapters_groups``: lists of cases, whose arrays are told apart by ``name@case``.

What the references computed in float32 is compared in both precisions: in float64 within the README's tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from golden.harness import Arrays, Record, Results

COPO = ("rewards", "mask", "old_logp", "logp")
COPO_OUTPUTS = ("entropy_bits", "global_reward", "global_adv", "local_adv", "blend_weight", "per_token_loss", "loss")
FORMULA = ("SE_count_mc", "SE_count_shannon", "SE_lik_mc", "SE_lik_shannon", "SE_max", "p_count", "p_likelihood")
FORMULA += ("adv_mean_only", "adv_std_ddof1_eps1e4")


def numbered(values: Iterable[Any]) -> np.ndarray:
    """(N,) which of the ids, in the order of their first mention."""
    seen: dict[Any, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values])


def seed_files(data: Mapping[str, Any]) -> Record:
    """README_advantage.md: weights per row of a third party, and cases from the formulas in float64."""
    inputs: Arrays = {}
    cases: dict[int, dict[str, Any]] = {}
    outputs: dict[str, Results] = {"f64": {}, "f32": {}}
    for i, case in enumerate(data["cases"]):
        inputs[f"likely@{i}"] = np.asarray(case["seq_logps_length_normalized"])
        cases[i] = {"answers": case["answer_keys"]}
        if "weights" in case:
            cases[i] |= {"alpha": case["alpha"], "size": case["num_samples"]}
            rows = len(case["answer_keys"])
            inputs[f"counts@{i}"] = np.asarray(case["loss_masks"] or [1.0] * rows)
            outputs["f64"][f"weights@{i}"] = outputs["f32"][f"weights@{i}"] = np.asarray(case["weights"])
            continue
        inputs[f"rewards@{i}"] = np.asarray(case["rewards"])
        strengths = [key for key in case if key.startswith("alpha_")]
        cases[i] |= {"alphas": [float(key.removeprefix("alpha_")) for key in strengths], "clusters": case["clusters"]}
        outputs["f64"] |= {f"{name}@{i}": np.asarray(case[name]) for name in FORMULA}
        for key in strengths:
            alpha = float(key.removeprefix("alpha_"))
            outputs["f64"] |= {f"{alpha}/{name}@{i}": np.asarray(value) for name, value in case[key].items()}
    return Record(inputs, {"cases": cases}, {run: found for run, found in outputs.items() if found})


def copo_files(data: Mapping[str, Any]) -> Record:
    """README_advantage.md. With one prompt the reference divides 0 by 0, and the README says what to return: an A^g of 0.
    What follows from that NaN is left out where it is a scalar; of an array the harness wants a finite result."""
    inputs: Arrays = {}
    cases: dict[int, dict[str, Any]] = {}
    outputs: Results = {}
    for i, case in enumerate(data["cases"]):
        inputs |= {f"{name}@{i}": np.asarray(case[name]) for name in COPO}
        inputs[f"groups@{i}"] = numbered(case["prompt_ids"])
        cases[i] = {key: value for key, value in case.items() if key not in {*COPO, *COPO_OUTPUTS, "prompt_ids"}}
        found = {name: np.asarray(case[name], dtype=float) for name in COPO_OUTPUTS}
        found["global_adv"] = np.nan_to_num(found["global_adv"])
        if found["blend_weight"].ndim == 2:  # once per token where a flag looks at the reward
            assert (found["blend_weight"] == found["blend_weight"][:, :1]).all()
            found["blend_weight"] = found["blend_weight"][:, 0]
        outputs |= {f"{name}@{i}": value for name, value in found.items() if value.ndim or not math.isnan(value)}
    return Record(inputs, {"cases": cases}, {"f64": outputs, "f32": outputs})


def adora_files(data: Mapping[str, Any]) -> Record:
    """README_advantage.md: the two released codes, and the paper's criteria beside the second."""
    inputs: Arrays = {}
    cases: dict[int, dict[str, Any]] = {}
    outputs: Results = {}
    for i, case in enumerate(data["cases"]):
        cases[i] = {key: case[key] for key in ("kind", "lamda", "correct_score", "max_length_threshold") if key in case}
        lengths, rewards = np.asarray(case["lengths"]), np.asarray(case.get("scores", case.get("rewards")))
        inputs |= {f"lengths@{i}": lengths.ravel(), f"rewards@{i}": rewards.ravel()}
        if case["kind"] == "llm_code":
            inputs[f"groups@{i}"] = numbered(case["prompt_ids"])
            outputs[f"adv_per_seq@{i}"] = np.asarray(case["adv_per_seq"])
            continue
        inputs[f"groups@{i}"] = np.arange(rewards.size) // rewards.shape[1]
        outputs |= {f"{name}@{i}": np.asarray(case[name]).ravel() for name in ("weights", "group_norm_adv")}
        said = case["paper_criteria"]
        outputs[f"difficulty_adv@{i}"] = np.array([c["difficulty_adv"] for c in said])
        outputs[f"success_rate@{i}"] = np.array([c["success_rate"] for c in said])
        # None: undefined, as a side is missing.
        outputs[f"length_defined@{i}"] = np.array([c["length_adv"] is not None for c in said])
        outputs[f"length_adv@{i}"] = np.array([bool(c["length_adv"]) for c in said])
    return Record(inputs, {"cases": cases}, {"f64": outputs, "f32": outputs})


def passk_files(data: Mapping[str, Any]) -> Record:
    """README_safe.md: ``n8_k2_c1/name``, ``continuous/name``, ``dco/p`` and ``dco/N8/name``. verl's arrays alone are float32."""
    inputs = {key: value for key, value in data.items() if key.endswith("/reward") or key == "dco/p"}
    outputs: dict[str, Results] = {"f64": {}, "f32": {}}
    for key, value in data.items():
        if key not in inputs:
            outputs["f32" if "/verl_" in key else "f64"][key] = value
    counts = sorted({int(n) for key in data if (n := key.partition("dco/N")[2].partition("/")[0])})
    return Record(inputs, {"counts": counts}, outputs)
