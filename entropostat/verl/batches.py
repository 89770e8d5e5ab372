"""A run's batches in verl's terms. verl counts prompts where TRL counts completions, and generations where TRL counts optimizer steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from entropostat.recipe.arithmetic import Arithmetic
from entropostat.verl.carries import Refusal

_STEP = "trainer.gradient_accumulation_steps"


@dataclass(frozen=True)
class Batches:
    """Of one run, all over all GPUs."""

    prompts: int
    """``data.train_batch_size``: prompts of a generation."""
    group: int
    """``rollout.n``: completions of each."""
    mini: int
    """``actor.ppo_mini_batch_size``: prompts of an optimizer step."""
    epochs: int
    """``actor.ppo_epochs``: passes over a generation."""
    micro: int
    """Completions that one GPU has in one forward."""
    gpus: int

    @property
    def updates(self) -> Fraction:
        """Optimizer steps of a generation."""
        return Fraction(self.prompts * self.epochs, self.mini)

    def generations(self, steps: float) -> int:
        """As many as ``steps`` optimizer steps begin, at least one."""
        return max(1, ceil(Fraction(steps) / self.updates))


def unfit(sizes: Arithmetic, machines: int) -> Iterator[Refusal]:
    """Why verl cannot cut a generation alike. Empty: ``batches`` can be made."""
    if sizes.generation % sizes.group:
        why = f"a generation of {sizes.generation} completions is no whole number of prompts with {sizes.group} each"
        yield Refusal("trainer.num_generations", f"{why}, and verl counts prompts", "make it divide the generation")
        return
    if sizes.step % sizes.group:
        why = f"an optimizer step of {sizes.step} completions is no whole number of prompts with {sizes.group} each"
        yield Refusal(_STEP, f"{why}, and verl counts prompts", f"make the step a multiple of {sizes.group}")
        return
    if sizes.generation % sizes.step:
        why = f"an optimizer step takes {sizes.step} completions, and a generation has {sizes.generation}"
        fix = "verl cuts each generation into whole steps; take trainer.steps_per_generation as a multiple of it"
        yield Refusal(_STEP, why, fix)
    if sizes.generation % sizes.world:
        why = f"{sizes.generation} completions are no whole number for each of {sizes.world} GPUs"
        yield Refusal("trainer.generation_batch_size", why, "make it a multiple of the GPUs")
    if sizes.world % machines:
        why = f"{sizes.world} processes are no whole number for each of {machines} machines"
        yield Refusal("launch.num_processes", why, "give every machine as many")


def batches(sizes: Arithmetic) -> Batches:
    return Batches(
        prompts=sizes.prompts,
        group=sizes.group,
        mini=sizes.step // sizes.group,
        epochs=sizes.iterations,
        micro=sizes.micro,
        gpus=sizes.world,
    )
