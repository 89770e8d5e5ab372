"""A recipe's part of the plan: its estimate as data and text, and its lints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from entropostat.recipe.errors import COMMAND_LINE, Origin, fail
from entropostat.recipe.lint import Lint
from entropostat.recipe.recipe import Recipe
from entropostat.scaling import source, table
from entropostat.scaling.communication import INTER, INTRA, communication, seconds
from entropostat.scaling.memory import Memory, memory
from entropostat.scaling.run import Run, of_recipe, prompt_tokens, strategies
from entropostat.scaling.shape import UnknownShape

ROOM = 0.9
"""Share of a GPU that the counted items may take; the rest is for what is not counted."""


@dataclass(frozen=True)
class Asked:
    """What the command line adds to the recipe."""

    strategies: bool = False
    """All of them, side by side."""
    shape: str | None = None
    intra: float = INTRA
    inter: float = INTER
    """GB/s of one GPU."""

    @staticmethod
    def parse(strategies: bool, shape: str | None, bandwidth: str | None) -> Asked:
        """Raises RecipeError for a bandwidth that is not two positive numbers."""
        try:
            intra, inter = (INTRA, INTER) if bandwidth is None else map(float, bandwidth.split(","))
        except ValueError:
            intra = inter = 0.0
        if not (intra > 0 and inter > 0):
            raise fail(Origin(COMMAND_LINE), "--bandwidth", f"{bandwidth!r} is not two numbers above 0, such as 300,40")
        return Asked(strategies, shape, intra, inter)


def lints(recipe: Recipe, asked: Asked) -> Iterator[Lint]:
    """What a GPU has too little room for; nothing without a shape."""
    try:
        run = of_recipe(recipe, source.find(recipe, asked.shape)[0])
    except UnknownShape:
        return
    yield from room(run, memory(run))
    yield from vllm_room(run)


def report(recipe: Recipe, asked: Asked) -> dict[str, Any]:
    """The estimate, {"shape", "memory", "communication", "text"}; without a shape, {"unknown", "text"}."""
    try:
        shape, where = source.find(recipe, asked.shape)
        run = of_recipe(recipe, shape)
    except UnknownShape as error:
        return {"unknown": str(error), "text": [f"memory      unknown: {error}"]}
    needed, traffic = memory(run), communication(run)
    prompt, why = prompt_tokens(recipe)
    lengths = f"prompts of {prompt} tokens ({why}), completions of {run.completion}, all counted at full length"
    head = f"{shape.parameters / 1e9:.4g} billion weights, from {where}; {lengths}"
    spend = seconds(run, traffic, asked.intra, asked.inter)
    lines = table.own(run, needed, traffic, spend)
    if asked.strategies:
        others = [run.under(name) for name in strategies(run)]
        lines = table.side_by_side(others, lambda other, t: seconds(other, t, asked.intra, asked.inter))
    link = f"{asked.inter:g} GB/s between machines" if run.machines > 1 else f"{asked.intra:g} GB/s inside a machine"
    closing = [f"times: {link}, without latency, nothing hidden behind computing"] if run.world > 1 else []
    return {
        "shape": {"parameters": shape.parameters, "from": where},
        "memory": {
            "moment": needed.moment,
            "peak": needed.peak,
            "largest": needed.largest,
            "items": needed.at(needed.moment),
            "host": needed.host,
        },
        "communication": {"seconds": spend, "sent": {t.name: t.sent for t in traffic}},
        "text": [head, *lines, *closing],
    }


def room(run: Run, needed: Memory) -> Iterator[Lint]:
    if run.gpu is not None and needed.peak > ROOM * run.gpu:
        gib = 2**30
        yield Lint(
            "warning",
            "launch.gpu_memory",
            f"a rank needs about {needed.peak / gib:.1f} GiB in its {needed.moment} phase, most of it {needed.largest}, and "
            f"{ROOM:.0%} of {run.gpu / gib:g} GiB are {ROOM * run.gpu / gib:.1f}",
            "see `entropostat plan --scaling` for other strategies, or lower per_device_train_batch_size or the lengths",
        )


def vllm_room(run: Run) -> Iterator[Lint]:
    weights = 2 * run.shape.parameters / run.vllm_parallel
    if run.vllm == "colocate" and run.gpu is not None and weights > run.vllm_share * run.gpu:
        yield Lint(
            "warning",
            "trainer.vllm_gpu_memory_utilization",
            f"{run.vllm_share:g} of {run.gpu / 2**30:g} GiB does not hold vLLM's own {weights / 2**30:.1f} GiB of weights",
            "raise it, or trainer.vllm_tensor_parallel_size",
        )
