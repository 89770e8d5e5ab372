"""Train one recipe from start to end in this process (one of several, under accelerate)."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import sys
import warnings
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate.utils import gather_object, set_seed
from transformers import PrinterCallback, ProgressCallback
from trl import GRPOConfig
from trl.models import unwrap_model_for_generation

from entropostat import checkpoints
from entropostat.atomic import write_whole
from entropostat.compare.table import table
from entropostat.data.curriculum import Order, plan_order
from entropostat.data.dataset import to_dataset, with_system
from entropostat.data.example import Example
from entropostat.data.registry import SOURCES
from entropostat.data.split import Split, split
from entropostat.environment import FOLDER_NOTE
from entropostat.faults import in_one_line
from entropostat.gate import check
from entropostat.lock import Lock
from entropostat.readers.run_folder import Run
from entropostat.recipe.foreign_code import check_code
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.resume import fingerprint
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer
from entropostat.reward.unrewarded import unrewarded
from entropostat.rl.control import Control
from entropostat.trainers.build.models import load_tokenizer, vocabulary_size
from entropostat.trainers.build.policy import find_model, is_zero3, load_policy, peft_config
from entropostat.trainers.build.recipe_rewards import load_rewards, load_verifiers
from entropostat.trainers.build.teacher import load_teacher
from entropostat.trainers.evaluation.callback import Evaluation
from entropostat.trainers.evaluation.measure import EvaluateSettings, evaluate
from entropostat.trainers.faults import check_devices, check_vllm_server, check_world, faults_in_one_line, way_on
from entropostat.trainers.kinds import CONFIGS, make_trainer
from entropostat.trainers.model.shards import engine, gathered
from entropostat.trainers.packages import check_hub, check_packages
from entropostat.trainers.ranks import on_all_ranks
from entropostat.trainers.records.files import record_files, write_run_file
from entropostat.trainers.records.progress import Progress
from entropostat.trainers.records.trackers import attach_trackers
from entropostat.trainers.references import check_references
from entropostat.trainers.state.interrupt import stop_file, stop_on_signal
from entropostat.trainers.state.run_folder import go_on_in, new_run_folder
from entropostat.trainers.state.saving import check_engine, save_policy
from entropostat.trainers.trl.config import prompts_per_generation
from entropostat.trainers.trl.stops import stop_tokens
from entropostat.trainers.watch.alerts import notify
from entropostat.trainers.watch.diagnosis import Diagnosis


def run_recipe(recipe: Recipe, allow_code: bool = False, resume: str | None = None, command: str = "") -> int:
    """Exit code: 0 done, or saved for a restart; 130 interrupted after saving.

    Raises RecipeError for what `plan` calls an error, SetupError for what else stops a run before it starts.
    """
    check(recipe)
    transformers.utils.logging.set_verbosity_error()
    # TRL 1.16 itself still reads the name that transformers warns about.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning)
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells every try to reach the Hub
    command = command or shlex.join(["entropostat", "train", str(recipe.path)])
    with Lock() as lock:
        return run_locked(recipe, allow_code, resume, command, lock)


def run_locked(recipe: Recipe, allow_code: bool, resume: str | None, command: str, lock: Lock) -> int:
    """The same with the ``lock`` that keeps other processes out of the run's folder."""
    with in_one_line(recipe.name, recipe.run_dir):
        check_code(recipe, allow_code)
        config = training_config(recipe, Path(recipe.output_dir))
        check_world(config.world_size)
        checkpoint = on_all_ranks(checkpoints.find, recipe, resume)
        scorer = load_verifiers(recipe, allow_code)
        trainer, evaluation = prepare(recipe, config, scorer, checkpoint, command, lock)
        if checkpoint:
            check_engine(trainer, checkpoint, allow_code)
    with faults_in_one_line(trainer, command):
        try:
            with stop_on_signal(trainer):
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        finally:
            scorer.close()
        return finish(recipe, trainer, evaluation, command)


def prepare(
    recipe: Recipe, config: GRPOConfig, scorer: Scorer, checkpoint: Path | None, command: str, lock: Lock
) -> tuple[Any, Evaluation]:
    """The trainer with its callbacks, and the run folder with its first records."""
    control = Control.build(recipe.objective)
    check_packages(config)
    if checkpoint:
        checkpoints.check(recipe, checkpoint, config.world_size)
        on_all_ranks(go_on_in, checkpoint, lock)
    check_devices()
    check_hub(config)
    check_vllm_server(config)
    set_seed(recipe.seed)
    pools, tests = load_data(recipe)
    on_all_ranks(check_references, recipe, scorer, pools, tests)
    order = plan_prompts(recipe, config, pools)
    config.max_steps = config.max_steps if config.max_steps > 0 else order.steps
    path = find_model(recipe)
    tokenizer = load_tokenizer(path, revision=recipe.model.revision)
    stop = stop_tokens(recipe.sampler.stop, tokenizer)
    load_rewards(recipe, scorer, pools, path, config)
    folder = checkpoint.parent if checkpoint else on_all_ranks(new_run_folder, recipe.run_dir, lock)
    config.output_dir = str(folder)
    if config.process_index == 0:
        if note := os.environ.get(FOLDER_NOTE):
            Path(note).write_text(str(folder))
        write_whole(folder / "recipe.yaml", recipe.dump())
        facts = {"name": recipe.name, "seed": recipe.seed, "world_size": config.world_size, "steps": config.max_steps}
        facts |= {"vocabulary": vocabulary_size(path, revision=recipe.model.revision), "k": config.num_generations}
        write_run_file(folder, {**facts, "command": command, "stages": order.edges, "device": str(config.device)})
        print(f"{recipe.name}: {config.max_steps} steps -> {folder}", file=sys.stderr, flush=True)

    trainer = make_trainer(
        recipe,
        model=load_policy(recipe, path, sharded=is_zero3(config)),
        teacher=load_teacher(recipe, tokenizer),
        reward_funcs=scorer.functions or [unrewarded],
        args=config,
        train_dataset=to_dataset(order.examples, recipe.data.system, order.sources),
        processing_class=tokenizer,
        peft_config=peft_config(recipe),
        objective=control,
        optimizer=recipe.optimizer,
        dropout=recipe.model.dropout,
        shaping=recipe.shaping,
        faults=recipe.faults,
        stop=stop,
        sampler=recipe.sampler,
        tracking=recipe.tracking,
    )
    trainer.answer_keys = (lambda: scorer.answers) if scorer.verifiers else None
    trainer.fingerprint = lambda step: fingerprint(recipe, step)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    evaluation = Evaluation(trainer, measurement(recipe, trainer, scorer, tests, path), recipe.evaluate.every)
    # The files come first: that of metrics must be open for the rows of an evaluation at the start.
    for callback in (
        *record_files(folder, trainer, trainer.monitors, recipe.tracking.completions),
        Progress(folder.name),
        evaluation,
    ):
        trainer.add_callback(callback)
    if recipe.tracking.diagnose:
        names = [term.name for _, term in recipe.terms]
        trainer.add_callback(Diagnosis(len(tokenizer), names, notify, folder / "metrics.jsonl"))
    attach_trackers(trainer, recipe, folder)  # last: at the end it closes what the others write to
    return trainer, evaluation


def training_config(recipe: Recipe, folder: Path) -> GRPOConfig:
    """TRL's config: the recipe's trainer block, its sampler, and what follows from the model and the machine."""
    sampler, tracking = recipe.sampler, recipe.tracking
    cpu = not torch.cuda.is_available()
    fields: dict[str, Any] = {
        "output_dir": str(folder),
        "seed": recipe.seed,
        "use_cpu": cpu,
        "bf16": recipe.model.dtype == "bfloat16",
        "temperature": sampler.temperature,
        "top_p": sampler.top_p,
        "top_k": sampler.top_k,
        "min_p": sampler.min_p,
        "repetition_penalty": sampler.repetition_penalty,
        "logging_steps": tracking.log_every,
        "report_to": [name for name in ("wandb", "trackio") if getattr(tracking, name) is not None],
        "run_name": recipe.name,
        "disable_tqdm": True,
        "shuffle_dataset": False,  # the order of prompts is the curriculum's
        "reward_weights": [VERIFIERS.build(t.kind, t.options).weight for t in recipe.reward] or None,
        "log_completions": False,
    }
    if tracking.trackio is not None:
        fields["project"] = tracking.trackio.project
    return CONFIGS[recipe.kind](**{**fields, **recipe.trainer_fields})


def load_data(recipe: Recipe) -> tuple[Split, dict[str, list[Example]]]:
    """The training and held-out sides of every source, and the evaluation sets by name."""
    load = lambda term: SOURCES.build(term.kind, term.options).load(recipe.folder)
    extra = {name: load(term) for name, term in recipe.sets.items()}
    tested = [example for examples in extra.values() for example in examples]
    pools = split({name: load(term) for name, term in recipe.sources.items()}, recipe.data.held_out, tested)
    shaped = {**{name: held for name, held in pools.held_out.items() if held}, **extra}
    return pools, {name: [with_system(e, recipe.data.system) for e in held] for name, held in shaped.items()}


def plan_prompts(recipe: Recipe, config: GRPOConfig, pools: Split) -> Order:
    """The prompts in the order of training: of max_steps, of the curriculum's stages, or of num_train_epochs passes."""
    slices = config.steps_per_generation or config.gradient_accumulation_steps
    cycle = Fraction(slices * config.num_iterations, config.gradient_accumulation_steps)
    stages = [(stage.source, stage.steps) for stage in recipe.data.curriculum or []]
    how: dict[str, Any] = {
        "prompts": prompts_per_generation(config),
        "steps_per_generation": cycle,
        "seed": recipe.seed,
    }
    if config.max_steps > 0:
        return plan_order(pools.train, stages, total_steps=config.max_steps, **how)
    order = plan_order(pools.train, stages, **how)
    if stages or config.num_train_epochs == 1:
        return order
    total = max(int(order.steps * config.num_train_epochs), 1)
    return replace(plan_order(pools.train, stages, total_steps=total, **how), steps=total)


def measurement(recipe: Recipe, trainer: Any, scorer: Scorer, tests: dict[str, list[Example]], path: str) -> Any:
    """A function that evaluates the policy as it is, on all ranks together."""
    block = recipe.evaluate
    settings = EvaluateSettings(
        max_new_tokens=block.max_new_tokens or trainer.max_completion_length,
        prompts=block.prompts,
        samples=block.samples,
        k=tuple(block.k),
        greedy=block.greedy,
        seed=block.seed,
        strategies=scorer.strategies,
        judged=scorer.judge is not None,
        stop=tuple(trainer.eos_token_ids),
        decoding=trainer.decoding,
    )
    reference: Any = None if trainer.anchor.moves else trainer.ref_model
    if block.reference and reference is None:
        reference = load_policy(recipe, path).to(trainer.accelerator.device).eval()

    def measure() -> dict[str, float]:
        if not block.prompts or not tests:
            return {}
        accelerator = trainer.accelerator
        # Under ZeRO-3 both models are gathered here: ranks evaluate different prompts, so nothing may be sharded.
        with contextlib.ExitStack() as stack:
            model = stack.enter_context(unwrap_model_for_generation(trainer.model_wrapped, accelerator))
            frozen = reference
            if block.reference and reference is trainer.ref_model:
                frozen = stack.enter_context(unwrap_model_for_generation(reference, accelerator))
            elif block.reference:
                stack.enter_context(gathered(reference))
            return evaluate(
                model,
                trainer.processing_class,
                tests,
                scorer.verify,
                settings,
                learned=scorer.learned,
                reference=frozen if block.reference else None,
                rank=accelerator.process_index,
                world=accelerator.num_processes,
                gather_object=gather_object if accelerator.num_processes > 1 else lambda records: records,
            )

    return measure


def finish(recipe: Recipe, trainer: Any, evaluation: Evaluation, command: str) -> int:
    """Save the policy, write the summary, and print it."""
    state, folder = trainer.state, Path(trainer.args.output_dir)
    stopped = state.global_step < state.max_steps
    if not stopped:
        save_policy(trainer, folder / "final")
    if trainer.accelerator.is_main_process:
        if not stopped and FOLDER_NOTE not in os.environ:
            print(table([Run.read(folder)]))
        rows = [row for row in state.log_history if "loss" in row]
        last = {key: rows[-1][key] for key in ("entropy", "kl", "grad_norm") if rows and key in rows[-1]}
        summary = {"name": recipe.name, "seed": recipe.seed, "steps": state.global_step, "finished": not stopped}
        summary |= {"engine": engine(trainer.model_wrapped)}
        summary |= {**last, **evaluation.latest}
        write_whole(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
        if stopped:
            print(
                f"stopped at step {state.global_step} of {state.max_steps}. {way_on(folder, command)}", file=sys.stderr
            )
    restart = on_all_ranks(stop_file)  # of a batch job, which starts again where the file is left
    trainer.accelerator.wait_for_everyone()
    if restart is not None and not stopped and trainer.accelerator.is_main_process:
        restart.unlink()
    return 130 if stopped and restart is None else 0
