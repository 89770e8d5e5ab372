"""The estimate as text: the items of one run by moment, or the strategies side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from entropostat.scaling.communication import Transfer, communication
from entropostat.scaling.item import MOMENTS
from entropostat.scaling.memory import Memory, memory
from entropostat.scaling.run import Run

UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))

COLUMNS = {
    "weights": ("weights", "gathered weights", "autocast's copies of weights", "weights gathered to generate"),
    "gradients": ("gradients", "DDP's buckets", "DeepSpeed's reduce bucket", "gradients in float32"),
    "optimizer": ("optimizer", "weights before the step"),
    "references": ("reference", "its average in float32", "reference to evaluate"),
    "forward": ("activations", "logits tiles, head's gradient", "one layer's backward"),
    "generation": ("vLLM", "KV cache", "sampling", "buffered rollouts"),
}
"""Of the table of strategies, and the items that each one adds up."""


def unit(size: float) -> tuple[str, int]:
    return next((one for one in UNITS if size >= one[1]), UNITS[-1])


def own(run: Run, needed: Memory, traffic: Sequence[Transfer], spend: float) -> list[str]:
    """Items in rows, moments in columns; then what a step sends."""
    name, one = unit(needed.peak)
    columns = {moment: needed.at(moment) for moment in MOMENTS}
    rows = [[f"memory of a rank, {name}", *MOMENTS]]
    for item in needed.names:
        rows.append([item, *(_size(columns[m].get(item), one) for m in MOMENTS)])
    rows.append(["in all", *(_size(needed.total(m), one) for m in MOMENTS)])
    lines = aligned(rows)
    lines.append(f"peak: {needed.peak / one:.2f} {name} in {needed.moment}, most of it {needed.largest}")
    if needed.host:
        lines.append(f"main memory of a process: {needed.host / one:.2f} {name}")
    if traffic:
        lines += ["", *_traffic(traffic, spend)]
    return lines


def _traffic(traffic: Sequence[Transfer], spend: float) -> list[str]:
    total = sum(t.sent for t in traffic)
    name, one = unit(total)
    rows = [[f"sent by a rank in a step, {name}", "", "by"]]
    rows += [[t.name, _size(t.sent, one), t.kind] for t in traffic]
    rows.append(["in all", _size(total, one), f"{spend:.3g} s"])
    return aligned(rows)


def side_by_side(runs: Sequence[Run], spend: Callable[[Run, list[Transfer]], float]) -> list[str]:
    """One strategy a row, at its own peak; the item that takes most there, main memory, and what a step sends."""
    needed = {run.strategy: memory(run) for run in runs}
    name, one = unit(max(m.peak for m in needed.values()))
    rows = [["strategy", *COLUMNS, "peak", "in", "most of it", "main memory", "sent a step", "seconds"]]
    for run in runs:
        mine, traffic = needed[run.strategy], communication(run)
        at = mine.at(mine.moment)
        parts = [_size(sum(at.get(item, 0.0) for item in items) or None, one) for items in COLUMNS.values()]
        sent = sum(t.sent for t in traffic)
        fits = "" if run.gpu is None or mine.peak <= run.gpu else " !"
        rows.append(
            [
                run.strategy if run.world > 1 or run.strategy != "single" else "single (1)",
                *parts,
                _size(mine.peak, one) + fits,
                mine.moment,
                mine.largest,
                _size(mine.host or None, one),
                _size(sent or None, one),
                f"{spend(run, traffic):.3g}" if traffic else "",
            ]
        )
    lines = [f"{name} of a rank at its peak, {runs[-1].world} process(es) on {runs[-1].machines} machine(s)"]
    if any(row[7].endswith("!") for row in rows[1:]):
        lines.append(f"!: more than the GPU's {(runs[0].gpu or 0) / 2**30:g} GiB")
    return [*lines, *aligned(rows)]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in rows
    ]


def _size(size: float | None, one: int) -> str:
    return "" if size is None else f"{size / one:.2f}"
