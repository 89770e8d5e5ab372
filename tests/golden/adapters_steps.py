"""Adapters of what happens between a gradient and a step: the safe radius, and Muon."""

from __future__ import annotations

from typing import Any

import torch
from golden.harness import Adapter, Inputs, Results, Where
from golden.layouts_steps import muon_files, radius_files
from torch import Tensor

from entropostat.rl.radius import Readout, change_spread, step_ratio, step_scale
from entropostat.rl.vocab_tiles import Tiles
from entropostat.trainers.optim.muon import MuonAdamW

NEAR = 1e-5
"""Length of the finite difference that stands for the recorded derivative: its error, of second order, is below 1e-10."""
HALF = 2e-3
"""Newton-Schulz in bfloat16, of three digits: what the file's two runs differ by at most, doubled for other machines."""


def radius(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for case in params["cases"]:
        weights = {
            k.partition("@")[0][6:]: v for k, v in x.items() if k.startswith("param/") and k.endswith(f"@{case}")
        }
        step = {name: x[f"step/{name}@{case}"] for name in weights}
        tau = torch.cat([p.flatten() for p in step.values()]).norm()
        length = NEAR / float(tau)
        ends = [readout({k: w + s * length * step[k] for k, w in weights.items()}, x[f"x@{case}"]) for s in (-1, 1)]
        spread = change_spread(*ends, tiles=Tiles(3, 2)) / (2 * length)
        r, near = (step_ratio(spread, kind, 0.99) for kind in ("max", "quantile"))
        measures = {"spread": spread.view(x[f"x@{case}"].shape[:-1]), "tau": tau, "r": r, "rho_a": tau / r}
        measures |= {"delta_a_unit": step_ratio(spread / tau, "max", 0.0) * torch.pi}
        measures |= {"scale_max": step_scale(float(r), 1.0), "scale_q99": step_scale(float(near), 1.0)}
        results |= {f"{name}@{case}": value for name, value in measures.items()}
    return results


def readout(weights: dict[str, Tensor], x: Tensor) -> Readout:
    hidden = torch.tanh(torch.nn.functional.linear(x.flatten(0, -2), weights["0.weight"], weights["0.bias"]))
    return Readout(hidden, weights["2.weight"], weights["2.bias"])


def muon(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for at, options in params["settings"].items():
        weight = torch.nn.Parameter(x[f"W0{at}"].clone())
        settings = {"weight_decay": options["wd"], "adjust_lr_fn": options["adjust_lr_fn"]}
        settings |= {"lr": options["lr"], "momentum": options["momentum"]}
        optimizer = MuonAdamW([weight], [], settings, {"lr": options["lr"]})
        path = []
        for gradient in x[f"grads{at}"]:
            weight.grad = gradient.clone()
            optimizer.step()
            path.append(weight.detach().clone())
        everywhere = torch.ones(len(path), *weight.shape)
        for name in ("params_torch_bf16NS", "params_float64"):
            results[name + at] = Where(torch.stack(path), everywhere, HALF)
    return results


ADAPTERS = (
    Adapter(
        ("radius",),
        radius,
        radius_files,
        out_of_scope={
            "logits*": "the recorded network's own, not the project's",
            "jvp_logits*": "a derivative by forward differentiation, which the project does not take",
            "fd_err*": "the error of the file's own finite difference",
            "rho_binary_top2*": "the exact radius of two tokens, which the project does not offer",
        },
    ),
    Adapter(("muon",), muon, muon_files),
)
