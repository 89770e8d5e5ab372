"""Keys that people bring from TRL's own scripts, open-r1, verl, OpenRLHF and older releases, and where each of them lives here.

``PLACES`` gives a place of the recipe and a sentence; ``NOWHERE`` says why there is none. A key that TRL's config still has and
another block owns stands in ``owned.py``, verl's in ``verl_keys.py``.
"""

from __future__ import annotations

from entropostat.recipe.verl_keys import COLUMN, LORA, PER_PROCESS, SOURCES, TOLD

Place = tuple[str, str]
"""(a key of the recipe, what to know of it; empty where the place says all)."""


TRLS: dict[str, Place] = {
    # ModelConfig
    "model_name_or_path": ("model.path", "a hub id or a folder"),
    "model_revision": ("model.revision", ""),
    "torch_dtype": ("model.dtype", "of the master weights"),
    "dtype": ("model.dtype", "of the master weights"),
    "attn_implementation": ("model.attn_implementation", ""),
    "use_peft": ("model.peft", LORA),
    "lora_r": ("model.peft.r", LORA),
    "lora_alpha": ("model.peft.lora_alpha", LORA),
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
    "dataset_name": (SOURCES, "such as {maths: {hub: {path: org/name, prompt: question, answer: answer}}}"),
    "datasets": (SOURCES, "one name for each; data.curriculum can order them"),
    "dataset_mixture": (SOURCES, "one name for each; data.curriculum can order them"),
    "dataset_config": (f"{COLUMN}.name", ""),
    "dataset_train_split": (f"{COLUMN}.split", ""),
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
    "per_gpu_train_batch_size": ("trainer.per_device_train_batch_size", PER_PROCESS),
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
    "dataset_prompt_column": (f"{COLUMN}.prompt", ""),
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

OPENRLHF: dict[str, Place] = {
    "advantage_estimator": ("objective.advantages", "such as [grpo: {}]; `entropostat methods` lists them"),
    "init_kl_coef": ("objective.penalties.kl_ref.coef", ""),
    "kl_target": ("objective.penalties.kl_ref.coef", "a controller such as {pid: {signal: kl, target: ...}}"),
    "eps_clip": ("objective.loss.trl.epsilon", ""),
    "lambd": ("objective.advantages.gae.lam", ""),
    "input_key": (f"{COLUMN}.prompt", ""),
    "label_key": (f"{COLUMN}.answer", ""),
    "prompt_data": (SOURCES, ""),
    "generate_max_len": ("trainer.max_completion_length", ""),
    "rollout_batch_size": (
        "trainer.generation_batch_size",
        "completions of a generation: prompts times num_generations",
    ),
    "n_samples_per_prompt": ("trainer.num_generations", ""),
    "micro_train_batch_size": ("trainer.per_device_train_batch_size", PER_PROCESS),
    "num_episodes": ("trainer.num_train_epochs", ""),
    "max_epochs": ("trainer.num_iterations", ""),
    "use_wandb": ("tracking.wandb", "written tracking: {wandb: {}}"),
    "ckpt_path": ("output_dir", ""),
    "save_path": ("output_dir", ""),
    "actor_learning_rate": ("trainer.learning_rate", ""),
    "critic_learning_rate": ("critic.learning_rate", ""),
    "zero_stage": ("launch.strategy", "zero1, zero2 or zero3"),
    "pretrain": ("model.path", ""),
    "reward_pretrain": ("reward.model.path", "written reward: [model: {path: org/name}]"),
    "remote_rm_url": ("reward.function.path", "a function of yours asks the server"),
}

BLOCKS_OF_VERL: dict[str, Place] = {
    "actor_rollout_ref": ("model", "the policy; its loss is objective.loss, its sampling sampler, its batches trainer"),
    "algorithm": (
        "objective",
        "adv_estimator is objective.advantages, a KL in the reward objective.advantages.kl_reward",
    ),
    "policy_loss": ("objective.loss", ""),
    "rollout": ("sampler", "n is trainer.num_generations; vLLM's options are trainer.vllm_*"),
    "actor": ("model", "its loss is objective.loss, its batches trainer"),
    "ref": ("objective.penalties.kl_ref", "which is what needs a reference"),
}
"""Its keys stand in verl_keys.py."""

PLACES: dict[str, Place] = {**BLOCKS_OF_VERL, **TOLD, **OPENRLHF, **OPEN_R1, **FORMER, **TRLS}

_CUT = "a prompt is never cut; leave out of the data what is too long"
_EIGHT = "weights of 8 bits are not supported; use model.load_in_4bit, or none"
_FORMAT = "weights are always saved as safetensors"
NOWHERE: dict[str, str] = {
    "prompt_max_len": _CUT,
    "truncation": _CUT,
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
