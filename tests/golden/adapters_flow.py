"""Adapter of FlowRL's trajectory balance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.adapters import token_batch
from golden.harness import Adapter, Inputs, Record, Results, Where
from golden.layouts import covariance_files

from entropostat.rl.flow import trajectory_balance


def flow_files(data: Mapping[str, Any]) -> Record:
    """README_cited.md: a completion without tokens counts there, and pulls log Z to 0; right is the mean over the others, and no
    gradient on its log Z. What was recorded of whole batches is brought to that. Its log is left out: means of the inputs, and of
    arrays that are compared here one by one, some under the same names.
    """
    meta = json.loads(str(data["meta"]))
    record = covariance_files({**data, "meta": json.dumps({k: v for k, v in meta.items() if k != "outputs"})})
    some = (record.inputs["response_mask"] > 0).any(1)
    for recorded in record.outputs.values():
        if some.all():
            continue
        share = len(some) / max(some.sum(), 1)
        recorded["loss"] = (recorded["importance_weight"] * recorded["delta"] ** 2)[some].sum() / some.sum()
        recorded["grad"] = recorded["grad"] * share
        recorded["grad_log_z"] = np.where(some[:, None], recorded["grad_log_z"] * share, 0.0)
    return record


def flowrl(x: Inputs, params: dict[str, Any]) -> Results:
    batch = token_batch(x, ref_logps=x["ref_log_prob"])
    found = trajectory_balance(batch, x["log_z"][:, 0], params["flowrl_beta_coef"], params["importance_cap"])
    some = batch.valid.any(1)
    return {
        "loss": found.loss,
        "delta": Where(found.delta, some),
        "importance_weight": Where(found.weight, some),
        "seq_loss": Where(found.weight * found.delta**2, some),
    }


ADAPTERS = (
    Adapter(("flowrl",), flowrl, flow_files, lambda r: {"grad": ("loss", "log_prob"), "grad_log_z": ("loss", "log_z")}),
)
