"""What the vocabulary pass costs, beside TRL's chunked pass and the dense computation, in turn in one process.

    python -m benchmarks.cost.vocab [--device cpu] [--rounds 3] [--tokens N] [--quick]

Forward and backward over the same valid tokens. The bars hold for the pass *with the same number of outputs* as TRL's;
a backward pass is run where both have a gradient. The exit code is 1 if a bar is missed. With ``--device cuda`` there are
no bars: torch, Triton and TRL in turn, beside what the card can do (vocab_cuda.py).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor
from trl.kernels import ChunkedLogProbFunction

from benchmarks.cost import vocab_cuda
from benchmarks.cost.counting import Meter
from benchmarks.experiment import RECORDED
from entropostat.rl.vocab import Tiles, Wanted, vocab_statistics

TRL_CHUNK = 32768
"""TRL's own width of a tile."""
MOMENTS_BAR, TRUNCATION_BAR, MEMORY_BAR = 1.15, 1.6, 10.0
LARGE = 100_000
"""The memory bar is for vocabularies of this size: one tensor of all logits is at least that many times larger."""
MIN_P, TOP_P = 0.05, 0.9

Run = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(hidden, weight, labels) -> the sum of all differentiable outputs."""


def trl(*outputs: str) -> Run:
    def run(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        tensors = ChunkedLogProbFunction.apply(hidden, weight, None, labels, 1.0, TRL_CHUNK, None, 1.0, outputs)
        return sum_of(tensors)

    return run


def ours(wanted: Wanted) -> Run:
    def run(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        stats = vocab_statistics(hidden, weight, labels, wanted)
        return sum_of((*vars(stats).values(), *stats.lse))

    return run


def sum_of(tensors: Any) -> Tensor:
    values = [x.sum() for x in tensors if isinstance(x, Tensor) and x.is_floating_point() and x.requires_grad]
    return sum(values[1:], values[0]) if values else torch.zeros(())


def dense(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    logps = (hidden @ weight.t()).log_softmax(-1)
    return logps.gather(1, labels.unsqueeze(1)).sum() - (logps.exp() * logps).sum()


MOMENTS = ("logp", "entropy", "sum_p2", "sum_p2_logp", "max_logp")
TRL_ALL = ("entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


@dataclass(frozen=True)
class Row:
    """One comparison: ours over theirs."""

    name: str
    base: str
    outputs: str
    ours: Run
    theirs: Run
    backward: bool
    bar: float | None


ROWS = (
    Row("logp, entropy", "TRL", "2 and 2", ours(Wanted()), trl("entropy"), True, MOMENTS_BAR),
    Row("5 moments", "TRL", "5 and 5", ours(Wanted(MOMENTS)), trl(*TRL_ALL), False, MOMENTS_BAR),
    Row(
        "5 moments, 2 temperatures", "TRL", "7 and 5",
        ours(Wanted(MOMENTS, (0.5, 2.0))), trl(*TRL_ALL), False, MOMENTS_BAR,
    ),
    Row("5 moments", "TRL, gradient of 2", "5 and 5", ours(Wanted(MOMENTS)), trl(*TRL_ALL), True, None),
    Row(
        "logp, entropy, min-p mass, nucleus entropy", "TRL", "4 and 2",
        ours(Wanted(min_p=MIN_P, top_p=TOP_P)), trl("entropy"), False, TRUNCATION_BAR,
    ),
    Row("logp, entropy", "dense", "2 and 2", ours(Wanted()), dense, True, None),
)  # fmt: skip


def problem(tokens: int, width: int, vocabulary: int) -> tuple[Tensor, Tensor, Tensor]:
    """Entropies from nearly 0 to several nats, as in a language model, and most of the mass on few tokens."""
    draw = torch.Generator().manual_seed(width)
    weight = torch.randn(vocabulary, width, generator=draw) / width**0.5
    labels = torch.randint(vocabulary, (tokens,), generator=draw)
    sharpness = 6 + 14 * torch.rand(tokens, 1, generator=draw)
    hidden = sharpness * (torch.randn(tokens, width, generator=draw) / 8 + weight[labels])
    return hidden.requires_grad_(), weight.requires_grad_(), labels


def seconds(run: Run, backward: bool, inputs: tuple[Tensor, Tensor, Tensor]) -> float:
    hidden, weight, labels = inputs
    start = time.perf_counter()
    if backward:
        torch.autograd.grad(run(hidden, weight, labels), (hidden, weight))
    else:
        with torch.no_grad():
            run(hidden, weight, labels)
    return time.perf_counter() - start


def paired(first: Callable[[], float], second: Callable[[], float], rounds: int) -> dict[str, Any]:
    """The two in turn, the order swapped every round; the first round is a warm-up."""
    pairs = []
    for i in range(rounds + 1):
        if i % 2:
            a, b = first(), second()
        else:
            b, a = second(), first()
        pairs += [(a, b)] if i else []
    ratios = [a / b for a, b in pairs]
    return {
        "ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios),
        "ours s": statistics.median(a for a, _ in pairs), "theirs s": statistics.median(b for _, b in pairs),
    }  # fmt: skip


def extra_bytes(run: Run, inputs: tuple[Tensor, Tensor, Tensor]) -> int:
    """Peak of a forward and backward pass beyond its inputs. The head is frozen: its gradient is the same for all."""
    hidden, weight, labels = inputs[0], inputs[1].detach(), inputs[2]
    meter = Meter([])
    for x in (hidden, weight, labels):
        meter.follow(x)
    before = meter.alive
    with meter:
        torch.autograd.grad(run(hidden, weight, labels), hidden)
    return meter.peak - before


def measure(tokens: int, rounds: int, widths: tuple[int, ...], sizes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    for vocabulary in sizes:
        for width in widths:
            inputs = problem(tokens, width, vocabulary)
            where = {"vocabulary": vocabulary, "hidden": width, "tokens": tokens}
            for row in ROWS:
                run = [partial(seconds, f, row.backward, inputs) for f in (row.ours, row.theirs)]
                compared = paired(run[0], run[1], rounds)
                passed = None if row.bar is None else compared["ratio"] <= row.bar
                yield where | {
                    "what": row.name, "base": row.base, "outputs": row.outputs,
                    "pass": "forward and backward" if row.backward else "forward", "bar": row.bar, "passed": passed,
                } | compared  # fmt: skip
            yield where | skipping(inputs, rounds)
            yield where | memory(inputs)


def skipping(inputs: tuple[Tensor, Tensor, Tensor], rounds: int) -> dict[str, Any]:
    """All positions against the half of them that a batch with as much prompt and padding as completion would score."""
    hidden, weight, labels = inputs
    half = (hidden[::2].detach().requires_grad_(), weight, labels[::2])
    run = ours(Wanted())
    compared = paired(partial(seconds, run, True, half), partial(seconds, run, True, inputs), rounds)
    return {
        "what": "logp, entropy, half of the positions", "base": "all positions", "outputs": "2 and 2",
        "pass": "forward and backward", "bar": None, "passed": None,
    } | compared  # fmt: skip


def memory(inputs: tuple[Tensor, Tensor, Tensor]) -> dict[str, Any]:
    with torch.no_grad():
        stats = vocab_statistics(*inputs, Wanted(min_p=MIN_P, top_p=TOP_P))
    exact = {"min-p exact": stats.min_p_exact, "nucleus exact": stats.nucleus_exact}
    shares = {name: float(x.float().mean()) for name, x in exact.items() if x is not None}
    tiles, logits = Tiles.on(inputs[0].device), 4 * inputs[0].shape[0] * inputs[1].shape[0]
    mine = extra_bytes(ours(Wanted(("logp", "entropy", "sum_p2", "sum_p2_logp"))), inputs)
    return {
        "what": "memory", "ours bytes": mine, "two tiles": 2 * 4 * tiles.tokens * tiles.vocabulary,
        "TRL bytes": extra_bytes(trl("entropy"), inputs), "dense bytes": extra_bytes(dense, inputs),
        "dense logits bytes": logits, "passed": logits >= MEMORY_BAR * mine if inputs[1].shape[0] >= LARGE else None,
    } | shares  # fmt: skip


def report(results: dict[str, Any]) -> str:
    rows = results["rows"]
    lines = [
        "# Cost of the vocabulary pass",
        "",
        f"Made by `python -m benchmarks.cost.vocab` with {results['made with']}.",
        "",
    ]
    lines += [
        "Times are medians of runs in turn in one process; ratio: ours over the base, with its smallest and largest.", "",
        "| vocabulary | hidden | tokens | ours | base | outputs | pass | ours s | base s | ratio | bar | |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for r in (r for r in rows if r["what"] != "memory"):
        lines.append(
            f"| {r['vocabulary']:,} | {r['hidden']} | {r['tokens']} | {r['what']} | {r['base']} | {r['outputs']} | {r['pass']} "
            f"| {r['ours s']:.3f} | {r['theirs s']:.3f} | {r['ratio']:.2f} [{r['low']:.2f}, {r['high']:.2f}] "
            f"| {r['bar'] or ''} | {verdict(r)} |"
        )
    lines += [
        "", "Peak extra memory of forward and backward, the head frozen, in MB, and the share of tokens for which the",
        f"{Wanted().top_k} largest entries are enough (min-p {MIN_P}, top-p {TOP_P}):", "",
        "| vocabulary | hidden | tokens | ours | two tiles | TRL | dense | one tensor of logits | its ratio to ours | | exact min-p | exact nucleus |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for r in (r for r in rows if r["what"] == "memory"):
        sizes = [r[k] for k in ("ours bytes", "two tiles", "TRL bytes", "dense bytes", "dense logits bytes")]
        lines.append(
            f"| {r['vocabulary']:,} | {r['hidden']} | {r['tokens']} | {' | '.join(f'{x / 1e6:,.1f}' for x in sizes)} "
            f"| {r['dense logits bytes'] / r['ours bytes']:.1f} | {verdict(r)} "
            f"| {r['min-p exact']:.0%} | {r['nucleus exact']:.0%} |"
        )
    return "\n".join(lines) + "\n"


def verdict(row: dict[str, Any]) -> str:
    return {True: "pass", False: "MISSED", None: ""}[row["passed"]]


CARD = {
    "logp, entropy": (ours(Wanted()), trl("entropy")),
    "5 moments": (ours(Wanted(MOMENTS)), trl(*TRL_ALL)),
    "5 moments, 2 temperatures": (ours(Wanted(MOMENTS, (0.5, 2.0))), trl(*TRL_ALL)),
}
STEPS = {"logp, entropy": Wanted(), "5 moments, 2 temperatures": Wanted(MOMENTS, (0.5, 2.0))}


def main() -> int:
    parser = argparse.ArgumentParser(description="Cost of the vocabulary pass.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds of every pair (default 3)")
    parser.add_argument("--tokens", type=int, help=f"valid tokens (default 512, on a card {vocab_cuda.TOKENS})")
    parser.add_argument("--quick", action="store_true", help="a smoke test of the script, not a measurement")
    parser.add_argument("--out", type=Path, default=RECORDED / "cost")
    options = parser.parse_args()
    if options.device == "cuda":
        return vocab_cuda.main(options, vocab_cuda.Subjects(problem, CARD, STEPS))
    torch.set_num_threads(1)
    rounds, tokens = (1, 64) if options.quick else (options.rounds, options.tokens or 512)
    sizes = (4099,) if options.quick else (32_000, 151_936)
    names = ", ".join(f"{name} {version(name)}" for name in ("torch", "trl"))
    results: dict[str, Any] = {"made with": f"{names}, on one thread of a CPU ({platform.machine()})", "rows": []}
    options.out.mkdir(parents=True, exist_ok=True)
    for row in measure(tokens, rounds, (256, 896), sizes):
        results["rows"].append(row)
        (options.out / "vocab.json").write_text(json.dumps(results, indent=1) + "\n")
        (options.out / "vocab.md").write_text(report(results))
        print(json.dumps(row), flush=True)
    missed = [r for r in results["rows"] if r["passed"] is False]
    print(f"{len(missed)} bars missed" if missed else "every bar held")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
