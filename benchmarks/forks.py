"""Clip-Cov and KL-Cov as users of verl and SkyRL get them, beside ours: tokens selected, and the size of what is done to them.

    python -m benchmarks.forks          writes results/forks.{json,md}; half a minute, in an environment that has verl 0.9.1, skyrl 0.3.0
                                        and skyrl-gym beside this checkout; nothing of either is needed by `--jobs 0`

One mini-batch: 8 prompts x 8 completions x 512 tokens, log-probs as a language model has them (exponential, .5 nats in the mean),
moved by .1 nats by the updates before; rewards 0 or 1, and GRPO's advantages of them. The functions of each engine are called as
it calls them: once for each micro-batch of 64, 8 or 1 completions. In float64. Of the gradient by the log-probs:

    selected   share of tokens that the method treats otherwise: those of which the gradient is another than with the method off
    meant      share of these whose covariance over the whole mini-batch is in the band, or among as many of the largest
    policy     sum over tokens of |gradient| with the method off
    added      sum over tokens of |gradient| that the method adds or takes away
    norm       of the gradient with the method on
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.experiment import RECORDED, Result
from benchmarks.forks_engines import Engine, MiniBatch, Settings, defaults, ours, skyrl, verl

RESULTS = RECORDED / "forks.json"
PROMPTS, GROUP, TOKENS = 8, 8, 512
SPREAD, MOVED = 0.5, 0.1
"""Nats: mean surprise of a token, and how far the updates so far have moved its log-prob."""
MICRO = (64, 8, 1)
SEED = 0
ENGINES: dict[str, Engine] = {
    "verl 0.9.1": verl,
    "SkyRL 0.3.0": skyrl,
    "SkyRL 0.3.0, advantages undivided": partial(skyrl, divided=False),
    "here, scope: micro": partial(ours, scope="micro"),
    "here": ours,
}
OWNERS = {"verl 0.9.1": "verl", "SkyRL 0.3.0": "skyrl", "here": "ours"}
"""Whose defaults are read."""
WHOSE = ("common", "default")
"""Settings of a row: COMMON, or what its engine has by default."""
OFF = {"clip_cov": {"low": 1e9, "high": 2e9}, "kl_cov": {"coef": 0.0}}
"""The method with no effect."""
COMMON = {"clip_cov": {"fraction": 2e-4, "low": 1.0, "high": 5.0}, "kl_cov": {"fraction": 2e-3, "coef": 1.0}}
"""The paper's, of KL-Cov those for 7B."""
DIFFERENCES = (
    (
        "means, draw or top-k over",
        "a rank's micro-batch",
        "a rank's micro-batch",
        "the generation, all ranks; `scope: micro` as they do",
    ),
    (
        "`fraction` of",
        "its valid tokens, at least one",
        "its valid tokens, at least one",
        "the generation's valid tokens, at least one",
    ),
    ("log-probs in the covariance", "current", "current", "of the policy that generated; current with `scope: micro`"),
    ("gradient through the covariance", "none: it only selects", "none: it only selects", "none: detached"),
    ("unit of the advantages in it", "as estimated", "**divided** by `loss_reduction`'s count first", "as estimated"),
    ("Clip-Cov: band", "open, 1 to 5", "open, 1 to 5", "open, 1 to 5"),
    (
        "Clip-Cov: ratio clip beside it, by default",
        ".2 and .2 (released script: 1 and 1)",
        ".2 and .2",
        "that of `ppo_clip` or `trl`",
    ),
    (
        "dual clip beside it",
        "none, though `vanilla` has one at 3",
        "none, though `dual_clip` has one at 3",
        "`ppo_clip.dual`, off by default",
    ),
    (
        "KL-Cov: penalty",
        "coef times the size of the log-ratio",
        "the same",
        "the same; `distance: k2, k3` are smooth at 0",
    ),
    ("KL-Cov: penalty is averaged", "as the loss is", "**not at all**: a sum over tokens", "as the loss is"),
    ("correction for the sampler", "multiplies loss and penalty", "none in either", "multiplies loss and penalty"),
)
"""As read in the released code: what, verl 0.9.1, SkyRL 0.3.0, here."""


def mini_batch(seed: int = SEED) -> MiniBatch:
    draw = torch.Generator().manual_seed(seed)
    rows = PROMPTS * GROUP
    old = -SPREAD * torch.empty(rows, TOKENS, dtype=torch.float64).exponential_(generator=draw)
    now = old + MOVED * torch.randn(rows, TOKENS, dtype=torch.float64, generator=draw)
    solved = torch.rand(PROMPTS, 1, dtype=torch.float64, generator=draw)
    rewards = (torch.rand(PROMPTS, GROUP, dtype=torch.float64, generator=draw) < solved).double()
    centred = rewards - rewards.mean(1, keepdim=True)
    advantages = centred / (rewards.std(1, keepdim=True) + 1e-6)
    return MiniBatch(old, now, advantages.flatten())


def covariance(data: MiniBatch) -> torch.Tensor:
    """(B, T), by the current policy."""
    a = data.advantages[:, None]
    return (a - a.mean()) * (data.now - data.now.mean())


def meant(method: str, settings: Settings, data: MiniBatch, selected: torch.Tensor) -> float | None:
    """Share of the selected that the method is about; None where nothing is selected."""
    if not selected.any():
        return None
    cov = covariance(data)
    if method == "clip_cov":
        return ((cov > settings["low"]) & (cov < settings["high"]))[selected].double().mean().item()
    return (cov[selected] >= cov.flatten().topk(int(selected.sum())).values.min()).double().mean().item()


def measure(engine: Engine, method: str, settings: Settings, data: MiniBatch, rows: int) -> Result:
    torch.manual_seed(SEED)  # Clip-Cov of both engines draws by the global generator
    loss, gradient = engine(method, settings, data, rows)
    _, plain = engine(method, {**settings, **OFF[method]}, data, rows)
    selected = gradient != plain
    return {
        "selected": selected.double().mean().item(),
        "meant": meant(method, settings, data, selected),
        "loss": loss,
        "policy": plain.abs().sum().item(),
        "added": (gradient - plain).abs().sum().item(),
        "norm": gradient.norm().item(),
    }


def run(engines: Mapping[str, Engine] = ENGINES) -> list[Result]:
    data = mini_batch()
    common = [
        (m, "common", settings, name, rows) for m, settings in COMMON.items() for name in engines for rows in MICRO
    ]
    own = [
        (m, "default", defaults(OWNERS[name], m), name, MICRO[0]) for m in COMMON for name in engines if name in OWNERS
    ]
    return [
        {"method": method, "settings": whose, "engine": name, "micro": rows, "options": settings}
        | measure(engines[name], method, settings, data, rows)
        for method, whose, settings, name, rows in (*common, *own)
    ]


def of(results: Mapping[str, Any], method: str, whose: str) -> list[Result]:
    return [row for row in results["rows"] if (row["method"], row["settings"]) == (method, whose)]


def number(value: float | None) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.2g}" if value < 1000 else f"{value:,.0f}"


def said(results: Mapping[str, Any], method: str) -> list[str]:
    """How the rows of the table in the method's own docstring begin: one an engine, in its order."""
    lines = []
    for name in OWNERS:
        common, own = ([row for row in of(results, method, whose) if row["engine"] == name] for whose in WHOSE)
        if method == "clip_cov":
            cells = [number(row["selected"]) for row in common]
        else:
            cells = [number(row["added"] / row["policy"]) for row in (*own, common[0])]
            cells += [number(row["meant"]) for row in common]
        lines.append(f"{name:<13}" + "".join(f"{cell:<9}" for cell in cells).rstrip())
    return lines


def page(results: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {each}" for name, each in results["versions"].items())
    lines = ["# Clip-Cov and KL-Cov elsewhere", "", (__doc__ or "").strip().split("\n\n", 2)[2], ""]
    lines += [f"Made with {versions}, seed {results['seed']}. TRL 1.16 has neither method.", ""]
    for method, title in (("clip_cov", "Clip-Cov"), ("kl_cov", "KL-Cov")):
        options = ", ".join(f"{key} {value:g}" for key, value in COMMON[method].items())
        lines += [
            f"## {title}, {options}",
            "",
            "| | completions of a micro-batch | selected | meant | policy | added | norm |",
        ]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [f"| {row['engine']} | {row['micro']} | {_cells(row)} |" for row in of(results, method, "common")]
        lines += ["", f"By each one's defaults, micro-batches of {MICRO[0]}:", ""]
        lines += ["| | " + " | ".join(COMMON[method]) + " | selected | meant | policy | added | norm |"]
        lines += ["|" + "---|" * (6 + len(COMMON[method]))]
        for row in of(results, method, "default"):
            stated = " | ".join(f"{row['options'][key]:g}" for key in COMMON[method])
            lines.append(f"| {row['engine']} | {stated} | {_cells(row)} |")
        lines.append("")
    lines += ["## What differs", "", "| | verl 0.9.1 | SkyRL 0.3.0 | here |", "|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in DIFFERENCES]
    return "\n".join(lines) + "\n"


def _cells(row: Result) -> str:
    return " | ".join(number(row[key]) for key in ("selected", "meant", "policy", "added", "norm"))


def versions() -> dict[str, str]:
    """Raises PackageNotFoundError where an engine is missing."""
    return {name: version(name) for name in ("torch", "verl", "skyrl")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--jobs", type=int, default=1, help="0: only the page")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.jobs:
        results = {"versions": versions(), "seed": SEED, "rows": run()}
        options.results.write_text(json.dumps(results, indent=1) + "\n")
    results = json.loads(options.results.read_text())
    text = page(results)
    options.results.with_suffix(".md").write_text(text)
    print(text, *(f"in the docstring of {m}:\n" + "\n".join(said(results, m)) for m in COMMON), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
