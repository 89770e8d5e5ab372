"""Adapter of FlowRL, through its term."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from golden.adapters import token_batch
from golden.harness import Adapter, Inputs, Record, Results, Where
from golden.layouts import covariance_files

from entropostat.rl.registry import LOSSES
from entropostat.rl.sequence import row_mean


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
    term: Any = LOSSES.build("flowrl", {"beta": params["flowrl_beta_coef"], "cap": params["importance_cap"]})
    batch = token_batch(x, ref_logps=x["ref_log_prob"], log_z=x["log_z"][:, 0])
    some = batch.valid.any(1)
    delta, weight = term._balance(batch)
    tokens, _ = term(batch)
    rows = row_mean(tokens, batch)[:, 0]
    return {
        "loss": rows.sum() / some.sum().clamp(min=1),
        "delta": Where(delta[:, 0], some),
        "importance_weight": Where(weight[:, 0], some),
        "seq_loss": Where(rows.detach(), some),
    }


ADAPTERS = (
    Adapter(("flowrl",), flowrl, flow_files, lambda r: {"grad": ("loss", "log_prob"), "grad_log_z": ("loss", "log_z")}),
)
