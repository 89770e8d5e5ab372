"""Keys of verl's configuration and where each of them lives here: one table, read in both directions.

A recipe that has one of verl's keys is told our place (foreign_keys.py); ``plan --engine verl`` writes verl's key for ours
(entropostat/verl/command_line.py); docs/coming-from-verl.md shows the rows. Names are those of verl 0.9.
"""

from __future__ import annotations

from typing import NamedTuple

ACTOR = "actor_rollout_ref.actor"
MODEL = "actor_rollout_ref.model"
ROLLOUT = "actor_rollout_ref.rollout"
SOURCES = "data.sources"
COLUMN = "data.sources.<name>.hub"
PER_PROCESS = "of one process; the product with gradient_accumulation_steps and the processes is the batch"
LORA = "model.peft: {} turns LoRA on"
_LONGER = "a prompt is never cut; a longer one is dropped, and counted"


class Key(NamedTuple):
    verl: str
    """Dotted, as hydra takes it."""
    ours: str
    """A key of the recipe."""
    said: str = ""
    """What to know of our place; empty where it says all."""
    told: bool = True
    """The last word of verl's key is nobody else's, so that in a recipe it is known by itself."""


KEYS: tuple[Key, ...] = (
    # What is trained on
    Key("data.train_files", SOURCES, "one name for each file or data set"),
    Key("data.val_files", "evaluate.sets", "a source for each"),
    Key("data.prompt_key", f"{COLUMN}.prompt"),
    Key("data.max_prompt_length", "data.max_prompt_tokens", _LONGER),
    Key("data.filter_overlong_prompts", "data.max_prompt_tokens", _LONGER),
    Key("data.max_response_length", "trainer.max_completion_length"),
    Key(
        "data.train_batch_size",
        "trainer.generation_batch_size",
        "completions of a generation: verl counts prompts, here times num_generations",
    ),
    Key("data.seed", "seed", told=False),
    # The policy
    Key(f"{MODEL}.path", "model.path", told=False),
    Key(f"{MODEL}.lora_rank", "model.peft.r", LORA),
    Key(f"{MODEL}.lora_alpha", "model.peft.lora_alpha", LORA),
    Key(f"{MODEL}.target_modules", "model.peft.target_modules", LORA),
    Key(f"{MODEL}.override_config.attn_implementation", "model.attn_implementation"),
    Key(f"{MODEL}.enable_gradient_checkpointing", "trainer.gradient_checkpointing"),
    Key(f"{ACTOR}.fsdp_config.model_dtype", "model.dtype", "of the master weights"),
    # Batches and the optimizer
    Key(f"{ACTOR}.ppo_mini_batch_size", "trainer.gradient_accumulation_steps", "micro-batches of one optimizer step"),
    Key(f"{ACTOR}.ppo_micro_batch_size_per_gpu", "trainer.per_device_train_batch_size", PER_PROCESS),
    Key(f"{ACTOR}.ppo_micro_batch_size", "trainer.per_device_train_batch_size", PER_PROCESS),
    Key(f"{ACTOR}.ppo_epochs", "trainer.num_iterations"),
    Key(f"{ACTOR}.optim.lr", "trainer.learning_rate"),
    Key(f"{ACTOR}.optim.lr_scheduler_type", "trainer.lr_scheduler_type", told=False),
    Key(f"{ACTOR}.optim.lr_warmup_steps", "trainer.warmup_steps"),
    Key(f"{ACTOR}.optim.lr_warmup_steps_ratio", "trainer.warmup_steps", "a value below 1 is a share of all steps"),
    Key(f"{ACTOR}.optim.weight_decay", "trainer.weight_decay", told=False),
    Key(f"{ACTOR}.optim.clip_grad", "trainer.max_grad_norm"),
    Key(f"{ACTOR}.grad_clip", "trainer.max_grad_norm"),
    Key("critic.cliprange_value", "critic.clip"),
    # The objective
    Key(f"{ACTOR}.loss_agg_mode", "objective.loss.ppo_clip.type", "dapo: mean over tokens; grpo: over sequences"),
    Key(f"{ACTOR}.clip_ratio_low", "objective.loss.ppo_clip.epsilon"),
    Key(f"{ACTOR}.clip_ratio", "objective.loss.ppo_clip.epsilon"),
    Key(f"{ACTOR}.clip_ratio_high", "objective.loss.ppo_clip.epsilon_high"),
    Key(f"{ACTOR}.clip_ratio_c", "objective.loss.ppo_clip.dual", "verl's 3 is off here unless it is written"),
    Key(f"{ACTOR}.tau_pos", "objective.loss.sapo.tau_pos", told=False),
    Key(f"{ACTOR}.tau_neg", "objective.loss.sapo.tau_neg", told=False),
    Key(f"{ACTOR}.policy_loss.clip_cov_ratio", "objective.weights.clip_cov.fraction"),
    Key(f"{ACTOR}.policy_loss.clip_cov_lb", "objective.weights.clip_cov.low"),
    Key(f"{ACTOR}.policy_loss.clip_cov_ub", "objective.weights.clip_cov.high"),
    Key(f"{ACTOR}.policy_loss.kl_cov_ratio", "objective.penalties.kl_cov.fraction"),
    Key(f"{ACTOR}.policy_loss.ppo_kl_coef", "objective.penalties.kl_cov.coef"),
    Key(f"{ACTOR}.entropy_coeff", "objective.penalties.entropy_bonus.coef"),
    Key(
        f"{ACTOR}.kl_loss_coef",
        "objective.penalties.kl_ref.coef",
        "the gradient is exact here; gradient: pathwise is verl's",
    ),
    Key(f"{ACTOR}.use_kl_loss", "objective.penalties.kl_ref.coef"),
    Key(f"{ACTOR}.kl_loss_type", "objective.penalties.kl_ref.divergence"),
    Key("algorithm.adv_estimator", "objective.advantages", "such as [grpo: {}]; `entropostat methods` lists them"),
    Key("algorithm.norm_adv_by_std_in_grpo", "objective.advantages.grpo.scale", "false is none"),
    Key("algorithm.gamma", "objective.advantages.gae.gamma", told=False),
    Key("algorithm.lam", "objective.advantages.gae.lam", told=False),
    Key("algorithm.use_kl_in_reward", "objective.advantages.kl_reward.coef"),
    Key("algorithm.kl_penalty", "objective.advantages.kl_reward.divergence"),
    Key("algorithm.kl_ctrl", "objective.penalties.kl_ref.coef", "a number, or a controller such as {pid: {...}}"),
    Key(
        "algorithm.kl_ctrl.kl_coef",
        "objective.penalties.kl_ref.coef",
        "in the loss; objective.advantages.kl_reward.coef is one in the reward",
    ),
    Key(
        "algorithm.filter_groups",
        "objective.data.dynamic_sampling",
        "written objective: {data: [dynamic_sampling: {}]}; max_num_gen_batches 10 is max_rounds: 9",
    ),
    # Sampling
    Key(f"{ROLLOUT}.n", "trainer.num_generations", told=False),
    Key(f"{ROLLOUT}.temperature", "sampler.temperature", told=False),
    Key(f"{ROLLOUT}.top_p", "sampler.top_p", told=False),
    Key(f"{ROLLOUT}.top_k", "sampler.top_k", told=False),
    Key(f"{ROLLOUT}.tensor_model_parallel_size", "trainer.vllm_tensor_parallel_size"),
    Key(f"{ROLLOUT}.gpu_memory_utilization", "trainer.vllm_gpu_memory_utilization"),
    Key(f"{ROLLOUT}.max_model_len", "trainer.vllm_max_model_length"),
    Key(f"{ROLLOUT}.val_kwargs.n", "evaluate.samples", told=False),
    # Rewards
    Key(
        "reward.custom_reward_function",
        "reward.function.path",
        "written reward: [function: {path: 'my_rewards:score'}]",
    ),
    Key(
        "reward.reward_model",
        "reward.model",
        "written reward: [model: {path: org/name}]; a verifier has a name of its own",
    ),
    # The run
    Key("trainer.total_epochs", "trainer.num_train_epochs"),
    Key("trainer.total_training_steps", "trainer.max_steps", "optimizer steps; verl counts generations"),
    Key("trainer.save_freq", "trainer.save_steps", "optimizer steps; verl counts generations"),
    Key("trainer.max_actor_ckpt_to_keep", "trainer.save_total_limit"),
    Key("trainer.test_freq", "evaluate.every", "optimizer steps; verl counts generations"),
    Key("trainer.val_before_train", "evaluate.every", "the start and the end are always evaluated"),
    Key("trainer.nnodes", "launch.num_machines", "and slurm.nodes"),
    Key("trainer.n_gpus_per_node", "slurm.gpus_per_node", "launch.num_processes counts those of all machines"),
    Key("trainer.project_name", "tracking.wandb.project"),
    Key("trainer.experiment_name", "name"),
    Key("trainer.logger", "tracking", "wandb, trackio and tensorboard, each a key of it"),
    Key("trainer.default_local_dir", "output_dir"),
    Key("trainer.resume_mode", "entropostat train --resume"),
)


THEIRS: dict[str, str] = {key.ours: key.verl for key in reversed(KEYS)}
"""verl's key for one of ours: of several the first in the table."""

TOLD: dict[str, tuple[str, str]] = {key.verl.rpartition(".")[2]: (key.ours, key.said) for key in KEYS if key.told}
"""verl's keys as they are met in a recipe, by their last word -> our place and what to know of it."""


def markdown() -> list[str]:
    """The rows of docs/coming-from-verl.md, one for each place of ours."""
    rows: dict[str, list[Key]] = {}
    for key in KEYS:
        rows.setdefault(key.ours, []).append(key)
    return [f"| {_codes(keys)} | `{ours}` | {_once(keys)} |" for ours, keys in rows.items()]


def _codes(keys: list[Key]) -> str:
    return ", ".join(f"`{key.verl.removeprefix('actor_rollout_ref.')}`" for key in keys)


def _once(keys: list[Key]) -> str:
    return "; ".join(dict.fromkeys(key.said for key in keys if key.said))
