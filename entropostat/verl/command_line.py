"""A recipe as a command line of verl's, and what of it does not go along: for ``plan --engine verl``. Needs neither verl nor torch.

No key of the trainer block is passed over in silence: each stands behind something in the command, or is refused, or listed with what
to do.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.facts import knobs
from entropostat.recipe.recipe import Recipe
from entropostat.verl import prepared, translated
from entropostat.verl.batches import Batches, batches, unfit
from entropostat.verl.carries import Refusal, refusals
from entropostat.verl.hydra_text import hydra
from entropostat.verl.translated import Left, Said, Set

MAIN = ("python", "-m", "verl.trainer.main_ppo")
READ = frozenset(
    {
        *(
            "kind",
            "learning_rate",
            "weight_decay",
            "max_grad_norm",
            "lr_scheduler_type",
            "warmup_steps",
            "bf16",
            "fp16",
        ),
        *("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "num_iterations"),
        *("generation_batch_size", "num_generations", "max_completion_length", "max_steps", "num_train_epochs"),
        *("gradient_checkpointing", "chat_template_kwargs", "mask_truncated_completions"),
        *("save_strategy", "save_steps", "save_total_limit"),
        *("use_vllm", "vllm_mode", "vllm_tensor_parallel_size", "vllm_gpu_memory_utilization", "vllm_max_model_length"),
        *("vllm_importance_sampling_correction", "vllm_importance_sampling_mode", "vllm_importance_sampling_clip_max"),
        "vllm_enable_sleep_mode",  # as verl's rollout.free_cache_engine, which is on
    }
)
"""Keys of the trainer block that stand behind something in the command."""


@dataclass(frozen=True)
class CommandLine:
    """What a run in verl is started with; not to be used where anything is refused."""

    batches: Batches | None
    """None where verl cannot cut a generation alike."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """verl's key, with a plus before one that its files do not have -> value."""
    refused: list[Refusal] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        return [*MAIN, *(f"{key}={hydra(value)}" for key, value in self.overrides.items())]

    @property
    def text(self) -> list[str]:
        """For a shell: one override a line."""
        words = self.words
        lines = [" ".join(words[: len(MAIN)]), *(f"    {shlex.quote(word)}" for word in words[len(MAIN) :])]
        return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def command_line(recipe: Recipe, words: Sequence[str]) -> CommandLine:
    """``words``: the recipe's path and what the command line changes of it. With changes verl is given the objective itself, and not
    the file that has another."""
    objective = words[0] if len(words) == 1 else recipe.resolved.get("objective", {})
    sizes = arithmetic(recipe)
    misfits = list(unfit(sizes, recipe.launch.num_machines))
    cut = None if misfits else batches(sizes)
    refused, left, overrides = [*refusals(recipe), *misfits], [], {}
    for said in _said(recipe, cut, objective, shlex.join(words)):
        if isinstance(said, Set):
            overrides[said.key] = said.value
        elif isinstance(said, Refusal):
            refused.append(said)
        else:
            left.append(said)
    return CommandLine(cut, overrides, refused, left)


def _said(recipe: Recipe, sizes: Batches | None, objective: Any, words: str) -> Iterator[Said]:
    yield from translated.policy(recipe)
    yield from prepared.prompts(recipe, words)
    if sizes is not None:
        yield from translated.cut(recipe, sizes)
        yield from translated.optimizer(recipe, sizes)
    yield from translated.sharding(recipe)
    yield from translated.rollout(recipe)
    yield from prepared.rewards(recipe)
    yield from translated.objective(recipe, objective)
    if sizes is not None:
        yield from translated.run(recipe, sizes)
        yield from translated.evaluation(recipe, sizes)
        yield from _slower(recipe, sizes)
    yield from _unread(recipe)


def _slower(recipe: Recipe, sizes: Batches) -> Iterator[Left]:
    """Controllers that move at every optimizer step under TRL; verl's driver sees whole generations."""
    for knob in knobs(recipe):
        if knob.clock != "rollout" and sizes.updates != 1:
            why = f"its controller moves once a generation in verl, of {sizes.updates} optimizer steps"
            yield Left(knob.key, why, "widen what it does in one move as many times, or make a generation one step")


def _unread(recipe: Recipe) -> Iterator[Left]:
    """Keys that the recipe states for TRL alone."""
    for key in sorted(recipe.trainer.keys() - READ):
        yield Left(f"trainer.{key}", "is TRL's own", "state what verl has for it, or leave it out")
