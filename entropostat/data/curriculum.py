"""The order in which training sees prompts, fixed before it starts.

A curriculum that looked at the trainer's state would be stale, because accelerate reads one batch ahead, and would
break on resume. So the order is a list, and the trainer reads it without shuffling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from entropostat.data.example import DataError, Example
from entropostat.rl.spelling import unknown

Stage = tuple[str, int]
"""Name of a source, optimizer steps."""


@dataclass(frozen=True)
class Order:
    """Prompts in the order of training, each once: the trainer repeats them for its groups and updates."""

    examples: list[Example]
    sources: list[str]
    """Name of the source of each example."""
    edges: dict[str, int]
    """'stage/source' -> optimizer step at which the stage really begins, for plots. Stages count from 0."""
    steps: int
    """Optimizer steps that the order lasts."""


def plan_order(
    pools: Mapping[str, Sequence[Example]],
    stages: Sequence[Stage],
    *,
    prompts: int,
    steps_per_generation: Fraction | int,
    total_steps: int | None = None,
    seed: int = 0,
) -> Order:
    """Lay the stages out in whole generations of ``prompts`` prompts.

    ``steps_per_generation`` is in optimizer steps and may be a fraction: TRL's ``steps_per_generation *
    num_iterations / gradient_accumulation_steps``. Each edge goes to the nearest generation, and a stage has at least
    one. With ``total_steps`` the last stage is prolonged to it or the stages cut off there. Without stages all sources
    are shuffled together, for ``total_steps`` or once through.
    """
    if not stages:
        return _mixed(pools, prompts, Fraction(steps_per_generation), total_steps, seed)
    for name, _ in stages:
        if name not in pools:
            raise DataError(f"data.curriculum: {unknown('source', name, pools)}")
    ends = generation_edges([steps for _, steps in stages], Fraction(steps_per_generation), total_steps)
    examples: list[Example] = []
    sources: list[str] = []
    edges: dict[str, int] = {}
    begin = 0
    for index, ((name, _), end) in enumerate(zip(stages, ends, strict=True)):
        if end > begin:
            edges[f"{index}/{name}"] = math.ceil(begin * Fraction(steps_per_generation))
        stream = endless(pools[name], Random(f"{seed}-{index}-{name}"))
        for _ in range((end - begin) * prompts):
            examples.append(next(stream))
            sources.append(name)
        begin = end
    return Order(examples, sources, edges, math.floor(begin * Fraction(steps_per_generation)))


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


def endless(pool: Sequence[Example], rng: Random) -> Iterator[Example]:
    """The pool shuffled, again and again, each time anew."""
    if not pool:
        raise DataError("a stage of data.curriculum has no prompts")
    while True:
        order = list(pool)
        rng.shuffle(order)
        yield from order


def _mixed(
    pools: Mapping[str, Sequence[Example]], prompts: int, per_generation: Fraction, total_steps: int | None, seed: int
) -> Order:
    """All sources together, each as often as it has prompts."""
    everything = [(name, example) for name, pool in pools.items() for example in pool]
    if len(everything) < prompts and total_steps is None:
        raise DataError(
            f"data.sources: {len(everything)} training prompts do not fill one generation of {prompts}; add prompts, "
            "lower the batch size, or set trainer.max_steps"
        )
    generations = len(everything) // prompts if total_steps is None else math.ceil(total_steps / per_generation)
    origin = {id(example): name for name, example in everything}
    stream = endless([example for _, example in everything], Random(f"{seed}-mixed"))
    examples = [next(stream) for _ in range(generations * prompts)]
    steps = math.floor(generations * per_generation)
    return Order(examples, [origin[id(example)] for example in examples], {}, steps)
