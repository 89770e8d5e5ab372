"""The vocabulary pass on a card: Triton, torch and TRL in turn, beside what the card can do. Run by vocab.py --device cuda.

passes   matrix rate: what the projections need, 2 M V D flops forward and 8 M V D with the backward pass (which projects
         again and has two products for its gradients), over the time of the whole pass
steps    bandwidth: the bytes of one reading (fold) or one reading and writing (slope) of a projected tile, over the time
         that the step takes; a step that goes over its tile several times falls short by as much
card     a copy of 1 GiB, and a product of two square matrices in half precision, measured in the same process
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from entropostat.rl.vocab import Wanted
from entropostat.rl.vocab_sums import OUTPUTS, fold, slope, start
from entropostat.rl.vocab_tiles import Head, Projection, Tiles

PATHS = ("Triton", "torch", "TRL")
SIZES, WIDTHS, TOKENS = (32_000, 151_936), (896, 4096), 8192
Inputs = tuple[Tensor, Tensor, Tensor]
"""Hidden states, weight, labels."""
QUICK = ((4099,), (64,), 64)


@dataclass(frozen=True)
class Subjects:
    """What to compare: tokens, width and vocabulary -> inputs; name -> our pass and TRL's; name -> the outputs of a step."""

    problem: Callable[[int, int, int], Inputs]
    passes: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]]
    steps: dict[str, Wanted]


@contextmanager
def path(name: str) -> Iterator[None]:
    """Which of our two paths runs."""
    before = os.environ.get("ENTROPOSTAT_VOCAB")
    os.environ["ENTROPOSTAT_VOCAB"] = name.lower()
    try:
        yield
    finally:
        del os.environ["ENTROPOSTAT_VOCAB"]
        if before is not None:
            os.environ["ENTROPOSTAT_VOCAB"] = before


def seconds(run: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1e3
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def in_turn(runs: dict[str, Callable[[], Any]], rounds: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each, the order turned round by one every time; two rounds of warm-up, which also compile."""
    times_of: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for i in range(rounds + 2):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            taken = seconds(runs[name], device)
            times_of[name] += [taken] if i > 1 else []
    return {name: statistics.median(times) for name, times in times_of.items()}


def card(device: torch.device, rounds: int, size: int = 8192, copied: int = 2**30) -> dict[str, Any]:
    """Rates that a copy and a product reach here, and what the card's properties say where they say it."""
    source = torch.empty(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    product = torch.empty_like(a)
    runs = {"copy": lambda: target.copy_(source), "product": lambda: torch.mm(a, b, out=product)}
    taken = in_turn(runs, rounds, device)
    figures: dict[str, Any] = {"bytes/s": 2 * copied / taken["copy"], "flop/s": 2 * size**3 / taken["product"]}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        clock, bus = (getattr(properties, name, 0) for name in ("memory_clock_rate", "memory_bus_width"))
        figures |= {"name": properties.name, "processors": properties.multi_processor_count}
        figures |= {"nominal bytes/s": 2 * clock * 1e3 * bus / 8} if clock and bus else {}
    return figures


def half(inputs: Inputs, device: torch.device) -> Inputs:
    hidden, weight, labels = (x.detach().to(device) for x in inputs)
    return hidden.bfloat16().requires_grad_(), weight.bfloat16().requires_grad_(), labels


def passes(
    inputs: Inputs,
    kinds: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]],
    paths: tuple[str, ...],
    rounds: int,
) -> Iterator[dict[str, Any]]:
    """``kinds``: name -> ours and TRL's; TRL has a gradient of log p and entropy alone, so it differentiates those."""
    hidden, weight, labels = inputs
    flops = 2 * hidden.shape[0] * weight.numel()
    for what, (ours, trl) in kinds.items():
        for backward in (False, True):

            def run(name: str, ours=ours, trl=trl, backward=backward) -> None:
                one = trl if name == "TRL" else ours
                with path("torch" if name == "TRL" else name), torch.set_grad_enabled(backward):
                    total = one(hidden, weight, labels)
                    if backward:
                        torch.autograd.grad(total, (hidden, weight))

            runs = {name: lambda name=name, run=run: run(name) for name in paths}
            for name, taken in in_turn(runs, rounds, hidden.device).items():
                rate = flops * (4 if backward else 1) / taken
                peak = extra_bytes(runs[name], hidden.device)
                yield {
                    "what": what, "pass": "forward and backward" if backward else "forward", "path": name,
                    "s": taken, "flop/s": rate, "extra bytes": peak,
                }  # fmt: skip


def extra_bytes(run: Callable[[], Any], device: torch.device) -> int | None:
    if device.type != "cuda":
        return None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() - before


def steps(inputs: Inputs, wanted: Wanted, paths: tuple[str, ...], rounds: int) -> Iterator[dict[str, Any]]:
    """Fold and slope of one tile, from the projection in half precision on."""
    hidden, weight, labels = (x.detach() for x in inputs)
    head, size = Head(), Tiles.on(hidden.device)
    whole = Projection(hidden, weight, None, head, size, hidden.dtype)
    rows, chunk = next(whole.rows())
    columns, _, _ = next(whole.columns(chunk))
    tile = (chunk @ weight[columns].t()).contiguous()
    part = start(chunk, labels[rows], wanted, whole.sums)
    zeros = torch.zeros_like(part["m"])
    saved = part | {"log_z": zeros + 1} | {name: zeros + 1 for name in ("entropy", "sum_p2", "sum_p2_logp")}
    grads = [zeros + 1 if name in wanted.outputs else None for name in OUTPUTS]
    grads += [zeros + 1 for _ in wanted.temperatures] + [None] * 4

    def widened() -> Tensor:
        return head.apply_(whole.buffer[: tile.numel()].view(tile.shape).copy_(tile))

    runs: dict[str, dict[str, Callable[[], Any]]] = {"fold": {}, "slope": {}}
    if "torch" in paths:
        runs["fold"]["torch"] = lambda: fold(widened(), part, columns, wanted, head, whole.spare, True)
        runs["slope"]["torch"] = lambda: slope(widened(), saved, grads, columns, wanted, head, whole.spare).to(
            tile.dtype
        )
    if "Triton" in paths:
        from entropostat.rl.vocab_triton import Kernels

        raw = Projection(hidden, weight, None, head, size, hidden.dtype, raw=True)
        kernels, used = Kernels(raw, wanted, head), tile.clone()
        runs["fold"]["Triton"] = lambda: kernels.fold(tile, part, columns, True)
        lines = kernels.lines(saved, grads)
        runs["slope"]["Triton"] = lambda: kernels.slope(used, saved, lines, columns, exact=False)
    for step, mine in runs.items():
        for name, taken in in_turn(mine, rounds, hidden.device).items():
            moved = tile.nbytes * (1 if step == "fold" else 2)
            yield {"what": step, "path": name, "tile": list(tile.shape), "s": taken, "bytes/s": moved / taken}


def measure(
    subjects: Subjects,
    device: torch.device,
    rounds: int,
    tokens: int,
    widths: tuple[int, ...],
    sizes: tuple[int, ...],
    paths: tuple[str, ...],
) -> Iterator[dict[str, Any]]:
    for vocabulary in sizes:
        for width in widths:
            inputs = half(subjects.problem(tokens, width, vocabulary), device)
            where = {"vocabulary": vocabulary, "hidden": width, "tokens": tokens}
            for row in passes(inputs, subjects.passes, paths, rounds):
                yield where | row
    for outputs, wanted in subjects.steps.items():
        for row in steps(inputs, wanted, paths, rounds):
            yield {"outputs": outputs} | row


def main(options: argparse.Namespace, subjects: Subjects) -> int:
    if not torch.cuda.is_available():
        print("--device cuda: torch finds no CUDA device", file=sys.stderr)
        return 2
    device, rounds = torch.device("cuda"), 1 if options.quick else options.rounds
    sizes, widths, tokens = QUICK if options.quick else (SIZES, WIDTHS, TOKENS)
    names = ", ".join(f"{name} {version(name)}" for name in ("torch", "triton", "trl"))
    ceiling = card(device, max(rounds, 3))
    results: dict[str, Any] = {"made with": f"{names}, on one {ceiling['name']}", "card": ceiling, "rows": []}
    options.out.mkdir(parents=True, exist_ok=True)
    for row in measure(subjects, device, rounds, options.tokens or tokens, widths, sizes, PATHS):
        results["rows"].append(row)
        (options.out / "vocab-cuda.json").write_text(json.dumps(results, indent=1) + "\n")
        (options.out / "vocab-cuda.md").write_text(report(results))
        print(json.dumps(row), flush=True)
    return 0


def report(results: dict[str, Any]) -> str:
    ceiling, rows = results["card"], results["rows"]
    nominal = f" ({ceiling['nominal bytes/s'] / 1e9:,.0f} nominal)" if "nominal bytes/s" in ceiling else ""
    lines = [
        "# Cost of the vocabulary pass on a card", "",
        f"Made by `python -m benchmarks.cost.vocab --device cuda` with {results['made with']}.", "",
        (f"Measured in the same process: a copy at {ceiling['bytes/s'] / 1e9:,.0f} GB/s{nominal}, a product in half precision at "
        f"{ceiling['flop/s'] / 1e12:,.0f} Tflop/s. Projections in bfloat16; medians of runs in turn."), "",
        "| vocabulary | hidden | tokens | outputs | pass | path | ms | Tflop/s of the projections | of the product | extra MB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for r in (r for r in rows if "pass" in r):
        peak = "" if r["extra bytes"] is None else f"{r['extra bytes'] / 1e6:,.0f}"
        lines.append(
            f"| {r['vocabulary']:,} | {r['hidden']} | {r['tokens']} | {r['what']} | {r['pass']} | {r['path']} "
            f"| {r['s'] * 1e3:,.2f} | {r['flop/s'] / 1e12:,.1f} | {r['flop/s'] / ceiling['flop/s']:.0%} | {peak} |"
        )
    lines += [
        "", "One tile, from its projection on; the bandwidth is that of a single reading, or reading and writing:", "",
        "| step | outputs | tile | path | ms | GB/s | of the copy |", "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for r in (r for r in rows if "tile" in r):
        lines.append(
            f"| {r['what']} | {r['outputs']} | {r['tile'][0]} x {r['tile'][1]} | {r['path']} | {r['s'] * 1e3:,.3f} "
            f"| {r['bytes/s'] / 1e9:,.0f} | {r['bytes/s'] / ceiling['bytes/s']:.0%} |"
        )
    return "\n".join(lines) + "\n"
