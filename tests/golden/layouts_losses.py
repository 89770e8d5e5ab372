"""Layouts of the files behind ``adapters_losses``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from golden.harness import Record

CATEGORICALS = ("policy_logits", "ref_logits", "old_logits")
DERIVED = ("policy_logp", "ref_logp", "sampled_actions")
"""What follows from the logits, or is drawn from them: documentation."""
ESTIMATORS = ("k1", "k2", "k3", "abs")
SCORES = "trl_score"


def setting_files(data: Mapping[str, Any]) -> Record:
    """README_aepo_lpreg.md: ``in_*``, one ``outN_*`` per entry of the JSON list ``cfg``; float64."""
    inputs = {k[3:]: v for k, v in data.items() if k.startswith("in_")}
    outputs = {k[3:]: v for k, v in data.items() if k.startswith("out")}
    return Record(inputs, {"settings": json.loads(str(data["cfg"]))}, {"f64": outputs})


def divergence_files(data: Mapping[str, Any]) -> Record:
    """README_safe.md: ``case/kind/quantity``, turned round to ``quantity/kind/case``."""
    inputs, outputs, kinds = {}, {}, set()
    for key, value in data.items():
        case, name, *rest = key.split("/")
        if name in CATEGORICALS:
            inputs[f"{name}/{case}"] = value
        elif rest and name == SCORES:
            outputs[f"{name}/{rest[0]}/{case}"] = value
        elif rest:
            outputs[f"{rest[0]}/{name}/{case}"] = value
            kinds |= {name}
        elif name not in DERIVED:
            outputs[f"{name}/{case}"] = value
    cases = sorted({key.split("/")[0] for key in data})
    params = {"cases": cases, "kinds": sorted(kinds - {*ESTIMATORS}), "estimators": sorted(kinds & {*ESTIMATORS})}
    return Record(inputs, params, {"f64": outputs})
