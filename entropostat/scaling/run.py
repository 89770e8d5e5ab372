"""What of a recipe decides memory and communication, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Literal

from entropostat.recipe.adapter import lora, of_model
from entropostat.recipe.arithmetic import arithmetic, trainer_value
from entropostat.recipe.blocks import Critic
from entropostat.recipe.facts import (
    extra_forwards,
    needs,
    option,
    partition_reader,
    reads_reference,
    rollout_needs,
    teacher_readers,
)
from entropostat.recipe.machine_blocks import STRATEGIES
from entropostat.recipe.peft_block import Peft
from entropostat.recipe.recipe import Recipe
from entropostat.rl.needs import STATISTICS
from entropostat.scaling.shape import Shape, UnknownShape
from entropostat.scaling.source import of_weights

PROMPT = 512
"""Tokens of a prompt where nothing in the recipe bounds them."""


@dataclass(frozen=True)
class Run:
    """Tokens are counted padded, so that every formula is an upper bound over the lengths of real completions."""

    shape: Shape
    strategy: str
    world: int
    machines: int = 1
    micro: int = 1
    """Sequences of one forward."""
    accumulation: int = 1
    """Micro-batches of a process in an optimizer step."""
    slices: int = 1
    """Micro-batches of a process in a generation."""
    updates: Fraction = Fraction(1)
    """Optimizer steps per generation."""
    prompt: int = PROMPT
    completion: int = 512
    dtype: int = 4
    """Bytes of a weight as the recipe loads it."""
    mixed: bool = False
    """bf16 or fp16 in the forward: autocast, or the engine's."""
    checkpointing: bool = True
    muon: bool = False
    peft: Peft | None = None
    """The adapter that is trained."""
    in_4_bits: bool = False
    """The matrices of the base below it."""
    started: bool = False
    """It is one that the recipe starts from: the reference is a copy of it, and not the model without it."""
    reference: bool = False
    moving: Literal["", "ema", "reset"] = ""
    evaluated_reference: bool = False
    radius: bool = False
    teacher: Shape | None = None
    """Of the model that distillation compares with."""
    teacher_dtype: int = 2
    """Bytes of its weights, as the recipe loads them."""
    critic: Critic | None = None
    log_z_layers: int = 0
    """Of the head for log Z; 0: there is none."""
    own_pass: bool = False
    """TRL's head does not give all that is read: our own tiled pass over the vocabulary runs beside it."""
    scored: int = 0
    """Forwards over a whole generation besides training's: old log-probs, and the reference's apart from these."""
    buffered: int = 4
    """Float32 values that a rollout keeps for each token."""
    vllm: Literal["", "colocate", "server"] = ""
    vllm_share: float = 0.3
    vllm_sleeps: bool = False
    vllm_parallel: int = 1
    gathers: bool = True
    """ZeRO-3 makes the weights whole to generate."""
    gpu: int | None = None
    """Bytes of one GPU, where known."""
    device: Literal["gpu", "cpu"] = "gpu"

    @property
    def length(self) -> int:
        return self.prompt + self.completion

    @property
    def tokens(self) -> int:
        """Of one micro-batch: B (P + T)."""
        return self.micro * self.length

    @property
    def rollouts(self) -> int:
        """Sequences of a process in a generation."""
        return self.micro * self.slices

    @property
    def shards(self) -> int:
        """Processes that share what the strategy splits."""
        return 1 if self.strategy in ("single", "ddp") else self.world

    @property
    def splits_weights(self) -> bool:
        return self.strategy in ("zero3", "zero3-offload", "fsdp2")

    def under(self, strategy: str) -> Run:
        """The same with another strategy; a single process is one."""
        one = strategy == "single"
        return replace(self, strategy=strategy, world=1 if one else self.world, machines=1 if one else self.machines)


def of_recipe(recipe: Recipe, shape: Shape) -> Run:
    """The recipe's own run. ``auto`` counts as 16 bits, which published weights have.

    Raises UnknownShape where completions have no bound.
    """
    sizes, model = arithmetic(recipe), recipe.model
    value = partial(trainer_value, recipe)
    if value("max_completion_length") is None:
        raise UnknownShape("trainer.max_completion_length is null, and completions have no bound; give it a number")
    half = model.dtype != "float32"
    bf16, fp16 = recipe.trainer.get("bf16", model.dtype == "bfloat16"), value("fp16")
    forwards = extra_forwards(recipe, sizes)
    movements = {option(term, slot, "reference") for slot, term in recipe.terms}
    moves = bool(movements & {"ema", "reset"})
    gigabytes = recipe.launch.gpu_memory
    reference = reads_reference(recipe)
    asked = needs(recipe) | rollout_needs(recipe)
    return Run(
        shape=shape,
        strategy=recipe.launch.strategy,
        world=sizes.world,
        machines=recipe.launch.num_machines,
        micro=sizes.micro,
        accumulation=sizes.accumulation,
        slices=sizes.steps_per_generation,
        updates=sizes.updates,
        prompt=prompt_tokens(recipe)[0],
        completion=value("max_completion_length"),
        dtype=2 if half else 4,
        mixed=bool(bf16 or fp16),
        checkpointing=value("gradient_checkpointing"),
        muon=recipe.optimizer.muon is not None,
        peft=lora(model),
        in_4_bits=model.load_in_4bit,
        started=of_model(model) is not None,
        reference=reference,
        moving="ema" if "ema" in movements else "reset" if "reset" in movements else "",
        evaluated_reference=recipe.evaluate.reference and (not reference or moves or lora(model) is not None),
        teacher=teacher_shape(recipe),
        teacher_dtype=4 if recipe.teacher.dtype == "float32" or recipe.teacher.build is not None else 2,
        radius=recipe.optimizer.step_radius is not None,
        critic=recipe.critic if recipe.kind == "ppo" else None,
        log_z_layers=(option(recipe.objective["loss"], "loss", "layers") or 0) if partition_reader(recipe) else 0,
        own_pass=not asked.isdisjoint(STATISTICS),
        scored=any(why.startswith("old") for why in forwards),
        buffered=4 + sum(width(recipe, name) for name in rollout_needs(recipe)),
        vllm=value("vllm_mode") if value("use_vllm") else "",
        vllm_share=value("vllm_gpu_memory_utilization"),
        vllm_sleeps=value("vllm_enable_sleep_mode"),
        vllm_parallel=value("vllm_tensor_parallel_size"),
        gathers=value("ds3_gather_for_generation"),
        gpu=None if gigabytes is None else round(gigabytes * 2**30),
    )


def teacher_shape(recipe: Recipe) -> Shape | None:
    """None where no term reads one. Raises UnknownShape with what to do."""
    if not teacher_readers(recipe) or not recipe.teacher.stated:
        return None
    try:
        return of_weights(recipe.teacher)[0]
    except UnknownShape as error:
        raise UnknownShape(f"the teacher: {error}") from error


def width(recipe: Recipe, field: str) -> int:
    """Numbers of a batch field for one token: a proxy distribution has as many as it may have entries."""
    tops = [option(term, slot, "top_k") for slot, term in recipe.terms]
    return max(top for top in tops if top) if field in ("min_p_ids", "min_p_probs") else 1


def prompt_tokens(recipe: Recipe) -> tuple[int, str]:
    """Tokens of the longest prompt, and why: the bound of vLLM's context, the chain's own length, or an assumption."""
    if recipe.data.max_prompt_tokens is not None:
        return recipe.data.max_prompt_tokens, "data.max_prompt_tokens"
    context = recipe.trainer.get("vllm_max_model_length")
    if recipe.trainer.get("use_vllm") and context is not None:
        return max(1, context - trainer_value(recipe, "max_completion_length")), "trainer.vllm_max_model_length"
    lengths = [term.options.get("length", 2) for term in recipe.sources.values() if term.kind == "chain"]
    if recipe.model.build is not None and len(lengths) == len(recipe.sources):
        return 2 * max(lengths), "the chains"
    return PROMPT, "assumed"


def strategies(run: Run) -> list[str]:
    """Those that fit the number of processes."""
    return list(STRATEGIES) if run.world > 1 else ["single"]
