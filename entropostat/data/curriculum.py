"""The order in which training sees prompts, fixed before it starts.

A curriculum that looked at the trainer's state would be stale, because accelerate reads one batch ahead, and would
break on resume. So the order is a list, and the trainer reads it without shuffling.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

from entropostat.data.example import DataError
from entropostat.data.mixture import Weights, mixed
from entropostat.rl.spelling import unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

Stage = tuple[str | Weights, int]
"""Name of a source, or several with their weights; optimizer steps."""
Pools = Mapping[str, Sequence[int]]
"""Source -> the rows of its prompts in the table."""


@dataclass(frozen=True)
class Order:
    """Prompts in the order of training, each once: the trainer repeats them for its groups and updates."""

    rows: NDArray[Any]
    """(prompts,) int64: where they lie in the table."""
    edges: dict[str, int]
    """'stage/source' -> optimizer step at which the stage really begins, for plots. Stages count from 0."""
    steps: int
    """Optimizer steps that the order lasts."""


def plan_order(
    pools: Pools,
    stages: Sequence[Stage],
    *,
    prompts: int,
    steps_per_generation: Fraction | int,
    total_steps: int | None = None,
    seed: int = 0,
    weights: Weights | None = None,
) -> Order:
    """Lay the stages out in whole generations of ``prompts`` prompts.

    ``steps_per_generation`` is in optimizer steps and may be a fraction: TRL's ``steps_per_generation *
    num_iterations / gradient_accumulation_steps``. Each edge goes to the nearest generation, and a stage has at least
    one. With ``total_steps`` the last stage is prolonged to it or the stages cut off there. Without stages all sources
    are shuffled together, or drawn by ``weights``, for ``total_steps`` or for as many prompts as there are.
    """
    per_generation = Fraction(steps_per_generation)
    if not stages:
        return _all(pools, prompts, per_generation, total_steps, seed, weights)
    for source, _ in stages:
        for name in named(source):
            if name not in pools:
                raise DataError(f"data.curriculum: {unknown('source', name, pools)}")
    ends = generation_edges([steps for _, steps in stages], per_generation, total_steps)
    edges: dict[str, int] = {}
    parts: list[NDArray[Any]] = []
    begin = 0
    for index, ((source, _), end) in enumerate(zip(stages, ends, strict=True)):
        if end > begin:
            edges[f"{index}/{label(source)}"] = math.ceil(begin * per_generation)
        parts.append(_drawn(pools, source, (end - begin) * prompts, prompts, f"{seed}-{index}"))
        begin = end
    return Order(_joined(parts), edges, math.floor(begin * per_generation))


def named(source: str | Weights) -> list[str]:
    """The sources of a stage."""
    return [source] if isinstance(source, str) else list(source)


def label(source: str | Weights) -> str:
    """A stage in a word: its source, or several as a+b."""
    return "+".join(named(source))


def generation_edges(steps: Sequence[int], per_generation: Fraction, total_steps: int | None) -> list[int]:
    """The generation at which each stage ends. Sums are rounded and not lengths, so that errors do not add up."""
    limit = None if total_steps is None else math.ceil(total_steps / per_generation)
    ends: list[int] = []
    done = 0
    for length in steps:
        done += length
        nearest = math.floor(done / per_generation + Fraction(1, 2))
        end = max(nearest, (ends[-1] if ends else 0) + 1)
        ends.append(end if limit is None else min(end, limit))
    if limit is not None:
        ends[-1] = limit
    return ends


def endless(pool: Sequence[int], rng: Random) -> Iterator[int]:
    """The pool shuffled, again and again, each time anew."""
    if not pool:
        raise DataError("a stage of data.curriculum has no prompts")
    while True:
        order = list(pool)
        rng.shuffle(order)
        yield from order


def _drawn(pools: Pools, source: str | Weights, count: int, generation: int, seed: str) -> NDArray[Any]:
    """``count`` rows of a source, or of several in whole generations."""
    streams = {name: endless(pools[name], Random(f"{seed}-{name}")) for name in named(source)}
    if isinstance(source, str):
        return _array(streams[source], count)
    parts = mixed(streams, source, generation, Random(f"{seed}-mixture"))
    return _array((row for part in parts for row in part), count)


def _all(
    pools: Pools,
    prompts: int,
    per_generation: Fraction,
    total_steps: int | None,
    seed: int,
    weights: Weights | None,
) -> Order:
    """All sources together, each as often as it has prompts, or by ``weights``."""
    everything = [row for pool in pools.values() for row in pool]
    if len(everything) < prompts and total_steps is None:
        raise DataError(
            f"data.sources: {len(everything)} training prompts do not fill one generation of {prompts}; add prompts, "
            "lower the batch size, or set trainer.max_steps"
        )
    generations = len(everything) // prompts if total_steps is None else math.ceil(total_steps / per_generation)
    count = generations * prompts
    if weights is None:
        rows = _array(endless(everything, Random(f"{seed}-mixed")), count)
    else:
        rows = _drawn(pools, weights, count, prompts, f"{seed}-mixed")
    return Order(rows, {}, math.floor(generations * per_generation))


def _array(rows: Iterable[int], count: int) -> NDArray[Any]:
    import numpy as np

    return np.fromiter(islice(rows, count), dtype=np.int64, count=count)


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    import numpy as np

    return np.concatenate(parts)
