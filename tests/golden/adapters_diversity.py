"""Adapters of what only looks on: diversity, the law of entropy and reward, and the frontier of reward and KL."""

from __future__ import annotations

import math
from typing import Any

import torch
from golden.harness import Adapter, Inputs, Record, Results, Where
from golden.layouts_diversity import ESTIMATED, GIVEN, frontier_files, law_files, vendi_files
from torch import Tensor

from entropostat.rl.diagnostics import frontier, law
from entropostat.rl.diagnostics.diversity import (
    hill,
    internal_diversity,
    leinster_cobbold,
    vendi,
    vendi_of_vectors,
)

ROUNDED = 1e-6
"""Of orders below 1: the reference counts what rounding leaves of an eigenvalue 0, about 1e-16 to the power of the order."""


def score(kind: str, q: float, vectors: Tensor, kernel: Tensor, p: Tensor) -> Tensor:
    equal = torch.full_like(p, 1 / p.numel())
    if kind == "vs_dual":
        return vendi_of_vectors(vectors / vectors.norm(dim=1, keepdim=True), q)
    if kind == "intdiv":
        return internal_diversity(kernel, q)
    if kind == "hill_numbers_of_p":
        return hill(p, q)
    if kind == "leinster_cobbold_uniform_p_Z_eq_K":
        return leinster_cobbold(equal, kernel, q)
    return vendi(kernel, {"vs": equal, "vs_p": p}[kind], q)


def vendi_scores(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for i, names in params["names"].items():
        given = [x[f"{i}/{key}"] for key in ("X", "K", "p")]
        for name in names:
            kind, order = name.removesuffix("_fast_frobenius").replace("/", "_q").rsplit("_q", 1)
            value = score(kind, float(order), *given)
            rough = kind.startswith("vs") and float(order) < 1
            results[f"{i}/{name}"] = Where(value, torch.ones_like(value), atol=ROUNDED) if rough else value
    return results


def performance_law(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for i, n in params["prefix"].items():
        entropies, rewards = x[f"{i}/H"].tolist(), x[f"{i}/R"].tolist()
        whole, first = law.fit(entropies, rewards), law.fit(entropies[:n], rewards[:n])
        misses = [first.at(h) - r for h, r in zip(entropies[n:], rewards[n:], strict=True)]
        found = {
            "fit_a": whole.a,
            "fit_b": whole.b,
            "ceiling_b_minus_a": whole.ceiling,
            "rmse": whole.rmse,
            "r2": whole.r2,
            "prefix_a": first.a,
            "prefix_b": first.b,
            "extrapolation_rmse": math.sqrt(math.fsum(e * e for e in misses) / len(misses)),
            "extrapolation_final_abs_err": abs(misses[-1]),
        }
        results |= {f"{i}/{key}": value for key, value in found.items()}
    return results


def rewards_and_divergences(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for case in params["cases"]:
        p, r, samples = (x[f"{case}/{key}"] for key in ("p", "r", "samples"))
        sizes = {name: [round(n) for n in x[f"{case}/{name}"].tolist()] for name in ("bon", "unbiased")}
        bound = frontier.best_of_n_bound
        rows = {
            GIVEN["tilt"]: [frontier.tilted(p, r, beta) for beta in x[f"{case}/tilt"].tolist()],
            GIVEN["bon"]: [(*frontier.best_of_n(p, r, n), bound(n)) for n in sizes["bon"]],
            ESTIMATED["snis"]: [frontier.estimated_tilted(samples, beta) for beta in x[f"{case}/snis"].tolist()],
            ESTIMATED["unbiased"]: [(frontier.estimated_best_of_n(samples, n), bound(n)) for n in sizes["unbiased"]],
        }
        for key, table in rows.items():
            results[f"{case}/{key}"] = torch.tensor([[float(v) for v in row] for row in table], dtype=p.dtype)
    for key, beta in params["excess"].items():
        case = key.partition("/")[0]
        results[key] = frontier.excess_kl(x[f"{case}/omega"], x[f"{case}/p"], x[f"{case}/r"], beta)
    return results


ADAPTERS = (
    Adapter(("vendi",), vendi_scores, vendi_files),
    Adapter(
        ("inv_entropy",),
        lambda x, params: {},
        lambda data: Record({}, {}, {}),
        not_offered="Inv-Entropy asks for completions of perturbed copies of every prompt: too much for a monitor",
    ),
    Adapter(("entropy_performance_law",), performance_law, law_files),
    Adapter(("frontier",), rewards_and_divergences, frontier_files),
)
