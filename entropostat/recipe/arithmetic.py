"""Batch arithmetic of a run: what one generation holds and how many optimizer steps it serves."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

from entropostat.catalog import load
from entropostat.data import chain
from entropostat.data.curriculum import generation_edges, label
from entropostat.recipe.recipe import Recipe


def trainer_value(recipe: Recipe, key: str) -> Any:
    """What the recipe states, else TRL's default."""
    return recipe.trainer.get(key, _defaults(recipe.kind).get(key))


@cache
def _defaults(kind: str) -> dict[str, Any]:
    return {f.name: f.default for f in load().trainer[kind]}


def visible_gpus() -> int:
    """GPUs on this machine, found without torch."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return len([device for device in listed.split(",") if device.strip() not in ("", "-1")])
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    done = subprocess.run([tool, "--list-gpus"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


def world_size(recipe: Recipe) -> int:
    """Processes over all machines."""
    launch = recipe.launch
    if launch.num_processes is not None:
        return launch.num_processes
    return 1 if launch.strategy == "single" else max(1, visible_gpus()) * launch.num_machines


@dataclass(frozen=True)
class Stage:
    """A stage of training after rounding to whole generations."""

    source: str
    """In a word: of several a+b."""
    shares: dict[str, float]
    """Source -> share of the prompts; they add up to 1."""
    asked: int
    begin: int
    end: int
    prompts: int


@dataclass(frozen=True)
class Arithmetic:
    """Sequences are completions; a micro-batch is what one process sees in one forward."""

    world: int
    micro: int
    accumulation: int
    steps_per_generation: int
    """Micro-batches per process that one generation is cut into."""
    iterations: int
    generation: int
    """Sequences per generation over all processes."""
    group: int

    @property
    def prompts(self) -> int:
        return self.generation // self.group

    @property
    def step(self) -> int:
        """Sequences per optimizer step over all processes."""
        return self.micro * self.world * self.accumulation

    @property
    def updates(self) -> Fraction:
        """Optimizer steps per generation."""
        return Fraction(self.steps_per_generation * self.iterations, self.accumulation)

    @property
    def aligned(self) -> bool:
        """Every optimizer step uses fresh completions of the very policy that it updates: all ratios are 1."""
        return self.accumulation % (self.steps_per_generation * self.iterations) == 0


def arithmetic(recipe: Recipe) -> Arithmetic:
    """TRL's own rules, see ``GRPOConfig.__post_init__``."""
    world = world_size(recipe)
    micro = trainer_value(recipe, "per_device_train_batch_size")
    accumulation = trainer_value(recipe, "gradient_accumulation_steps")
    slices, generation = (recipe.trainer.get(key) for key in ("steps_per_generation", "generation_batch_size"))
    if slices is None:
        slices = accumulation if generation is None else max(1, generation // max(1, micro * world))
    return Arithmetic(
        world=world,
        micro=micro,
        accumulation=accumulation,
        steps_per_generation=slices,
        iterations=trainer_value(recipe, "num_iterations"),
        generation=micro * world * slices if generation is None else generation,
        group=trainer_value(recipe, "num_generations") or 1,
    )


def total_steps(recipe: Recipe) -> int | None:
    """``trainer.max_steps`` where it is given."""
    steps = recipe.trainer.get("max_steps")
    return steps if steps is not None and steps > 0 else None


def stages(recipe: Recipe, sizes: Arithmetic) -> list[Stage]:
    """The curriculum with its edges rounded to whole generations; empty without one."""
    asked = [(stage.source, stage.steps) for stage in recipe.data.curriculum or []]
    if not asked:
        return []
    ends = generation_edges([steps for _, steps in asked], sizes.updates, total_steps(recipe))
    plan = []
    begin = 0
    for (source, steps), end in zip(asked, ends, strict=False):
        first, last = int(begin * sizes.updates), int(end * sizes.updates)
        prompts = max(0, end - begin) * sizes.prompts
        plan.append(Stage(label(source), shares(source), steps, first, last, prompts))
        begin = end
    return plan


def shares(source: str | Mapping[str, float]) -> dict[str, float]:
    """Source -> its share, of 1 in all."""
    if isinstance(source, str):
        return {source: 1.0}
    return {name: weight / sum(source.values()) for name, weight in source.items()}


def pool(recipe: Recipe, source: str) -> int | None:
    """Prompts that a source has for training, as far as its options tell: datasets and files are not counted."""
    term = recipe.sources[source]
    stated = {field.name: field.default for field in load().terms["sources"][term.kind].fields} | term.options
    size = stated.get("size")
    if term.kind == "chain":
        size = min(stated["size"], chain.count(stated["length"]))
    return None if size is None else round(size * (1 - recipe.data.held_out))


def pool_of(recipe: Recipe, sources: Iterable[str]) -> int | None:
    """Of several sources together; None where the size of one is unknown here."""
    known = [pool(recipe, name) for name in sources]
    return None if None in known else sum(size or 0 for size in known)


def steps(recipe: Recipe, sizes: Arithmetic) -> int | None:
    """Optimizer steps in all; None where only the data's size, unknown here, decides."""
    planned = stages(recipe, sizes)
    given = total_steps(recipe)
    if given is not None:
        return given
    if planned:
        return planned[-1].end
    known = pool_of(recipe, recipe.sources)
    if known is None or not sizes.prompts:
        return None
    return int(known // sizes.prompts * sizes.updates * trainer_value(recipe, "num_train_epochs"))
