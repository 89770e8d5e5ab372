"""Train one recipe from start to end in this process (one of several, under accelerate)."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate.utils import set_seed
from transformers import PrinterCallback, ProgressCallback
from trl import GRPOConfig

from entropostat import checkpoints
from entropostat.atomic import write_whole
from entropostat.compare.table import table
from entropostat.environment import FOLDER_NOTE
from entropostat.faults import in_one_line
from entropostat.gate import check
from entropostat.lock import Lock
from entropostat.readers.run_folder import Run
from entropostat.recipe.foreign_code import check_code
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.resume import fingerprint
from entropostat.reward.scoring import Scorer
from entropostat.reward.unrewarded import unrewarded
from entropostat.rl.control import Control
from entropostat.trainers.build.models import load_tokenizer, vocabulary_size
from entropostat.trainers.build.policy import find_model, is_zero3, load_policy, peft_config
from entropostat.trainers.build.recipe_rewards import load_rewards, load_verifiers, reward_weights
from entropostat.trainers.build.teacher import load_teacher
from entropostat.trainers.evaluation.callback import Evaluation
from entropostat.trainers.faults import check_devices, check_vllm_server, check_world, faults_in_one_line, way_on
from entropostat.trainers.kinds import CONFIGS, make_trainer
from entropostat.trainers.measurement import measurement
from entropostat.trainers.model.shards import engine
from entropostat.trainers.packages import check_hub, check_packages
from entropostat.trainers.prompts import check_template, lay_out, load_data, tell
from entropostat.trainers.publish import publish
from entropostat.trainers.ranks import on_all_ranks
from entropostat.trainers.records.files import record_files, write_run_file
from entropostat.trainers.records.progress import Progress
from entropostat.trainers.records.trackers import attach_trackers
from entropostat.trainers.references import check_references
from entropostat.trainers.rollout.group_ranks import GroupRanks
from entropostat.trainers.state.interrupt import stop_file, stop_on_signal
from entropostat.trainers.state.run_folder import go_on_in, new_run_folder
from entropostat.trainers.state.saving import check_engine
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
    prompts = load_data(recipe)
    on_all_ranks(check_references, recipe, scorer, prompts)
    order = lay_out(recipe, config, prompts)
    config.max_steps = config.max_steps if config.max_steps > 0 else order.steps
    path = find_model(recipe)
    tokenizer = load_tokenizer(path, revision=recipe.model.revision)
    stop = stop_tokens(recipe.sampler.stop, tokenizer)
    check_template(tokenizer, order.dataset)
    load_rewards(recipe, scorer, prompts.train, path, config)
    folder = checkpoint.parent if checkpoint else on_all_ranks(new_run_folder, recipe.run_dir, lock)
    config.output_dir = str(folder)
    if config.process_index == 0:
        if note := os.environ.get(FOLDER_NOTE):
            Path(note).write_text(str(folder))
        write_whole(folder / "recipe.yaml", recipe.dump())
        facts = {"name": recipe.name, "seed": recipe.seed, "world_size": config.world_size, "steps": config.max_steps}
        facts |= {"vocabulary": vocabulary_size(path, revision=recipe.model.revision), "k": config.num_generations}
        write_run_file(folder, {**facts, "command": command, "stages": order.edges, "device": str(config.device)})
        tell(prompts)
        print(f"{recipe.name}: {config.max_steps} steps -> {folder}", file=sys.stderr, flush=True)

    trainer = make_trainer(
        recipe,
        model=load_policy(recipe, path, sharded=is_zero3(config)),
        teacher=load_teacher(recipe, tokenizer),
        reward_funcs=scorer.functions or [unrewarded],
        args=config,
        train_dataset=order.dataset,
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
    trainer.answer_keys = (lambda: scorer.answers) if scorer.columns else None
    scorer.ranks = GroupRanks(trainer)
    trainer.prompts = prompts  # its files stay for the processes that read ahead
    trainer.fingerprint = lambda step: fingerprint(recipe, step)
    trainer.create_model_card = lambda **_: None  # type: ignore[method-assign]  # TRL's: final/ has one of its own
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    evaluation = Evaluation(trainer, measurement(recipe, trainer, scorer, prompts.tests, path), recipe.evaluate.every)
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
        "report_to": tracking.trackers,
        "run_name": recipe.name,
        "disable_tqdm": True,
        "shuffle_dataset": False,  # the order of prompts is the curriculum's
        "reward_weights": reward_weights(recipe) or None,
        "log_completions": False,
        "hub_strategy": "end",  # the final policy goes up alone, and what lies beside it stays here
    }
    if tracking.trackio is not None:
        fields["project"] = tracking.trackio.project
    return CONFIGS[recipe.kind](**{**fields, **recipe.trainer_fields})


def finish(recipe: Recipe, trainer: Any, evaluation: Evaluation, command: str) -> int:
    """Save the policy, write the summary, and print it."""
    state, folder = trainer.state, Path(trainer.args.output_dir)
    stopped = state.global_step < state.max_steps
    rows = [row for row in state.log_history if "loss" in row]
    if not stopped:
        publish(recipe, trainer, folder, evaluation.latest, rows[-1] if rows else {})
    if trainer.accelerator.is_main_process:
        if not stopped and FOLDER_NOTE not in os.environ:
            print(table([Run.read(folder)]))
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
