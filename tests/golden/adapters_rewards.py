"""Adapters of the rewards: PEAR, and ARES with its difficulty buckets and its KL control."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from golden.harness import Adapter, Inputs, Results
from golden.layouts_rewards import BUCKETS, ares_files, pear_files
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.difficulty import bucket
from entropostat.rl.objective import Objective
from entropostat.rl.registry import CONTROLLERS, REWARDS
from entropostat.rl.sequence import row_quantile
from entropostat.rl.windows import window_entropy

EPSILONS, START = (0.05, 0.1, 0.2), 1.0
"""Limits of the dual ascent for easy, medium and hard prompts and its first multiplier: constants of the reference, in no file."""


def generation(entropy: Tensor, unshaped: list[float], pieces: list[list[str]], **changes: Any) -> TokenBatch:
    """One row a completion. Pieces of a completion that ends earlier are fewer."""
    mask = torch.zeros_like(entropy)
    for row, own in enumerate(pieces):
        mask[row, : len(own)] = 1
    judged = torch.tensor(unshaped, dtype=entropy.dtype)
    return TokenBatch(
        logps=mask,
        mask=mask,
        old_entropy=entropy,
        unshaped=judged,
        rewards=judged,
        pieces=tuple(tuple(own) for own in pieces),
        **changes,
    )


def or_zero(mean: Tensor) -> Tensor:
    """The reference's entropy of a phase without a token; a metric says there that nothing was measured."""
    return torch.nan_to_num(mean.as_subclass(Tensor), nan=0.0)


def pear(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for i, row in params["rows"].items():
        entropy = x[f"{i}/H"].unsqueeze(0)
        pieces = ["x"] * entropy.size(1)
        if row["k0"] is not None:
            pieces[row["k0"]] = "</think>"
        batch = generation(entropy, [float(row["correct"])], [pieces])
        options = {"alpha": row["alpha"], "score": row["s"], "format_score": row["r_fmt"]}
        found = Objective.build(
            {"loss": ("unclipped", "unclipped", {}), "rewards": [("pear", "pear", options)]}
        ).reward(batch, {}, learn=True)
        results[f"{i}/reward"] = found.rewards[0]
        results[f"{i}/H_think"] = or_zero(found.metrics["pear/think"])
        right = generation(entropy, [1.0], [pieces])  # of a wrong answer no penalty is told
        results[f"{i}/penalty"] = REWARDS.build("pear", options)(right)[1]["penalty"]
        results[f"{i}/H_answer"] = or_zero(found.metrics["pear/answer"])
        all_ = REWARDS.build("pear", {**options, "missing": "all"})(batch)[1]
        results[f"{i}/H_think_all_tokens_if_missing"] = or_zero(all_["think"])
    return results


def grid(case: dict[str, Any]) -> Results:
    term, found, overall = REWARDS.build("ares"), [], []
    for row in case["inputs"]:
        d = row["difficulty"]
        memory = {f"target_{d}": float(row["target"]), f"alpha_{d}": row["alpha"]}
        counts, hit = torch.tensor([row["generated"]], dtype=torch.float64), torch.tensor([row["correct"]])
        found.append(term._shaping(counts, hit, torch.tensor([BUCKETS.index(d)]), memory)[0])
        overall.append(found[-1] + float(row["correct"]))
    return {"outputs": torch.stack(found), "overall": torch.stack(overall)}


def windows(case: dict[str, Any]) -> Results:
    """Entropies are those of eleven symbols, the ten likeliest tokens and a rest; a row's words are those of its likeliest."""
    rows = case["top10_logprobs"]
    width = max(map(len, rows))
    entropy, short = (torch.zeros(len(rows), width, dtype=torch.float64) for _ in range(2))
    pieces = []
    for i, row in enumerate(rows):
        p = torch.tensor([[logp for _, logp in place] for place in row], dtype=torch.float64).exp()
        rest = (1 - p.sum(1)).clamp(min=0)
        short[i, : len(row)] = torch.special.entr(p).sum(1)
        entropy[i, : len(row)] = short[i, : len(row)] + torch.special.entr(rest)
        likeliest = [max(place, key=lambda pair: pair[1])[0] for place in row]
        pieces.append([case["token_strings"][token % len(case["token_strings"])] for token in likeliest])
    options = {"window": case["window"], "triggers": case["trigger_set"], "reference": True}
    term = REWARDS.build("ares", options)
    batch = generation(entropy, [1.0] * len(rows), pieces)
    means, whole = term._windows(batch)
    valid = term._count(means, whole, {"threshold": case["threshold"]})
    # Its quantile is of windows that begin at the token, of entropies without the rest; where no window fits it goes on with
    # the mean so far, or with the entropy of the first token.
    every, there = window_entropy(batch.set(old_entropy=short), case["window"])
    mean = torch.where(there.any(1), every.sum(1) / there.sum(1).clamp(min=1), short[:, 0])
    filled = torch.where(there, every, mean.unsqueeze(1))
    return {
        "mean_entropy": (entropy * batch.mask).sum(1) / batch.mask.sum(1),
        "valid_trigger_count": valid,
        "invalid_trigger_count": whole.sum(1) - valid,
        "percentile_threshold": row_quantile(filled, case["percentile"] / 100, batch).squeeze(1),
    }


def online(case: dict[str, Any]) -> Results:
    term, memory = REWARDS.build("ares"), {}
    results: dict[str, list[Any]] = {f"{key}_{name}": [] for key in ("target", "alpha") for name in BUCKETS}
    results["difficulty"] = []
    for step in case["steps"]:
        rights, counts = (
            torch.tensor(step[key], dtype=torch.float64).view(-1, case["group"]) for key in ("acc", "hwe_counts")
        )
        memory = term._adapted(memory, rights, counts)
        results["difficulty"].append(bucket(rights).tolist())
        for key, found in results.items():
            if key in memory:
                found.append(memory[key])
    return {
        key: np.asarray(values, dtype=int if key.startswith(("difficulty", "target")) else float)
        for key, values in results.items()
    }


NAMES = {"beta0": "start", "target": "target", "ema": "smoothing", "lr": "rate", "clip": "clip"}
NAMES |= {"interval": "every", "deadzone": "dead_zone"}


def betas(case: dict[str, Any]) -> Results:
    given = dict(part.split("=") for part in case["params"].split(","))
    options: dict[str, Any] = {NAMES[key]: float(value) for key, value in given.items()}
    options |= {"every": int(options["every"]), "error_smoothing": options["smoothing"], "signal": "s"}
    results: dict[str, list[float]] = {}
    for name in dict.fromkeys(case["levels"]):
        controller = CONTROLLERS.build("log_beta", options)
        state = controller.init()
        for call, row in enumerate(case["seq_mean_kl"], start=1):
            own = [kl for kl, level in zip(row, case["levels"], strict=True) if level == name]
            state, beta = controller.update(state, {"s": float(np.mean(own))})
            if call in case["updates"]:
                told = {"beta": beta, "ema_kl": state["smoothed"], "e_ema": state["error_average"]}
                for key, value in told.items():
                    results.setdefault(f"{key}_{name}", []).append(value)
    return dict(results)


def dual(case: dict[str, Any]) -> Results:
    """A multiplier of a Lagrangian with nothing but its integral."""
    results: Results = {}
    for name, limit in zip(BUCKETS, EPSILONS, strict=True):
        options = {"target": limit, "kp": 0.0, "kd": 0.0, "ki": 0.01, "start": START, "signal": "s"}
        controller = CONTROLLERS.build("pid_lagrangian", options)
        state, found = controller.init(), []
        for kl in case["kl"][name]:
            state, value = controller.update(state, {"s": kl})
            found.append(value)
        results[f"lambda_{name}"] = found
    return results


KINDS = {
    "hierarchical_entropy_reward": grid,
    "window_entropy_top10_logprobs": windows,
    "online_difficulty_and_alpha": online,
    "dynamic_kl_beta": betas,
    "token_adaptive_dual_ascent": dual,
}


def ares(x: Inputs, params: dict[str, Any]) -> Results:
    found = {name: KINDS[name.partition("@")[0]](case) for name, case in params["cases"].items()}
    return {f"{name}/{key}": value for name, results in found.items() for key, value in results.items()}


COMPOUNDED = "the released code multiplies its coefficient by the multiplier at every call, so that it compounds"
UNUSED = "what the released code never applies: its use in the reward is commented out"

ADAPTERS = (
    Adapter(("pear",), pear, pear_files),
    Adapter(
        ("ares",),
        ares,
        ares_files,
        out_of_scope={f"token_adaptive_dual_ascent@{i}/coef_*": COMPOUNDED for i in range(50)}
        | {f"window_entropy_top10_logprobs@{i}/soft_cost": UNUSED for i in range(50)},
    ),
)
