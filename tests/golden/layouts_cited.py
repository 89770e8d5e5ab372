"""Layouts of the files behind ``adapters_cited``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.harness import Record
from golden.layouts import covariance_files


def bapo_files(data: Mapping[str, Any]) -> Record:
    """README_cited.md: where nobody has stepped on the tokens S is 1 up to rounding, which decides about the recorded bounds
    if the target is 1, too. They are compared with what the README recommends, those of the start.
    """
    record = covariance_files(data)
    for recorded in record.outputs.values():
        s, target = float(recorded["pos_neg_ratio"]), record.params["adv_ratio_target"]
        if (
            np.array_equal(record.inputs["log_prob"], record.inputs["old_log_prob"])
            and abs(s - target) <= 1e-6 * target
        ):
            start = ends(record.params)
            recorded["clip_low"], recorded["clip_high"] = start["lower"], start["upper"]
            recorded["bounds"] = np.array([start["lower"], start["upper"]])
    return record


def ends(params: Mapping[str, Any]) -> dict[str, float]:
    """Where the search begins and ends. What is null is that of the plain clip, with nothing to search."""
    plain = {"lower": 1 - params["clip_ratio_low"], "upper": 1 + params["clip_ratio_high"]}
    found = {}
    for side, at in plain.items():
        start, most = params[f"ratio_{side}_start"], params[f"ratio_{side}_max"]
        found[side] = at if start is None else start
        found[f"{side}_max"] = found[side] if most is None else most
        found[f"{side}_step"] = params[f"ratio_{side}_step"]
    return found


def epo_files(data: Mapping[str, Any]) -> Record:
    """README_cited.md: the caller applies the penalty where any row of the batch is late enough, and times a factor that falls
    with the epoch. Together they are the size of the term, which is a number that a schedule may move.
    """
    record = covariance_files(data)
    late = (record.inputs["rollout_step"] >= record.params["max_step"] // 2).any()
    decay = epoch_factor(record.params["trainer_epoch"]) if record.params["enable_smooth_weights"] else 1.0
    record.params["factor"] = decay if late else 0.0
    return record


def epoch_factor(epoch: int, horizon: int = 150) -> float:
    """Slowly from 1 over the first half of the horizon, quickly from 0.8 over the second."""
    half = horizon // 2
    if epoch <= half:
        return 1 - 0.2 * (1 - math.exp(-2 * epoch / half))
    return 0.8 * math.exp(-3 * (min(epoch, horizon) - half) / (horizon - half))


def era_files(data: Mapping[str, Any]) -> Record:
    """README_cited.md: the statements as released, and as intended, with a floating tensor (``intended_*``). Where one of the
    completions is fully masked they stop; right is to leave it out, by which no other changes: what ``skipped`` is held against.
    """
    meta = json.loads(str(data["meta"]))
    metrics = meta.pop("outputs")
    record = covariance_files({**data, "meta": json.dumps(meta)})
    if "error" in metrics:
        record.outputs["f64"] = {"skipped": np.zeros(1 + record.inputs["logits"].size)}
        return record
    for run, recorded in record.outputs.items():
        recorded |= metrics[run]
    record.outputs["f64"] |= {f"intended_{name}": value for name, value in metrics["intended"].items()}
    for recorded in record.outputs.values():  # an input is called advantages, too
        for kind in ("", "intended_"):
            recorded[f"{kind}scaled_advantages"] = recorded.pop(f"{kind}advantages")
    return record
