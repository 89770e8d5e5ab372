"""Keys that people bring from TRL's own scripts, open-r1, verl, OpenRLHF and older releases, and where each of them lives here.

``PLACES`` gives a place of the recipe and a sentence; ``NOWHERE`` says why there is none. A key that TRL's config still has and
another block owns stands in ``owned.py``.
"""

from __future__ import annotations

Place = tuple[str, str]
"""(a key of the recipe, what to know of it; empty where the place says all)."""

_SOURCE = "data.sources"
_HUB = "data.sources.<name>.hub"
_STEPS = "of one process; the product with gradient_accumulation_steps and the processes is the batch"
_LORA = "model.peft: {} turns LoRA on"

TRLS: dict[str, Place] = {
    # ModelConfig
    "model_name_or_path": ("model.path", "a hub id or a folder"),
    "model_revision": ("model.revision", ""),
    "torch_dtype": ("model.dtype", "of the master weights"),
    "dtype": ("model.dtype", "of the master weights"),
    "attn_implementation": ("model.attn_implementation", ""),
    "use_peft": ("model.peft", _LORA),
    "lora_r": ("model.peft.r", _LORA),
    "lora_alpha": ("model.peft.lora_alpha", _LORA),
    "lora_dropout": ("model.peft.lora_dropout", "and model.dropout: keep, or it does nothing"),
    "lora_target_modules": ("model.peft.target_modules", "a list of names, or a pattern of whole names as text"),
    "lora_modules_to_save": ("model.peft.modules_to_save", ""),
    "use_rslora": ("model.peft.use_rslora", ""),
    "use_dora": ("model.peft.use_dora", ""),
    "load_in_4bit": ("model.load_in_4bit", "beside model.peft, which is what is trained then"),
    "bnb_4bit_quant_type": ("model.bnb_4bit_quant_type", ""),
    "use_bnb_nested_quant": ("model.use_bnb_nested_quant", ""),
    "disable_dropout": ("model.dropout", "off is the default"),
    # ScriptArguments and the mixture of datasets
    "dataset_name": (_SOURCE, "such as {maths: {hub: {path: org/name, prompt: question, answer: answer}}}"),
    "datasets": (_SOURCE, "one name for each; data.curriculum can order them"),
    "dataset_mixture": (_SOURCE, "one name for each; data.curriculum can order them"),
    "dataset_config": (f"{_HUB}.name", ""),
    "dataset_train_split": (f"{_HUB}.split", ""),
    "dataset_test_split": (
        "evaluate.sets",
        "a source for each benchmark; data.held_out keeps a share of the training data",
    ),
    "test_split_size": ("data.held_out", "a share from 0 to 1"),
    "reward_funcs": ("reward", "a list of verifiers, such as [math_verify: {}, function: {path: 'my_rewards:score'}]"),
    "reward_model_name_or_path": ("reward.model.path", "written reward: [model: {path: org/name}]"),
}
"""Fields of TRL's ModelConfig, ScriptArguments, GRPOScriptArguments and DatasetMixtureConfig."""

FORMER: dict[str, Place] = {
    "gradient_checkpointing_kwargs": ("trainer.activation_checkpointing_kwargs", ""),
    "use_transformers_paged": ("trainer.use_transformers_continuous_batching", ""),
    "vllm_importance_sampling_cap": ("trainer.vllm_importance_sampling_clip_max", ""),
    "vllm_max_model_len": ("trainer.vllm_max_model_length", ""),
    "vllm_guided_decoding_regex": ("trainer.vllm_structured_outputs_regex", ""),
    "warmup_ratio": ("trainer.warmup_steps", "a value below 1 is a share of all steps"),
    "evaluation_strategy": ("evaluate.every", "optimizer steps between evaluations"),
    "no_cuda": ("trainer.use_cpu", ""),
    "use_liger_loss": ("trainer.use_liger_kernel", ""),
    "per_gpu_train_batch_size": ("trainer.per_device_train_batch_size", _STEPS),
    "push_to_hub_model_id": ("trainer.hub_model_id", ""),
    "logging_dir": ("tracking.tensorboard", "its files go into the run's folder"),
    "max_length": ("trainer.max_completion_length", ""),
    "max_new_tokens": ("trainer.max_completion_length", ""),
    "ddp_find_unused": ("trainer.ddp_find_unused_parameters", ""),
    "vllm_nodes": ("slurm.vllm_nodes", ""),
    "tokenizer_name_or_path": ("model.path", "the tokenizer is the one beside the model"),
}
"""Fields that releases of TRL and transformers had, by other names."""

OPEN_R1: dict[str, Place] = {
    "system_prompt": ("data.system", ""),
    "dataset_prompt_column": (f"{_HUB}.prompt", ""),
    "wandb_entity": ("tracking.wandb.entity", ""),
    "wandb_project": ("tracking.wandb.project", ""),
    "wandb_run_group": ("tracking.wandb.group", ""),
    "wandb_log_unique_prompts": ("trainer.log_unique_prompts", ""),
    "hub_model_revision": ("trainer.hub_revision", ""),
    "push_to_hub_revision": ("trainer.push_to_hub", "with trainer.hub_revision; the final policy is uploaded once"),
    "benchmarks": ("evaluate.sets", "a source for each"),
    **dict.fromkeys(
        ("cosine_min_value_wrong", "cosine_max_value_wrong", "cosine_min_value_correct", "cosine_max_value_correct"),
        (
            "reward.function.options",
            "of a function of yours: reward: [function: {path: 'my_rewards:score', options: {...}}]",
        ),
    ),
    **dict.fromkeys(
        ("cosine_max_len", "repetition_n_grams", "repetition_max_penalty", "soft_punish_cache", "max_completion_len"),
        (
            "reward.function.options",
            "of a function of yours: reward: [function: {path: 'my_rewards:score', options: {...}}]",
        ),
    ),
}

VERL: dict[str, Place] = {
    "actor_rollout_ref": ("model", "the policy; its loss is objective.loss, its sampling sampler, its batches trainer"),
    "algorithm": (
        "objective",
        "adv_estimator is objective.advantages, a KL in the reward objective.advantages.kl_reward",
    ),
    "adv_estimator": ("objective.advantages", "such as [grpo: {}]; `entropostat methods` lists them"),
    "advantage_estimator": ("objective.advantages", "such as [grpo: {}]; `entropostat methods` lists them"),
    "kl_ctrl": ("objective.penalties.kl_ref.coef", "a number, or a controller such as {pid: {...}}"),
    "init_kl_coef": ("objective.penalties.kl_ref.coef", ""),
    "kl_coef": (
        "objective.penalties.kl_ref.coef",
        "in the loss; objective.advantages.kl_reward.coef is one in the reward",
    ),
    "kl_loss_coef": ("objective.penalties.kl_ref.coef", ""),
    "use_kl_loss": ("objective.penalties.kl_ref.coef", ""),
    "kl_loss_type": ("objective.penalties.kl_ref.divergence", ""),
    "use_kl_in_reward": ("objective.advantages.kl_reward.coef", ""),
    "kl_penalty": ("objective.advantages.kl_reward.divergence", ""),
    "kl_target": ("objective.penalties.kl_ref.coef", "a controller such as {pid: {signal: kl, target: ...}}"),
    "entropy_coeff": ("objective.penalties.entropy_bonus.coef", ""),
    "clip_ratio": ("objective.loss.trl.epsilon", ""),
    "eps_clip": ("objective.loss.trl.epsilon", ""),
    "clip_ratio_low": ("objective.loss.trl.epsilon", ""),
    "clip_ratio_high": ("objective.loss.trl.epsilon_high", ""),
    "clip_ratio_c": ("objective.loss.trl.delta", ""),
    "loss_agg_mode": ("objective.loss.trl.type", "dapo: mean over tokens; grpo: over sequences"),
    "policy_loss": ("objective.loss", ""),
    "norm_adv_by_std_in_grpo": ("objective.advantages.grpo.scale", ""),
    "lambd": ("objective.advantages.gae.lam", ""),
    "filter_groups": ("objective.data.dynamic_sampling", "written objective: {data: [dynamic_sampling: {}]}"),
    "train_files": (_SOURCE, "one name for each file or data set"),
    "val_files": ("evaluate.sets", "a source for each"),
    "prompt_key": (f"{_HUB}.prompt", ""),
    "input_key": (f"{_HUB}.prompt", ""),
    "label_key": (f"{_HUB}.answer", ""),
    "prompt_data": (_SOURCE, ""),
    "max_response_length": ("trainer.max_completion_length", ""),
    "generate_max_len": ("trainer.max_completion_length", ""),
    "train_batch_size": (
        "trainer.generation_batch_size",
        "completions of a generation: verl counts prompts, here times num_generations",
    ),
    "rollout_batch_size": (
        "trainer.generation_batch_size",
        "completions of a generation: prompts times num_generations",
    ),
    "n_samples_per_prompt": ("trainer.num_generations", ""),
    "ppo_mini_batch_size": ("trainer.gradient_accumulation_steps", "micro-batches of one optimizer step"),
    "ppo_micro_batch_size": ("trainer.per_device_train_batch_size", _STEPS),
    "ppo_micro_batch_size_per_gpu": ("trainer.per_device_train_batch_size", _STEPS),
    "micro_train_batch_size": ("trainer.per_device_train_batch_size", _STEPS),
    "ppo_epochs": ("trainer.num_iterations", ""),
    "total_epochs": ("trainer.num_train_epochs", ""),
    "num_episodes": ("trainer.num_train_epochs", ""),
    "max_epochs": ("trainer.num_iterations", ""),
    "total_training_steps": ("trainer.max_steps", ""),
    "nnodes": ("launch.num_machines", "and slurm.nodes"),
    "n_gpus_per_node": ("slurm.gpus_per_node", "launch.num_processes counts those of all machines"),
    "save_freq": ("trainer.save_steps", ""),
    "test_freq": ("evaluate.every", ""),
    "val_before_train": ("evaluate.every", "the start and the end are always evaluated"),
    "project_name": ("tracking.wandb.project", ""),
    "experiment_name": ("name", ""),
    "logger": ("tracking", "wandb, trackio and tensorboard, each a key of it"),
    "use_wandb": ("tracking.wandb", "written tracking: {wandb: {}}"),
    "default_local_dir": ("output_dir", ""),
    "ckpt_path": ("output_dir", ""),
    "save_path": ("output_dir", ""),
    "resume_mode": ("entropostat train --resume", ""),
    "lr": ("trainer.learning_rate", ""),
    "actor_learning_rate": ("trainer.learning_rate", ""),
    "critic_learning_rate": ("critic.learning_rate", ""),
    "grad_clip": ("trainer.max_grad_norm", ""),
    "lr_warmup_steps": ("trainer.warmup_steps", ""),
    "lr_warmup_steps_ratio": ("trainer.warmup_steps", "a value below 1 is a share of all steps"),
    "tensor_model_parallel_size": ("trainer.vllm_tensor_parallel_size", ""),
    "gpu_memory_utilization": ("trainer.vllm_gpu_memory_utilization", ""),
    "enable_gradient_checkpointing": ("trainer.gradient_checkpointing", ""),
    "zero_stage": ("launch.strategy", "zero1, zero2 or zero3"),
    "lora_rank": ("model.peft.r", _LORA),
    "target_modules": ("model.peft.target_modules", _LORA),
    "pretrain": ("model.path", ""),
    "reward_pretrain": ("reward.model.path", "written reward: [model: {path: org/name}]"),
    "remote_rm_url": ("reward.function.path", "a function of yours asks the server"),
    "reward_model": ("reward.model", "written reward: [model: {path: org/name}]; a verifier has a name of its own"),
    "custom_reward_function": ("reward.function.path", "written reward: [function: {path: 'my_rewards:score'}]"),
    "rollout": ("sampler", "n is trainer.num_generations; vLLM's options are trainer.vllm_*"),
    "actor": ("model", "its loss is objective.loss, its batches trainer"),
    "ref": ("objective.penalties.kl_ref", "which is what needs a reference"),
}
"""verl's and OpenRLHF's."""

PLACES: dict[str, Place] = {**VERL, **OPEN_R1, **FORMER, **TRLS}

_CUT = "a prompt is never cut; leave out of the data what is too long"
_EIGHT = "weights of 8 bits are not supported; use model.load_in_4bit, or none"
_FORMAT = "weights are always saved as safetensors"
NOWHERE: dict[str, str] = {
    "max_prompt_length": _CUT,
    "prompt_max_len": _CUT,
    "truncation": _CUT,
    "filter_overlong_prompts": _CUT,
    "load_in_8bit": _EIGHT,
    "lora_target_parameters": "an adapter is of layers; name them in model.peft.target_modules",
    "lora_task_type": "the policy is always a causal language model",
    "bnb_4bit_quant_storage": "it is for FSDP, with which no weights of 4 bits are trained here",
    "dataset_streaming": "a data set is read whole; data.sources.<name>.hub.size takes its first rows",
    "streaming": "a data set is read whole; data.sources.<name>.hub.size takes its first rows",
    "ignore_bias_buffers": "it is for debugging models with buffers that DDP cannot send; set trainer.ddp_broadcast_buffers",
    "overwrite_output_dir": "a run never writes over another: a new one gets a number",
    "overwrite_hub_revision": "a revision on the Hub is added to and never replaced",
    "save_safetensors": _FORMAT,
    "chat_template": "the tokenizer's is used; set it there, and give model.path the folder",
    "callbacks": "callbacks are for Python: EntropyGRPOTrainer(..., callbacks=[...])",
    "code_language": "the code rewards of open-r1 need its sandboxes; write a function, reward: [function: {...}]",
    "code_provider": "the code rewards of open-r1 need its sandboxes; write a function, reward: [function: {...}]",
    "parallel_code_exec_per_proc": "a verifier runs in a process of its own; they need no number",
    "vllm_device": "colocate shares the GPUs of the training; for others use trainer.vllm_mode: server",
    "vllm_dtype": "vLLM takes the type that the model's config.json names, and bfloat16 for float32",
    "vllm_enable_prefix_caching": "vLLM decides it",
    "half_precision_backend": "there is one; set trainer.bf16 or trainer.fp16",
    "fp16_backend": "there is one; set trainer.bf16 or trainer.fp16",
    "fp16_opt_level": "there is one; set trainer.bf16 or trainer.fp16",
    "group_by_length": "data.curriculum says the order of prompts",
    "dispatch_batches": "prompts are handed out in the planned order",
    "split_batches": "prompts are handed out in the planned order",
    "packing": "completions are padded, and never packed",
    "packing_samples": "completions are padded, and never packed",
    "apply_chat_template": "a prompt that is a conversation gets the tokenizer's template; data.system makes one of each",
    "ray_init": "there is no Ray here: launch and slurm start the processes",
    "ray_kwargs": "there is no Ray here: launch and slurm start the processes",
    "critic_warmup": "the critic trains from the first step",
    "max_seq_length": f"{_CUT}; completions end at trainer.max_completion_length",
}
"""Keys that no block has, and why."""


def foreign(key: str) -> str | None:
    """What to write instead of a key of another program; None for one that is known from none."""
    if key in NOWHERE:
        return f"there is no such key here: {NOWHERE[key]}"
    if key not in PLACES:
        return None
    place, said = PLACES[key]
    return f"use {place}" + (f": {said}" if said else "")
