"""The evaluation of a recipe without its training: of any model, by the very code that measures a run at its end."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
import torch
import transformers
from trl import GRPOConfig

from entropostat import checkpoints
from entropostat.data.dataset import Rows
from entropostat.data.example import Example
from entropostat.faults import RunFault, in_one_line, reason
from entropostat.manifest import MANIFEST
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.evaluated import sampling
from entropostat.recipe.foreign_code import check_code
from entropostat.recipe.recipe import Recipe
from entropostat.reward.scoring import Scorer
from entropostat.reward.unrewarded import unrewarded
from entropostat.trainers.build.models import load_tokenizer
from entropostat.trainers.build.policy import find_model, load_policy
from entropostat.trainers.build.recipe_rewards import load_rewards, load_verifiers
from entropostat.trainers.faults import check_devices, check_vllm_server
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.measurement import measurement
from entropostat.trainers.packages import check_packages
from entropostat.trainers.prompts import load_data
from entropostat.trainers.run import training_config
from entropostat.trainers.trl.config import prompts_per_generation
from entropostat.visible import visible

KEPT = (
    *("chat_template_kwargs", "max_completion_length", "generation_kwargs", "cache_implementation", "use_vllm"),
    *("use_transformers_continuous_batching", "transformers_continuous_batching_config", "cast_lm_head_to_fp32"),
    *("use_liger_kernel", "bf16", "fp16", "tf32", "use_cpu"),
)
"""Keys of ``trainer`` that say how the policy is asked and how it answers; those of vLLM are kept beside them. What is
left out says how it learns, on how many processes, and what is written.
"""
Result = dict[str, Any]
Told = Callable[[Result], None]


def evaluate_models(recipe: Recipe, models: Mapping[str, Recipe], allow_code: bool, tell: Told) -> None:
    """Measure each of ``models``, by name: ``recipe`` with another ``model`` block. What comes out is told by the main process,
    model by model, so that a fault costs none of those before. All of a folder that can be seen without opening it is looked at
    before the first is opened.

    Raises SetupError for what cannot be had or opened, RunFault for what breaks in the middle.
    """
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch, in_one_line(recipe.name, recipe.run_dir):
        check_code(recipe, allow_code)
        for name, opened in models.items():
            check_folder(name, opened.model.path)
        config = asking_config(recipe, Path(scratch))
        check_packages(config)
        check_devices()
        check_vllm_server(config)
        check_engine(config, len(models))
        scorer = load_verifiers(recipe, allow_code)
        try:
            prompts = load_data(recipe)
            tests = prompts.tests
            if not recipe.evaluate.prompts or not tests:
                raise ValueError(
                    "there is nothing to evaluate: set evaluate.prompts, and data.held_out or evaluate.sets"
                )
            initial = _initial(recipe, scorer, prompts.train, config)
            for name, opened in models.items():
                metrics, world = _measured(
                    recipe, opened, name, scorer, tests, initial, asking_config(recipe, Path(scratch))
                )
                if not config.process_index:
                    tell(_result(recipe, name, tests, metrics, world))
        finally:
            scorer.close()


def asking_config(recipe: Recipe, folder: Path) -> GRPOConfig:
    """TRL's config as in training, as far as it says how the policy is asked and how it answers.

    A generation of it is never drawn, but vLLM's engine is made for as many sequences at once as one has.
    """
    kept = {key: value for key, value in recipe.trainer.items() if key in KEPT or key.startswith("vllm_")}
    sizes = arithmetic(recipe)
    own = {
        "kind": "grpo",
        "num_generations": 2,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "steps_per_generation": max(1, sizes.micro * sizes.steps_per_generation // 2) if kept.get("use_vllm") else 1,
        "gradient_checkpointing": False,
        "max_steps": 1,
        "save_strategy": "no",
    }
    tracking = recipe.tracking.model_copy(update={"wandb": None, "trackio": None})
    return training_config(replace(recipe, trainer={**kept, **own}, reward=[], tracking=tracking), folder)


def check_folder(name: str, path: str | None) -> None:
    """Raises ValueError for a damaged checkpoint of ours, and for a folder that is none."""
    if path is None:
        return
    folder = Path(path)
    if (folder / MANIFEST).is_file() and (wrong := checkpoints.damage(folder)) is not None:
        raise ValueError(f"--model {name}: the checkpoint is not complete ({wrong})")
    if folder.is_dir() and not any((folder / file).is_file() for file in ("config.json", "adapter_config.json")):
        last = checkpoints.whole(folder, deep=False)[0]
        ways = [str(way) for way in (folder / "final", last) if way is not None and way.is_dir()]
        raise ValueError(
            f"--model {name}: holds no model, neither config.json nor adapter_config.json; "
            f"{'give ' + ' or '.join(ways) if ways else 'give the folder of one'}"
        )


def check_engine(config: GRPOConfig, models: int) -> None:
    """Raises ValueError for what a process with a whole model of its own cannot be part of."""
    if config.deepspeed_plugin is not None or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        raise ValueError("evaluate: every process holds the whole model; launch it without DeepSpeed and FSDP")
    if config.use_vllm and models > 1:
        raise ValueError(
            f"evaluate: vLLM is started for one model, and there are {models}; call it once for each, or set "
            "trainer.use_vllm=false"
        )


def _initial(recipe: Recipe, scorer: Scorer, pools: Mapping[str, Rows], config: GRPOConfig) -> str:
    """Where the recipe's own policy lies, if it is needed: a reward model may be made of it, and a reference is it."""
    built = any(term.options.get("build") is not None for term in recipe.reward)
    path = find_model(recipe) if built or recipe.evaluate.reference else ""
    load_rewards(recipe, scorer, pools, path, config)
    return path


def _measured(
    recipe: Recipe,
    opened: Recipe,
    name: str,
    scorer: Scorer,
    tests: Mapping[str, Sequence[Example]],
    initial: str,
    config: GRPOConfig,
) -> tuple[dict[str, float], int]:
    if not config.process_index:
        print(visible(f"{recipe.name}: evaluating {name}"), file=sys.stderr, flush=True)
    trainer = asking(recipe, opened, tests, config)
    try:
        measure = measurement(recipe, trainer, scorer, tests, initial)
        try:
            return measure(), trainer.accelerator.num_processes
        except Exception as error:
            text = reason(error, recipe.run_dir)
            if text is None:
                raise
            raise RunFault(f"{recipe.name}: --model {name}: {text}") from error
    finally:
        del trainer
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def asking(recipe: Recipe, opened: Recipe, tests: Mapping[str, Sequence[Example]], config: GRPOConfig) -> Any:
    """A trainer that will not train: it asks, samples and stops as the recipe's does."""
    path = find_model(opened)
    example = next(example for examples in tests.values() for example in examples)
    trainer = EntropyGRPOTrainer(
        model=load_policy(opened, path),
        reward_funcs=[unrewarded],
        args=config,
        train_dataset=datasets.Dataset.from_list([{"prompt": example.prompt}] * prompts_per_generation(config)),
        processing_class=load_tokenizer(path, revision=opened.model.revision),
        objective={"loss": {"trl": {}}},
        dropout=recipe.model.dropout,
        stop=recipe.sampler.stop,
        sampler=recipe.sampler,
    )
    trainer.model_wrapped = trainer.accelerator.prepare_model(trainer.model, evaluation_mode=True)
    return trainer


def _result(
    recipe: Recipe, name: str, tests: Mapping[str, Sequence[Example]], metrics: dict[str, float], world: int
) -> Result:
    block, drawn = recipe.evaluate, sampling(recipe)
    return {
        "model": name,
        "recipe": str(recipe.path),
        "name": recipe.name,
        "seed": block.seed,
        "prompts": {of: min(block.prompts, len(examples)) for of, examples in tests.items()},
        "samples": block.samples,
        "temperature": drawn.temperature,
        "top_p": drawn.top_p,
        "top_k": drawn.top_k,
        "max_new_tokens": drawn.max_new_tokens,
        "by": "vLLM" if recipe.trainer.get("use_vllm") else "transformers",
        "processes": world,
        "metrics": metrics,
    }
