"""Time of the vocabulary pass by the Triton kernels, by torch and by TRL's head, in turn."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from benchmarks.smoke.row import Place, Seen, Skipped, require

SIZES, ROUNDS = (4096, 1024, 151_936), 5
"""Tokens, width, vocabulary."""
LIMIT = 1.0
"""Of torch's time: kernels that are slower have no reason to be."""


def check(place: Place) -> Seen:
    if place.device == "cpu":
        raise Skipped("on a CPU the kernels are interpreted, and their time says nothing")
    if find_spec("triton") is None:
        raise Skipped("Triton is not installed")
    return judge(measured(place.device, SIZES, ROUNDS, ("Triton", "torch", "TRL")))


def measured(device: str, sizes: tuple[int, int, int], rounds: int, paths: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows of the benchmark of the pass: forward, and forward and backward."""
    import torch

    from benchmarks.cost.vocab import CARD, problem
    from benchmarks.cost.vocab_cuda import half, passes

    what = "logp, entropy"
    return list(passes(half(problem(*sizes), torch.device(device)), {what: CARD[what]}, paths, rounds))


def judge(rows: Iterable[dict[str, Any]]) -> Seen:
    """Raises Failed where the kernels take longer than torch."""
    taken: dict[str, dict[str, float]] = {}
    for row in rows:
        taken.setdefault(row["pass"], {})[row["path"]] = row["s"]
    texts, numbers = [], {}
    for name, seconds in taken.items():
        numbers |= {f"{name}, {path}": s for path, s in seconds.items()}
        texts.append(f"{name} " + ", ".join(f"{path} {1e3 * s:.2f}" for path, s in seconds.items()) + " ms")
    text = "; ".join(texts)
    for seconds in taken.values():
        require(
            seconds["Triton"] <= LIMIT * seconds["torch"],
            f"{text}; Triton takes at most {LIMIT:g} of torch's time",
            **numbers,
        )
    return Seen(text, numbers)
