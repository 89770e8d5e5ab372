"""Ten steps of a recipe by `entropostat launch`, as a user starts it, and what is asked of every such run."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.smoke.row import Place, Seen, require

RECIPE = Path(__file__).with_name("recipe.yaml")
STEPS = 10
KEYS = ("loss", "grad_norm", "entropy", "kl")
SMALL = ["model.build.hidden=32", "model.build.ff=64", "model.build.layers=2", "model.build.heads=2",
         "model.build.steps=5", "trainer.per_device_train_batch_size=8", "trainer.max_completion_length=6"]  # fmt: skip
"""Of the CPU, where nobody waits for a number."""


@dataclass(frozen=True)
class Trained:
    """What a run has left in its folder."""

    folder: Path
    steps: list[dict[str, Any]]
    """Rows of metrics.jsonl, without those of evaluations."""
    run: dict[str, Any]
    summary: dict[str, Any]

    @staticmethod
    def read(folder: Path) -> Trained:
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        run, summary = (json.loads((folder / f"{name}.json").read_text()) for name in ("run", "summary"))
        return Trained(folder, [row for row in rows if "loss" in row], run, summary)


def launched(strategy: str, processes: int) -> str:
    return f"launch={{strategy: {strategy}, num_processes: {processes}}}"


def overrides(place: Place, *own: str) -> list[str]:
    """Those of the device, then a check's own, then where the run is written to."""
    small = SMALL if place.device == "cpu" else []
    return [*small, f"trainer.max_steps={STEPS}", *own, f"output_dir={place.scratch}"]


def train(place: Place, *own: str, resume: Path | None = None, env: Mapping[str, str] | None = None) -> Trained:
    """Raises RuntimeError where the run ends with an error, which is in the log above."""
    words = ["launch", str(RECIPE), *overrides(place, *own)]
    entropostat([*words, *([] if resume is None else ["--resume", str(resume)])], env or {})
    return Trained.read(place.scratch / "smoke" if resume is None else resume.parent)


def entropostat(words: Sequence[str], env: Mapping[str, str]) -> None:
    done = subprocess.run([sys.executable, "-m", "entropostat", *words], env={**os.environ, **env}, check=False)
    if done.returncode:
        raise RuntimeError(f"entropostat {words[0]} ended with {done.returncode}")


def sound(trained: Trained, place: Place, engine: str, processes: int, steps: int = STEPS) -> Seen:
    """That engine, on so many processes, on the device, has made its steps, each with a gradient and finite numbers, and the policy
    has left the reference. Raises Failed."""
    run, rows = trained.run, trained.steps
    ran = f"{trained.summary['engine']} on {run['world_size']} process(es), first on {run['device']}"
    require(trained.summary["engine"].startswith(engine), f"{ran}; wanted was {engine}")
    require(run["world_size"] == processes, f"{ran}; wanted were {processes}")
    require(run["device"].startswith(place.device), f"{ran}; wanted was {place.device}")
    require(len(rows) == steps, f"{len(rows)} of {steps} steps were made")
    for row in rows:
        bad = [key for key in KEYS if not math.isfinite(math.nan if row.get(key) is None else row[key])]
        require(not bad, f"step {row['step']}: {', '.join(bad)} is missing or not finite")
        require(row["grad_norm"] > 0, f"step {row['step']}: the gradient is 0")
    last = rows[-1]
    require(last["kl"] > 0, f"after {steps} steps the policy is still the reference: kl is {last['kl']:g}")
    text = f"{ran}; loss {last['loss']:.3g}, gradient {last['grad_norm']:.3g}, entropy {last['entropy']:.3g} nats, KL {last['kl']:.2g} nats"
    return Seen(text, {key: last[key] for key in KEYS} | {"engine": trained.summary["engine"], "processes": processes})
