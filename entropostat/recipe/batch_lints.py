"""Lints of sizes: batches, generations, processes, data and evaluation."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.adapter import lora
from entropostat.recipe.arithmetic import Arithmetic, pool, stages, total_steps, trainer_value
from entropostat.recipe.facts import reads_reference
from entropostat.recipe.lint import Lint
from entropostat.recipe.owned import UNMEASURED
from entropostat.recipe.recipe import Recipe


def lints(recipe: Recipe, sizes: Arithmetic) -> list[Lint]:
    rules = (generation(recipe, sizes), processes(recipe, sizes), data(recipe, sizes), rest(recipe))
    return [lint for rule in rules for lint in rule]


def generation(recipe: Recipe, sizes: Arithmetic) -> Iterator[Lint]:
    if sizes.group < 2 and recipe.kind != "ppo":
        yield Lint(
            "error",
            "trainer.num_generations",
            f"{sizes.group} completion per prompt has nothing to be compared with",
            "use at least 2",
        )
    if {"generation_batch_size", "steps_per_generation"} <= set(recipe.trainer):
        yield Lint(
            "error",
            "trainer.generation_batch_size",
            "cannot be set together with steps_per_generation: each follows from the other",
            "keep steps_per_generation",
        )
    whole = sizes.micro * sizes.world
    if sizes.generation % whole:
        yield Lint(
            "error",
            "trainer.generation_batch_size",
            f"{sizes.generation} is not a multiple of {whole}, the sequences of one micro-batch on all processes",
            f"use {max(1, round(sizes.generation / whole)) * whole}",
        )
    if sizes.generation % sizes.group:
        yield Lint(
            "error",
            "trainer.num_generations",
            f"a generation of {sizes.generation} sequences does not hold whole groups of {sizes.group}",
            "make per_device_train_batch_size x processes x steps_per_generation a multiple of num_generations",
        )
    if sizes.updates.denominator != 1 and sizes.updates > 1:
        yield Lint(
            "warning",
            "trainer.gradient_accumulation_steps",
            f"a generation serves {sizes.updates} updates: some updates mix two generations",
            "make steps_per_generation x num_iterations a multiple of gradient_accumulation_steps",
        )


def processes(recipe: Recipe, sizes: Arithmetic) -> Iterator[Lint]:
    launch = recipe.launch
    if launch.strategy == "single" and sizes.world > 1:
        yield Lint(
            "error", "launch.strategy", f"single cannot start {sizes.world} processes", "use ddp, a zero stage or fsdp2"
        )
    if sizes.world % launch.num_machines:
        yield Lint(
            "error",
            "launch.num_processes",
            f"{sizes.world} processes do not divide over {launch.num_machines} machines",
            "num_processes counts the processes of all machines",
        )
    if launch.num_machines > 1 and recipe.slurm.nodes != launch.num_machines:
        yield Lint(
            "warning",
            "slurm.nodes",
            f"{recipe.slurm.nodes} node(s) are asked for, but launch.num_machines is {launch.num_machines}",
            "give both the same number",
        )


def data(recipe: Recipe, sizes: Arithmetic) -> Iterator[Lint]:
    planned = stages(recipe, sizes)
    for stage in planned:
        size = pool(recipe, stage.source)
        key = f"data.sources.{stage.source}"
        if size is not None and size < sizes.prompts:
            yield Lint(
                "warning",
                key,
                f"{size} training prompts at most do not fill one generation of {sizes.prompts} prompts",
                "raise its size, or lower the batch",
            )
        elif size is not None and size < stage.prompts:
            yield Lint(
                "note",
                key,
                f"the curriculum needs {stage.prompts} prompts and it has at most {size}: each is seen "
                f"{stage.prompts / size:.1f} times or more",
                "raise its size for fresh prompts only",
            )
    if planned and planned[-1].end <= planned[-1].begin:
        yield Lint("warning", "trainer.max_steps", "ends training before the last stage begins", "raise or remove it")
    if planned and total_steps(recipe) is not None and total_steps(recipe) != sum(s.asked for s in planned):
        asked = sum(stage.asked for stage in planned)
        yield Lint(
            "note",
            "trainer.max_steps",
            f"{total_steps(recipe)} steps, while the stages of the curriculum add up to {asked}: the last one gives way",
            "leave max_steps out",
        )
    if not planned and total_steps(recipe) is None and "num_train_epochs" in recipe.trainer:
        yield Lint(
            "note", "trainer.num_train_epochs", "counts passes over the planned order of prompts", "prefer max_steps"
        )


def rest(recipe: Recipe) -> Iterator[Lint]:
    if recipe.evaluate.prompts and not recipe.data.held_out and not recipe.evaluate.sets:
        yield Lint(
            "error",
            "data.held_out",
            "0 leaves no prompts to evaluate on",
            "hold some out, name evaluate.sets, or set evaluate.prompts: 0",
        )
    for term in recipe.reward:
        if term.kind == "function":
            yield Lint(
                "note",
                f"reward.{term.name}.path",
                f"runs your own code, {term.options['path']}",
                "train with --allow-code",
            )
    if trainer_value(recipe, "save_strategy") == "best":
        yield Lint(
            "error",
            "trainer.save_strategy",
            f"best would save nothing: {UNMEASURED}",
            "use steps, with save_total_limit",
        )
    if trainer_value(recipe, "sync_ref_model") and not reads_reference(recipe):
        yield Lint(
            "warning",
            "trainer.sync_ref_model",
            "there is no reference model to update: no term reads one",
            "add kl_ref to objective.penalties",
        )
    halves, sharded = recipe.model.dtype in ("bfloat16", "float16"), "zero" in recipe.launch.strategy
    if halves and not sharded and lora(recipe.model) is None:
        yield Lint(
            "warning",
            "model.dtype",
            f"master weights in {recipe.model.dtype} round small updates away",
            "use float32 with trainer.bf16: true, LoRA, or a zero strategy",
        )
