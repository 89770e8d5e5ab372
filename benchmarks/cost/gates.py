"""What the overhead may be, and the tables that say what it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

EQUAL = ("model forwards", "scoring and training forwards", "lm-head projections", "generate calls", "collectives")
OPS_LIMIT, BYTES_LIMIT, TIME_LIMIT, LOGGING_LIMIT = 1.10, 1.02, 1.03, 3.0


@dataclass(frozen=True)
class Gate:
    """One line of the table. ``passed`` is None where a number is reported and not judged."""

    what: str
    stock: str
    ours: str
    bar: str
    passed: bool | None


def count_gates(stock: dict[str, Any], ours: dict[str, Any], judged: bool = True) -> Iterator[Gate]:
    """Gates on the exact counts of one process."""

    def gate(what: str, before: float, after: float, bar: str, passed: bool) -> Gate:
        return Gate(what, f"{before:,g}", f"{after:,g}", bar, passed if judged else None)

    for name in EQUAL:
        yield gate(f"{name} per step", stock[name], ours[name], "equal", stock[name] == ours[name])
    for name, limit in (("aten ops", OPS_LIMIT), ("peak bytes", BYTES_LIMIT), ("bytes after the loss", BYTES_LIMIT)):
        share = ours[name] / stock[name]
        what = "aten ops per step, generation included" if name == "aten ops" else f"live tensor {name}"
        yield gate(what, stock[name], ours[name], f"{share:.4f}, at most {limit}", share <= limit)
    before, after = (c["aten ops"] - c["aten ops by phase"]["rollout"] for c in (stock, ours))
    yield Gate("aten ops per step, generation left out", f"{before:,g}", f"{after:,g}", f"{after / before:.4f}", None)


def rank_gates(stock: dict[str, Any], ours: dict[str, Any], cycle: int, judged: bool) -> Iterator[Gate]:
    """Collectives that two processes really make. The forward tap may make none; the rest of the loss none on top.

    ``judged`` asks for a total of at most stock's. Ours adds a fixed number to a generation and one to a step, and spares
    one in every micro-batch: with few micro-batches it makes more, with many fewer.
    """
    before, after = stock["collectives by phase"], ours["collectives by phase"]
    number = "{:,g}".format
    tap = after["tap"]
    yield Gate("in the forward tap, per step", "0", number(tap), "none", tap == 0)
    loss = [number(c["loss"]) for c in (before, after)]
    yield Gate("in the loss, per step", *loss, "at most stock's", after["loss"] <= before["loss"])
    name = "backward and optimizer"
    one = after[name] - before[name] <= 1
    yield Gate("in the rest of a step", number(before[name]), number(after[name]), "one more", one)
    # Statistics over the whole generation need a few: rewards and selections over ranks. They do not grow with its size.
    rollout = [number(c["rollout"] * cycle) for c in (before, after)]
    yield Gate("per generation", *rollout, "reported", None)
    before, after = (c["collectives"] for c in (stock, ours))
    bar = "at most stock's" if judged else f"{after - before:+g}, reported"
    yield Gate("all, per step", number(before), number(after), bar, after <= before if judged else None)


def time_gates(result: dict[str, Any]) -> Iterator[Gate]:
    ours, null = result["ours / stock"], result["stock / stock"]
    show = lambda r: f"{r['median']:.4f} [{r['low']:.4f}, {r['high']:.4f}]"
    yield Gate(
        f"processor time of a replayed step, median of {ours['pairs']} paired ratios with 95 % interval",
        f"{result['median seconds']['stock']:.2f} s; stock / stock {show(null)}",
        f"ours / stock {show(ours)}",
        f"lower bound at most {TIME_LIMIT}",
        ours["low"] <= TIME_LIMIT,
    )
    milliseconds = result["logging ms"]
    yield Gate(
        "window close, control, monitors and metric logging, mean ms per step",
        f"{result['stock logging ms']:.2f}",
        f"{milliseconds:.2f}",
        f"at most {LOGGING_LIMIT:g}",
        milliseconds <= LOGGING_LIMIT,
    )


def table(title: str, gates: list[Gate]) -> str:
    verdict = {True: "pass", False: "FAIL", None: ""}
    rows = [f"| {g.what} | {g.stock} | {g.ours} | {g.bar} | {verdict[g.passed]} |" for g in gates]
    head = "| | stock GRPOTrainer | ours | bar | |\n|---|---|---|---|---|"
    return "\n".join([f"## {title}", "", head, *rows, ""])
