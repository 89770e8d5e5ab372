"""Real runs of the quickstart policy, made ill on purpose or left alone (recipes.py), and what `entropostat diagnose` says of them.

    python -m benchmarks.diagnose.real --seeds 20 --processes 2      # goes on where it was stopped
    python -m benchmarks.diagnose.real --seeds 2 --only collapse
    .venv-vllm/bin/python -m benchmarks.diagnose.real --only sampler-mismatch healthy/vllm

Results come into benchmarks/results/diagnose/real.json, one entry a run, and into the page beside it. Seeds 100 and up were used
to see whether the recipes do go wrong; those below are for the figures.
"""

from __future__ import annotations

import argparse
import json
import os
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
from benchmarks import cpu_engine
from benchmarks.diagnose.recipes import SAMPLED, SICK, WELL
from benchmarks.diagnose.table import write_page
from benchmarks.experiment import RECORDED, Result, Results, experiment

KINDS = SICK | WELL | SAMPLED
FILE = RECORDED / "diagnose" / "real.json"


def train(kind: str, seed: int) -> Result:
    from entropostat.reward.verifiers.function import Function

    # A worker of a pool may have no children, and the one function that is called here is ours.
    Function.isolated = False  # type: ignore[assignment, misc]
    sick = KINDS[kind]
    stopped = None
    if kind in SAMPLED:
        os.environ.update(cpu_engine.QUIET)
        import trl.generation.vllm_generation as generation

        generation.LLM = cpu_engine.fresh
    with experiment(sick.recipe, [*sick.overrides, f"seed={seed}", "tracking.diagnose=false"], allow_code=True) as run:
        if sick.spoil:
            spoil(run.trainer)
        if sick.sent_until is not None:
            leave_out(run.trainer, sick.sent_until)
        try:
            run.train()
        except Exception as error:  # noqa: BLE001 a run that breaks off leaves its log, which is what is judged
            stopped = f"{type(error).__name__}: {error}"[:200]
        lines = [json.loads(line) for line in run.metrics.read_text().splitlines() if line.endswith("}")]
        return {"lines": lines, "vocabulary": len(run.trainer.processing_class), "stopped": stopped}


def measure(kind: str, seed: int, keep: Path | None) -> Result:
    """Trains, unless ``keep`` has the run: then its log is judged again."""
    from entropostat.diagnose import examine

    file = keep and keep / f"{kind.replace('/', '-')}-{seed}.json"
    if file and file.is_file():
        run = json.loads(file.read_text())
    else:
        run = train(kind, seed)
        if file:
            file.write_text(json.dumps(run))
    findings = examine(SimpleNamespace(rows=run["lines"], vocabulary=run["vocabulary"]))
    rule = kind.partition("/")[0]
    mine = [one for one in findings if one.rule == rule]
    out: Result = {
        "ill": bool(KINDS[kind].check(run["lines"])),
        "first": min((one.steps[0] for one in mine), default=None),
    }
    out |= {
        "others": sorted({one.rule for one in findings if one.rule != rule}),
        "cause": mine[0].cause if mine else "",
    }
    return out | ({"stopped": run["stopped"]} if run["stopped"] else {})


def spoil(trainer: Any) -> None:
    """Every other loss from step 20 on is NaN, as one overflowing sequence would make it; its gradient stays as it is."""
    whole = trainer.compute_loss

    def compute_loss(*args: Any, **kwargs: Any) -> Any:
        loss = whole(*args, **kwargs)
        late = trainer.state.global_step >= 20 and trainer.state.global_step % 2
        return loss + float("nan") if late and trainer.model.training else loss

    trainer.compute_loss = compute_loss


def leave_out(trainer: Any, step: int) -> None:
    """No weights are sent to the sampler from ``step`` on, as where a line was forgotten or a server was started anew."""
    send = trainer.vllm_generation.sync_weights
    trainer.vllm_generation.sync_weights = lambda: send() if trainer.state.global_step < step else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--only", nargs="*", choices=list(KINDS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for the logs of the runs; those that it has are judged again")
    parser.add_argument("--out", type=Path, default=FILE)
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.seeds)
    results = Results(args.out)
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    kinds = args.only or [kind for kind in KINDS if kind not in SAMPLED or find_spec("vllm")]
    jobs = {f"{kind}/{seed}": partial(measure, kind, seed, args.keep) for seed in seeds for kind in kinds}
    results.complete(jobs, args.processes)
    if args.out == FILE:
        write_page(FILE.parent)


if __name__ == "__main__":
    main()
