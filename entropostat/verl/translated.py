"""A recipe's blocks as keys of verl's configuration, block by block: what verl has, what has no equivalent there, what cannot be said.

The names come from the one table of keys, ``recipe/verl_keys.py``; here stand the values. What a run takes from its objective (clip,
penalties, advantages) goes with the objective; of that, only what verl must know as well is written beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from entropostat.recipe.adapter import of_model
from entropostat.recipe.arithmetic import total_steps, trainer_value
from entropostat.recipe.evaluated import sampling
from entropostat.recipe.facts import corrected_sampler, option, reads_reference
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.terms import Term
from entropostat.recipe.verl_keys import ACTOR, ROLLOUT, THEIRS
from entropostat.verl.batches import Batches
from entropostat.verl.carries import AGGREGATION, VERLS, Refusal
from entropostat.verl.own_losses import NoCounterpart, own_loss

TARGET = "entropostat.verl.PolicyLoss"
MODE = "entropostat"
REF = "actor_rollout_ref.ref"
DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
SCHEDULES = {"constant": "constant", "constant_with_warmup": "constant", "cosine": "cosine"}
PROMPT_TOKENS = 1024
"""verl must have a bound, and its own of 512 would stop the run."""


class Set(NamedTuple):
    key: str
    """Dotted, of verl; a plus before one that its files do not have."""
    value: Any


class Left(NamedTuple):
    """What verl does otherwise, or leaves to others."""

    key: str
    """Dotted, of the recipe."""
    why: str
    fix: str

    def __str__(self) -> str:
        return f"{self.key}: {self.why}; {self.fix}"


Said = Set | Left | Refusal


def same(ours: str, value: Any) -> Set:
    """Under verl's name for it."""
    return Set(THEIRS[ours], value)


def policy(recipe: Recipe) -> Iterator[Said]:
    model, strategy = recipe.model, recipe.launch.strategy
    if model.path is not None:
        yield same("model.path", model.path)
        if of_model(model) is not None:
            yield Refusal(
                "model.path", "is an adapter, and verl starts from whole weights", "merge it: entropostat merge"
            )
    if model.revision is not None:
        yield Refusal(
            "model.revision", "verl loads a model's newest commit", "download it, and give model.path its folder"
        )
    if model.attn_implementation is not None:
        yield Set("+" + THEIRS["model.attn_implementation"], model.attn_implementation)
    if model.dropout == "keep":
        yield Left("model.dropout", "verl trains with the dropout that the model's configuration has", "set it there")
    whole = "float32" if strategy.startswith("zero") else model.dtype  # DeepSpeed's master weights
    yield same("model.dtype", DTYPES.get(whole, "fp32"))
    yield same("trainer.gradient_checkpointing", trainer_value(recipe, "gradient_checkpointing"))
    if model.peft is not None:
        yield same("model.peft.r", model.peft.r)
        yield same("model.peft.lora_alpha", model.peft.lora_alpha)
        yield same("model.peft.target_modules", model.peft.target_modules)
        for key in sorted(model.peft.model_fields_set - {"r", "lora_alpha", "target_modules", "merge"}):
            yield Left(f"model.peft.{key}", "verl's LoRA has rank, alpha and modules", "leave it out")


def sharding(recipe: Recipe) -> Iterator[Said]:
    strategy = recipe.launch.strategy
    yield Set(f"{ACTOR}.strategy", "fsdp2")
    if strategy in ("ddp", "zero1", "zero2"):
        yield Set(f"{ACTOR}.fsdp_config.reshard_after_forward", False)
    if strategy == "zero3-offload":
        yield Set(f"{ACTOR}.fsdp_config.param_offload", True)
        yield Set(f"{ACTOR}.fsdp_config.optimizer_offload", True)
    if strategy in ("ddp", "zero1"):
        yield Left(
            "launch.strategy", f"in place of {strategy} FSDP2 shards weights, too", "nothing: results are the same"
        )


def optimizer(recipe: Recipe, sizes: Batches) -> Iterator[Said]:
    yield same("trainer.learning_rate", trainer_value(recipe, "learning_rate"))
    yield same("trainer.weight_decay", trainer_value(recipe, "weight_decay"))
    yield same("trainer.max_grad_norm", trainer_value(recipe, "max_grad_norm"))
    kind, warmup = str(trainer_value(recipe, "lr_scheduler_type")), trainer_value(recipe, "warmup_steps") or 0
    if kind not in SCHEDULES:
        fix = f"take one of {', '.join(SCHEDULES)}"
        yield Refusal("trainer.lr_scheduler_type", f"verl has no schedule {kind}", fix)
        return
    yield same("trainer.lr_scheduler_type", SCHEDULES[kind])
    warmup = 0 if kind == "constant" else warmup  # which TRL has without one
    if 0 < warmup < 1:
        yield Set(f"{ACTOR}.optim.lr_warmup_steps_ratio", warmup)
    else:
        yield same("trainer.warmup_steps", sizes.generations(warmup) if warmup else 0)
    if sizes.updates != 1 and (warmup or kind == "cosine"):
        why = f"verl moves the learning rate once a generation, of {sizes.updates} optimizer steps"
        yield Left("trainer.lr_scheduler_type", why, "nothing: the same curve in coarser steps")
    for half in ("bf16", "fp16"):
        if (value := recipe.trainer.get(half)) is not None and value != (half == "bf16"):
            yield Left(f"trainer.{half}", "verl computes in bfloat16", f"state {ACTOR}.fsdp_config.dtype")


def cut(recipe: Recipe, sizes: Batches) -> Iterator[Said]:
    """Batches and lengths."""
    yield same("trainer.generation_batch_size", sizes.prompts)
    yield same("trainer.num_generations", sizes.group)
    yield same("trainer.gradient_accumulation_steps", sizes.mini)
    yield same("trainer.num_iterations", sizes.epochs)
    yield same("trainer.per_device_train_batch_size", sizes.micro)
    for worker in (ROLLOUT, REF):
        yield Set(f"{worker}.log_prob_micro_batch_size_per_gpu", sizes.micro)
    longest = trainer_value(recipe, "max_completion_length")
    if longest is None:
        yield Refusal("trainer.max_completion_length", "verl's rollout has a bound", "give a number")
        return
    yield same("trainer.max_completion_length", longest)
    whole, most = trainer_value(recipe, "vllm_max_model_length"), recipe.data.max_prompt_tokens
    if most is None and whole is not None and whole > longest:
        most = whole - longest
    if most is None:
        why = f"verl must have a bound, and {PROMPT_TOKENS} is written: longer prompts are dropped"
        yield Left("data.max_prompt_tokens", why, "state it; `entropostat data` tells how long they are")
    yield same("data.max_prompt_tokens", most or PROMPT_TOKENS)
    yield Set("data.filter_overlong_prompts", True)


def rollout(recipe: Recipe) -> Iterator[Said]:
    yield Set(f"{ROLLOUT}.name", "vllm")
    yield same("sampler.temperature", recipe.sampler.temperature)
    yield same("sampler.top_p", recipe.sampler.top_p)
    yield same("sampler.top_k", recipe.sampler.top_k or -1)
    yield same("trainer.vllm_tensor_parallel_size", trainer_value(recipe, "vllm_tensor_parallel_size") or 1)
    for key in ("vllm_gpu_memory_utilization", "vllm_max_model_length"):
        if (value := recipe.trainer.get(key)) is not None:
            yield same(f"trainer.{key}", value)
    if corrected_sampler(recipe):
        mode, cap = (trainer_value(recipe, f"vllm_importance_sampling_{x}") for x in ("mode", "clip_max"))
        term = (
            f"truncated_is: {{cap: {cap:g}}}"
            if mode == "token_truncate"
            else "truncated_is, or rejection or sequence_mask"
        )
        fix = f"state objective.weights: [{term}], which both engines carry, and vllm_importance_sampling_correction: false"
        yield Left(
            "trainer.vllm_importance_sampling_correction", f"is TRL's own ({mode}); verl would train without", fix
        )
    if recipe.trainer.get("vllm_mode") == "server":
        yield Left(
            "trainer.vllm_mode",
            "verl's rollout shares the GPUs of training",
            f"or take trainer_mode {MODE}_separate_async",
        )


def objective(recipe: Recipe, given: Any) -> Iterator[Said]:
    """``given``: what the worker reads it from, the recipe's path or the block itself."""
    block = f"{ACTOR}.policy_loss"
    yield Set("trainer.v1.trainer_mode", MODE)
    yield Set(f"{block}._target_", TARGET)
    yield Set(f"+{block}.objective", given)
    yield Set(f"+{block}.seed", recipe.seed)
    yield same("seed", recipe.seed)
    yield same("objective.advantages", "grpo")  # verl trains a critic otherwise; the chain of the objective decides
    try:
        loss = own_loss(recipe.objective["loss"])
    except NoCounterpart:  # which ``refusals`` says
        return
    kind = option(loss, "loss", "type")
    if kind in AGGREGATION:
        yield same("objective.loss.ppo_clip.type", AGGREGATION[kind])
    if kind == "dr_grpo":
        yield Set(f"{ACTOR}.loss_scale_factor", trainer_value(recipe, "max_completion_length"))
    yield from _bounds(loss)
    for term in recipe.objective["data"]:
        if term.kind in VERLS:
            yield Set(VERLS[term.kind], True)
            yield Set(VERLS[term.kind].replace(".enable", ".metric"), "reward")
            why = "verl samples until enough groups have a spread, and has neither rounds nor a surplus"
            yield Left(
                f"objective.data.{term.name}", why, "bound it by algorithm.filter_groups.max_inflight_gen_batches"
            )
    if recipe.trainer.get("mask_truncated_completions"):
        fix = "leave it out, or punish them: objective.rewards.overlong"
        yield Left("trainer.mask_truncated_completions", "verl trains on truncated completions", fix)
    if reads_reference(recipe):
        yield Set(f"{REF}.strategy", "fsdp2")


def _bounds(loss: Term) -> Iterator[Said]:
    """For verl's own record of a run: the loss takes them from the objective."""
    low, high = (option(loss, "loss", key) for key in ("epsilon", "epsilon_high"))
    if isinstance(low, int | float):
        yield same("objective.loss.ppo_clip.epsilon", low)
        high = low if high is None else high
    if isinstance(high, int | float):
        yield same("objective.loss.ppo_clip.epsilon_high", high)
    if (dual := option(loss, "loss", "dual")) is not None and not isinstance(dual, dict):
        yield same("objective.loss.ppo_clip.dual", dual)


def run(recipe: Recipe, sizes: Batches) -> Iterator[Said]:
    """How long, on how many machines, and what is kept of it."""
    steps = total_steps(recipe)
    if steps is not None:
        total = sizes.generations(steps)
        yield same("trainer.max_steps", total)
        yield same("trainer.num_train_epochs", total)  # as often as it takes: an epoch has a generation at least
        if total * sizes.updates != steps:
            why = f"verl ends with a generation, after {total * sizes.updates} optimizer steps"
            yield Left("trainer.max_steps", why, f"or take a multiple of {sizes.updates}")
    else:
        epochs = trainer_value(recipe, "num_train_epochs")
        if epochs != int(epochs):
            yield Refusal(
                "trainer.num_train_epochs", f"verl makes whole epochs, not {epochs:g}", "give trainer.max_steps"
            )
        yield same("trainer.num_train_epochs", int(epochs))
    saves = trainer_value(recipe, "save_strategy") != "no"
    yield same("trainer.save_steps", sizes.generations(trainer_value(recipe, "save_steps")) if saves else -1)
    if (limit := recipe.trainer.get("save_total_limit")) is not None:
        yield same("trainer.save_total_limit", limit)
    yield same("launch.num_machines", recipe.launch.num_machines)
    yield same("slurm.gpus_per_node", sizes.gpus // recipe.launch.num_machines)
    yield same("output_dir", str(recipe.run_dir))
    yield same("name", recipe.name)
    wandb = recipe.tracking.wandb
    yield same("tracking.wandb.project", wandb.project if wandb else "entropostat")
    yield same("tracking", ["console", *recipe.tracking.trackers])
    if wandb and wandb.mode == "offline":
        yield Left("tracking.wandb.mode", "verl takes it from the environment", "set WANDB_MODE=offline")
    if "slurm" in recipe.resolved:
        yield Left(
            "slurm",
            "verl runs on a Ray cluster",
            "start Ray on the nodes in a job of your own, and run this on the first",
        )
    if "faults" in recipe.resolved:
        yield Left(
            "faults", "verl leaves out a step whose gradient is not finite, and goes on", "watch actor/grad_norm"
        )


def evaluation(recipe: Recipe, sizes: Batches) -> Iterator[Said]:
    block, drawn, steps = recipe.evaluate, sampling(recipe), total_steps(recipe)
    if not block.prompts:
        yield same("evaluate.every", -1)
        yield Set("trainer.val_before_train", False)
        return
    last = sizes.generations(steps) if steps is not None else -1
    yield same("evaluate.every", sizes.generations(block.every) if block.every else last)
    if not block.every and steps is None:
        yield Left("evaluate.every", "verl evaluates at the end only where it does in between", "state it")
    yield same("evaluate.samples", block.samples)
    yield Set(f"{ROLLOUT}.val_kwargs.do_sample", True)
    for key in ("temperature", "top_p"):
        yield Set(f"{ROLLOUT}.val_kwargs.{key}", getattr(drawn, key))
    yield Set(f"{ROLLOUT}.val_kwargs.top_k", drawn.top_k or -1)
    if block.max_new_tokens is not None:
        yield Left("evaluate.max_new_tokens", "verl evaluates at the length of training", "leave it out")
    why = "verl reports mean, best and majority of the samples, and decodes greedily or by sampling, not both"
    yield Left("evaluate", f"{why}; best@k is pass@k by bootstrap", "read val-core/ and val-aux/ of its log")
