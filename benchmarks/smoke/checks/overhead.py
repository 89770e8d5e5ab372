"""Time of a training step beside a stock GRPOTrainer's, in turn, on one recorded generation: benchmarks/cost/overhead.py on a GPU."""

from __future__ import annotations

from typing import Any

from benchmarks.smoke.row import Place, Seen, require

PAIRS, FEW = 40, 4
"""Paired steps; so many on the CPU, where the row shows that it runs and its time is not judged."""


def check(place: Place) -> Seen:
    from benchmarks.cost.overhead import times
    from benchmarks.cost.subjects import TINY, Size

    if place.device == "cpu":
        return told(times(TINY, FEW, note), judged=False)
    size = Size("card", layers=12, hidden=1024, vocabulary=32_768, tokens=256)
    return told(times(size, PAIRS, note, use_cpu=False, bf16=True), judged=True)


def note(so_far: dict[str, Any]) -> None:
    """Into the log, for a row that is cut off."""
    print(so_far["ours / stock"], flush=True)


def told(result: dict[str, Any], judged: bool) -> Seen:
    """By the benchmark's own bar: the lower end of the interval. Raises Failed."""
    from benchmarks.cost.gates import TIME_LIMIT

    ours, null = result["ours / stock"], result["stock / stock"]
    show = lambda r: f"{r['median']:.3f} [{r['low']:.3f}, {r['high']:.3f}]"
    text = f"ours / stock {show(ours)} of {ours['pairs']} paired steps, stock / stock {show(null)}"
    numbers = {"ours / stock": ours, "stock / stock": null, "median seconds": result["median seconds"]}
    if not judged:
        return Seen(f"{text}; of toy size, so not judged", numbers)
    require(ours["low"] <= TIME_LIMIT, f"{text}; lower end at most {TIME_LIMIT:g}", **numbers)
    return Seen(text, numbers)
