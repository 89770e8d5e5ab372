"""How AEPO's files are laid out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.harness import Record


def aepo_files(data: Mapping[str, Any]) -> Record:
    """README_aepo_lpreg.md: ``in_*`` and ``out_*``; the gradient of the mixed batch, in its order, by the rollout it is of."""
    inputs = {k[3:]: v for k, v in data.items() if k.startswith("in_")}
    inputs["limit"] = inputs.pop("sample_num")  # the files have an output of that name
    outputs = {k[4:]: v for k, v in data.items() if k.startswith("out_")}
    if "error" in outputs:
        return Record(inputs, {"fails": True}, {"f64": outputs | {"error": np.asarray(True)}})
    gradient = outputs.pop("grad_new_logits")
    for source, kind in enumerate(("T1", "TT")):
        mine = outputs["row_source"][:, 0] == source
        whole = np.zeros_like(inputs[f"{kind}_new_logits"])
        whole[outputs["row_source"][mine, 1]] = gradient[mine]
        outputs[f"grad_{kind}"] = whole
    return Record(inputs, {"fails": False}, {"f64": outputs})
