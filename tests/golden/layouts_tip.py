"""Layout of the files behind ``adapters_tip``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.harness import Record

LOGITS = ("student_logits", "teacher_logits")
LABELS = ("kind", "ref_case", "jsd_topk", "target_ids")


def tip_files(data: Mapping[str, Any]) -> Record:
    """README_advantage.md: logits of student and teacher with what the released code gives, and scores by formula."""
    inputs, outputs, settings = {}, {"f32": {}, "f64": {}}, {}
    for i, case in enumerate(data["cases"]):
        formula = case["kind"].startswith("from_formula")
        settings[f"@{i}"] = {
            "of": f"@{case.get('ref_case', i)}",
            "top_k": case.get("jsd_topk") or None,
            "kind": case["kind"],
        }
        inputs |= {f"{name}@{i}": np.asarray(case[name]) for name in (*LOGITS, "target_ids") if name in case}
        if case["kind"] == "reward_weight":
            inputs |= {f"rewards@{i}": np.asarray(case["rewards"])}
        for name, value in case.items():
            if name not in (*LOGITS, *LABELS, "rewards", "beta"):
                outputs["f64" if formula else "f32"][f"{name}@{i}"] = np.asarray(value)
    return Record(inputs, {"settings": settings}, outputs)
