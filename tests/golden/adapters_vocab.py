"""Adapters of the vocabulary pass and of the entropy-change theorems: a head of ones on the diagonal makes logits hidden."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from golden.harness import Adapter, Inputs, Record, Results
from golden.layouts import covariance_files
from torch import Tensor
from torch.nn.functional import one_hot

from entropostat.rl.dynamics import (
    entropy_slope,
    excess_log_probability,
    mean_entropy_slope,
    one_logit_move,
    policy_covariance,
    policy_gradient_move,
    predicted_dh,
    predicted_dh_of_one_logit,
)
from entropostat.rl.reduce import masked_mean
from entropostat.rl.vocab import Head, Tiles, VocabStats, Wanted, vocab_statistics

MOMENTS = Wanted(("logp", "entropy", "sum_p2", "sum_p2_logp"))


def statistics(logits: Tensor, tokens: Tensor | None = None) -> VocabStats:
    """In tiles smaller than these vocabularies."""
    flat = logits.flatten(0, -2)
    labels = torch.zeros(flat.shape[0], dtype=torch.long) if tokens is None else tokens
    identity = torch.eye(flat.shape[1], dtype=flat.dtype)
    return vocab_statistics(flat, identity, labels, MOMENTS, tiles=Tiles(4, 3))


def entropy(logits: Tensor) -> Tensor:
    value = statistics(logits).entropy
    assert value is not None
    return value


def from_logits(x: Inputs, params: dict[str, Any]) -> Results:
    h = entropy(x["logits"]).view(x["response_mask"].shape)
    return {"entropy": h, "mean": masked_mean(h, x["response_mask"])}


def dynamics(x: Inputs, params: dict[str, Any]) -> Results:
    s = statistics(x["logits"], x["token"])
    unit = predicted_dh(s.logp, s.entropy, s.sum_p2, s.sum_p2_logp, 1.0)
    return {
        "entropy": s.entropy,
        "S_star": entropy_slope(s.logp, s.entropy),
        "E_S": mean_entropy_slope(s.entropy, s.sum_p2, s.sum_p2_logp),
        "dH_single_logit_per_eps": predicted_dh_of_one_logit(s.logp, s.entropy, 1.0),
        "dH_grpo_per_alpha": unit,
        "dH_grpo": predicted_dh(s.logp, s.entropy, s.sum_p2, s.sum_p2_logp, x["alpha"]),
    }


def theorems(x: Inputs, params: dict[str, Any]) -> Results:
    logits, action, a, ratio = x["logits"], x["action"], x["advantages"], x["ratio"]
    s = statistics(logits, action)
    logps = logits.log_softmax(-1)
    sampled = one_hot(action, logits.shape[1]).to(logits.dtype)
    own, move = one_logit_move(s.logp, ratio, x["adv_sampled"]), ratio * x["adv_sampled"]
    moves = {
        "pg": policy_gradient_move(logps, a),
        "npg": a,
        "single": own.unsqueeze(1) * sampled,
        "full": move.unsqueeze(1) * (sampled - logps.exp()),
    }
    slopes = {
        "pg": -policy_covariance(logps, moves["pg"]),
        "npg": -policy_covariance(logps, moves["npg"]),
        "single": predicted_dh_of_one_logit(s.logp, s.entropy, own),
        "full": predicted_dh(s.logp, s.entropy, s.sum_p2, s.sum_p2_logp, move),
    }
    result: Results = {
        "entropy": s.entropy,
        "cov_logp_piA": -slopes["pg"],
        "cov_logp_A": -slopes["npg"],
        "steer_omega": slopes["single"],
        "released_steer_metric": own * excess_log_probability(s.logp, s.entropy),
        "full_softmax_first_order": slopes["full"],
    }
    for lr in params["rates"]:
        for name, step in moves.items():
            result[f"dH_{name}_exact@{lr}"] = entropy(logits + float(lr) * step) - s.entropy
            result[f"dH_{name}_pred@{lr}"] = float(lr) * slopes[name]
    return result


def linear_head(x: Inputs, params: dict[str, Any]) -> Results:
    """A head with a temperature, and a mask over the tokens."""
    results: Results = {}
    for case, temperature in params["temperatures"].items():
        hidden, weight, labels = (x[f"{case}/{name}"] for name in ("hidden", "lm_head", "targets"))
        wanted = Wanted(("logp", "entropy"), (temperature,))
        s = vocab_statistics(hidden, weight, labels, wanted, head=Head(temperature=temperature), tiles=Tiles(4, 3))
        z = (hidden @ weight.T / temperature).requires_grad_()
        results |= {
            f"{case}/logsumexp": s.lse[0],
            f"{case}/logprob": s.logp,
            f"{case}/entropy": s.entropy,
            f"{case}/masked_mean_nll": -masked_mean(s.logp, x[f"{case}/mask"]),
            f"{case}/dentropy_dz": torch.autograd.grad(entropy(z).sum(), z)[0],
        }
    return results


def linear_head_files(data: Mapping[str, Any]) -> Record:
    """A list of cases, each with its arrays and its temperature."""
    named = {f"{i}/{key}": value for i, case in enumerate(data["cases"]) for key, value in case.items()}
    arrays = {key: np.asarray(value) for key, value in named.items() if not key.endswith("/temperature")}
    given = {key for key in arrays if key.rpartition("/")[2] in ("hidden", "lm_head", "targets", "mask")}
    temperatures = {key.partition("/")[0]: value for key, value in named.items() if key not in arrays}
    outputs = {key: value for key, value in arrays.items() if key not in given}
    return Record({key: arrays[key] for key in given}, {"temperatures": temperatures}, {"f64": outputs})


def dynamics_files(data: Mapping[str, Any]) -> Record:
    """README_aepo_lpreg.md: ``in_*`` and ``out_*``, no parameters."""
    inputs = {k[3:]: v for k, v in data.items() if k.startswith("in_")}
    return Record(inputs, {}, {"f64": {k[4:]: v for k, v in data.items() if k.startswith("out_")}})


def theorem_files(data: Mapping[str, Any]) -> Record:
    """README_cov_steer.md: ``in__*``, a JSON ``meta``, and outputs without prefix; the rates stand in their names."""
    inputs = {k[4:]: v for k, v in data.items() if k.startswith("in__")}
    outputs = {k: v for k, v in data.items() if not k.startswith("in__") and k != "meta"}
    rates = sorted({name.split("@")[1] for name in outputs if "@" in name})
    return Record(inputs, json.loads(str(data["meta"])) | {"rates": rates}, {"f64": outputs})


ADAPTERS = (
    Adapter(("entropy_from_logits",), from_logits, covariance_files, lambda r: {"grad": ("mean", "logits")}),
    Adapter(("entdyn_theorem",), dynamics, dynamics_files),
    Adapter(("linear_ce_entropy",), linear_head, linear_head_files),
    Adapter(("entropy_change_theorem",), theorems, theorem_files),
)
