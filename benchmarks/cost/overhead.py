"""What the entropy objective costs over a stock GRPOTrainer.

    python -m benchmarks.cost.overhead [--pairs 200] [--large-pairs 20] [--quick]

Counts are exact and judged as such. Time is that of the processor, of a small model, where what does not grow with the model
shows, and of one with a large vocabulary, where what does shows. It is judged by its interval alone, because one stock trainer
against another scatters too: that interval stands beside ours. Results are written as they come; the exit code is 1 if a
gate fails.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import transformers

from benchmarks.cost.counting import count
from benchmarks.cost.gates import Gate, count_gates, rank_gates, table, time_gates
from benchmarks.cost.pairing import Stopwatch, Turns, alternate, ratio, record, replay
from benchmarks.cost.subjects import BETA, LARGE, LONG, SMALL, TERMS, TINY, Size, build, saved
from benchmarks.experiment import RECORDED, ROOT
from entropostat.recipe.machine_blocks import Tracking
from entropostat.trainers.records.files import MetricsFile

NAME = "benchmarks.cost.overhead"
WARM_UP = 5
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
"""glibc hands large blocks back to the system after each step, and each thread has an arena of its own. With its defaults one
trainer's thread took 12 % more processor time than another's that had more to do; with these, all work in the same memory."""


def counts(size: Size) -> dict[str, Any]:
    """Exact counts per optimizer step of both trainers, over one generation cycle."""
    return {
        name: count(build(ours, size, steps=2 * size.cycle + 1), size.cycle)
        for name, ours in (("stock", False), ("ours", True))
    }


def counts_of_two_processes() -> dict[str, Any]:
    """The same in two real processes over gloo, by size."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts.json"
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        done = subprocess.run(
            [*launch, "-m", NAME, "--worker", str(out)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"the two-process run failed:\n{done.stderr[-4000:]}")
        counted: dict[str, Any] = json.loads(out.read_text())
        return counted


def times(size: Size, pairs: int, note: Any, **changes: Any) -> dict[str, Any]:
    """Paired step times on one recorded generation: stock, a second stock and ours, in random order each round.

    ``changes`` are those of ``build``.
    """
    slices = record(build(True, size, steps=1, **changes))
    steps = pairs + WARM_UP + 2
    # Unlike the counts, with the monitors as often as by default.
    trainers = {
        name: build(name == "ours", size, steps, Tracking(), **changes) for name in ("stock", "stock again", "ours")
    }
    watches = {"stock": Stopwatch(trainers["stock"], "log")}
    trainers["ours"].add_callback(MetricsFile(Path(tempfile.mkdtemp(prefix="overhead-log-"))))
    watches["ours"] = Stopwatch(trainers["ours"], "log", "close_window", "monitors.note_loss")
    for name, trainer in trainers.items():
        replay(trainer, slices, ours=name == "ours")
    loops = {name: Turns(trainer, watches.get(name)) for name, trainer in trainers.items()}

    def summary(seconds: dict[str, list[float]]) -> dict[str, Any]:
        logging = {name: 1000 * statistics.fmean(watch.seconds[WARM_UP:]) for name, watch in watches.items()}
        return {
            "median seconds": {name: statistics.median(values) for name, values in seconds.items()},
            "ours / stock": ratio(seconds["ours"], seconds["stock"]),
            "stock / stock": ratio(seconds["stock again"], seconds["stock"]),
            "logging ms": logging["ours"],
            "stock logging ms": logging["stock"],
            "seconds": seconds,
        }

    seconds = alternate(loops, pairs, WARM_UP, seed=0, note=lambda so_far: note(summary(so_far)))
    result = summary(seconds)
    for loop in loops.values():
        loop.close()
    return result


def worker(out: Path) -> int:
    sizes = (TINY, LONG)
    for size in sizes:  # once there is a process group, only its first rank writes models
        saved(size)
    counted = {size.name: counts(size) for size in sizes}
    if torch.distributed.get_rank() == 0:
        out.write_text(json.dumps(counted))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Overhead over a stock GRPOTrainer.")
    parser.add_argument("--pairs", type=int, default=200, help="paired steps that are timed (default 200)")
    parser.add_argument("--large-pairs", type=int, default=20, help="of the large model (default 20)")
    parser.add_argument("--quick", action="store_true", help="20 and 2 pairs: a smoke test of the script")
    parser.add_argument("--out", type=Path, default=RECORDED / "cost", help="folder of the results")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):  # read when a process starts
        os.execve(sys.executable, [sys.executable, "-m", NAME, *sys.argv[1:]], os.environ | ALLOCATOR)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if options.worker:
        return worker(options.worker)

    options.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {
        "versions": {name: version(name) for name in ("torch", "trl", "transformers", "accelerate")},
        "terms": TERMS,
        "stock beta": BETA,
        "sizes": {size.name: size.describe() for size in (SMALL, LARGE, TINY, LONG)},
    }
    sections: list[tuple[str, list[Gate]]] = []

    def save() -> None:
        (options.out / "overhead.json").write_text(json.dumps(results, indent=1) + "\n")
        (options.out / "overhead.md").write_text(report(results, sections))

    def section(title: str, gates: list[Gate]) -> None:
        sections.append((title, gates))
        save()
        print(table(title, gates), flush=True)

    for size, judged in ((SMALL, True), (TINY, False)):
        counted = results[f"counts, {size.name}"] = counts(size)
        title = f"Exact counts, {size.name} model" + ("" if judged else " (reported, not judged)")
        section(title, list(count_gates(counted["stock"], counted["ours"], judged)))
    results["counts, two processes"] = counts_of_two_processes()
    for size, judged in ((TINY, False), (LONG, True)):
        counted = results["counts, two processes"][size.name]
        title = f"Collectives of two processes, {size.name} model, accumulation {size.accumulation}"
        section(title, list(rank_gates(counted["stock"], counted["ours"], size.cycle, judged)))

    def note(so_far: dict[str, Any]) -> None:
        told = so_far["ours / stock"]
        print(f"{told['pairs']} pairs, ours / stock {told['median']:.4f}", flush=True)

    for size, pairs in (
        (SMALL, 20 if options.quick else options.pairs),
        (LARGE, 2 if options.quick else options.large_pairs),
    ):
        results[f"time, {size.name}"] = times(size, pairs, note)
        section(f"Time, {size.name} model", list(time_gates(results[f"time, {size.name}"])))
    failed = [gate.what for _, gates in sections for gate in gates if gate.passed is False]
    print("failed: " + "; ".join(failed) if failed else "every gate passed")
    return 1 if failed else 0


def report(results: dict[str, Any], sections: list[tuple[str, list[Gate]]]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    terms = ", ".join(next(iter(term)) for slot in results["terms"].values() for term in slot)
    lines = [
        "# Overhead over a stock GRPOTrainer",
        "",
        f"Made by `python -m benchmarks.cost.overhead` with {versions}, on CPU, one thread, one arena of memory that is kept.",
        "",
        f"Terms: {terms}; the coefficient of kl_ref is a pid's. Stock has beta {results['stock beta']:g}.",
        "",
        *(f"- {name}: {text}" for name, text in results["sizes"].items()),
        "",
    ]
    return "\n".join(lines) + "\n" + "\n".join(table(title, gates) for title, gates in sections)


if __name__ == "__main__":
    sys.exit(main())
