"""Layouts of the files behind ``adapters_shaping``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.harness import Record
from golden.layouts import covariance_files


def before_and_after(data: Mapping[str, Any]) -> Record:
    """README_cited.md. Advantages come in and go out under one name: what comes in is ``before``."""
    record = covariance_files(data)
    record.inputs["before"] = record.inputs.pop("advantages")
    return record


def hicra_files(data: Mapping[str, Any]) -> Record:
    """README_advantage.md: a list of cases, each with inputs, settings and results side by side."""
    inputs, outputs, settings = {}, {}, {}
    for i, case in enumerate(data["cases"]):
        inputs |= {
            f"{name}@{i}": np.asarray(case[name]) for name in ("completion_ids", "mask", "entropies", "base_adv")
        }
        settings[i] = {k: case[k] for k in ("alpha", "entropy_topk", "use_planning", "group_size", "strategic_grams")}
        results = ("planning_mask", "topk_threshold", "semantic_entropy_nats")
        results += ("adv_released_verl_style", "adv_paper_formula")
        outputs |= {f"{name}@{i}": np.asarray(case[name]) for name in results}
    return Record(inputs, {"cases": settings}, {"f32": outputs})
