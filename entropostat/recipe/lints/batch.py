"""Lints of sizes: batches, generations, processes, data, evaluation and checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.arithmetic import pool, stages, total_steps, trainer_value
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule
from entropostat.recipe.owned import UNMEASURED


def generation(case: Case) -> Iterator[Lint]:
    recipe, sizes = case.recipe, case.sizes
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


def processes(case: Case) -> Iterator[Lint]:
    recipe, sizes = case.recipe, case.sizes
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


def data(case: Case) -> Iterator[Lint]:
    recipe, sizes = case.recipe, case.sizes
    planned = stages(recipe, sizes)
    for stage, source in ((one, name) for one in planned for name in one.shares):
        share = stage.shares[source]
        size = pool(recipe, source)
        key = f"data.sources.{source}"
        if size is not None and size < sizes.prompts * share:
            yield Lint(
                "warning",
                key,
                f"{size} training prompts at most do not fill {'its share of ' if share < 1 else ''}one generation of "
                f"{sizes.prompts} prompts",
                "raise its size, or lower the batch",
            )
        elif size is not None and size < stage.prompts * share:
            yield Lint(
                "note",
                key,
                f"the curriculum needs {stage.prompts * share:.0f} prompts and it has at most {size}: each is seen "
                f"{stage.prompts * share / size:.1f} times or more",
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


def nothing_held_out(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    if recipe.evaluate.prompts and not recipe.data.held_out and not recipe.evaluate.sets:
        yield Lint(
            "error",
            "data.held_out",
            "0 leaves no prompts to evaluate on",
            "hold some out, name evaluate.sets, or set evaluate.prompts: 0",
        )


def best_checkpoint(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    if trainer_value(recipe, "save_strategy") == "best":
        yield Lint(
            "error",
            "trainer.save_strategy",
            f"best would save nothing: {UNMEASURED}",
            "use steps, with save_total_limit",
        )


def backend(case: Case) -> Iterator[Lint]:
    if case.recipe.trainer.get("ddp_backend") is not None and case.sizes.world == 1:
        yield Lint(
            "error",
            "trainer.ddp_backend",
            "says how processes talk, and there is one",
            "leave it out, or set launch.num_processes",
        )


RULES: tuple[Rule, ...] = (generation, processes, data, nothing_held_out, best_checkpoint, backend)
