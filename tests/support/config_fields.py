"""Every field of the configs, by what it does in a run: it acts, is kept, goes to vLLM, is read as by stock, or is irrelevant."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from trl import GRPOConfig

FIELDS = {f.name: f for f in dataclasses.fields(GRPOConfig)}
DEFAULTS = {
    name: f.default_factory() if callable(f.default_factory) else f.default for name, f in FIELDS.items()
}  # fmt: skip
OBJECTIVES: dict[str, Any] = {
    "TRL's loss": {"advantages": ["grpo"], "loss": "trl"},
    "TRL's loss and advantages": {"loss": "trl"},
    "a loss of ours": {"advantages": ["grpo"], "loss": "ppo_clip"},
    "a reference": {"advantages": ["grpo"], "loss": "trl", "penalties": [{"kl_ref": {"coef": 0.5}}]},
    "a moving temperature": {"advantages": ["grpo"], "loss": "trl", "scalars": [{"temperature": {"value": 0.8}}]},
}
EVALUATED = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4}
ADAPTIVE = {"use_adaptive_entropy": True, "entropy_target": 10.0, "entropy_coef": 0.02}
OURS, BARE, REFERENCE = "a loss of ours", "TRL's loss and advantages", "a reference"
MOVED = {"sync_ref_model": True, "ref_model_sync_steps": 1, "max_steps": 3}
ACT: dict[str, tuple[Any, dict[str, Any]]] = {
    "model_init_kwargs": ({"dtype": "bfloat16"}, {}),
    "router_aux_loss_coef": (0.5, {}),
    "cast_lm_head_to_fp32": (True, {"model_init_kwargs": {"dtype": "bfloat16"}}),
    "num_generations": (2, {}),
    "num_generations_eval": (2, EVALUATED),
    "max_completion_length": (4, {}),
    "shuffle_dataset": (False, {}),
    "pad_to_multiple_of": (16, {}),
    "generation_batch_size": (16, {"steps_per_generation": None}),
    "steps_per_generation": (1, {}),
    "temperature": (0.5, {}),
    "top_p": (0.3, {}),
    "top_k": (2, {}),
    "min_p": (0.9, {}),
    "generation_kwargs": ({"min_new_tokens": 8}, {}),
    "repetition_penalty": (3.0, {}),
    "cache_implementation": ("static", {}),
    "beta": (0.3, {}),
    "num_iterations": (2, {}),
    "epsilon": (0.01, {}),
    "epsilon_high": (0.01, {}),
    "delta": (1.5, {}),
    "sapo_temperature_neg": (2.0, {}),
    "sapo_temperature_pos": (2.0, {}),
    "vespo_k_pos": (1.0, {}),
    "vespo_lambda_pos": (1.0, {}),
    "vespo_k_neg": (1.0, {}),
    "vespo_lambda_neg": (1.0, {}),
    "importance_sampling_level": ("sequence", {}),
    "off_policy_mask_threshold": (0.01, {}),
    "loss_type": ("grpo", {}),
    "reward_weights": ([0.25], {}),
    "multi_objective_aggregation": ("normalize_then_sum", {}),
    "scale_rewards": ("none", {}),
    "mask_truncated_completions": (True, {}),
    "sync_ref_model": (True, {"ref_model_sync_steps": 1, "max_steps": 3}),
    "ref_model_mixup_alpha": (0.1, MOVED),
    "ref_model_sync_steps": (2, MOVED),
    "top_entropy_quantile": (0.3, {}),
    "entropy_coef": (0.5, {}),
    "use_adaptive_entropy": (True, {"entropy_target": 10.0}),
    "entropy_coef_min": (0.05, {"use_adaptive_entropy": True}),
    "entropy_coef_max": (0.021, ADAPTIVE),
    "entropy_coef_delta": (0.1, ADAPTIVE),
    "entropy_target": (10.0, {"use_adaptive_entropy": True}),
    "use_bias_correction_kl": (False, {"beta": 0.3}),
    "log_completions": (True, {}),
}
"""Field -> a value, and what has to be set beside it."""
KEPT: dict[str, Any] = {
    "chat_template_kwargs": {"enable_thinking": False},
    "max_tool_calling_iterations": 3,
    "log_multimodal": False,
    "num_completions_to_print": 2,
    "log_unique_prompts": True,
    "use_vllm": True,
    "vllm_mode": "colocate",
    "vllm_importance_sampling_correction": False,
    "vllm_importance_sampling_mode": "token_truncate",
    "vllm_importance_sampling_clip_max": 2.0,
    "vllm_importance_sampling_clip_min": 0.5,
}
"""Attributes of the trainer, by the same name, which TRL reads at work: they need tools, a chat, images or vLLM to show."""
TO_VLLM: dict[str, tuple[Any, str]] = {
    "vllm_model_impl": ("transformers", "model_impl"),
    "vllm_enable_sleep_mode": (True, "enable_sleep_mode"),
    "vllm_structured_outputs_regex": ("a+", "structured_outputs_regex"),
    "vllm_server_base_url": ("http://x:1", "server_base_url"),
    "vllm_server_host": ("x", "server_host"),
    "vllm_server_port": (1, "server_port"),
    "vllm_server_timeout": (1.0, "server_timeout"),
    "vllm_group_port": (2, "group_port"),
    "vllm_gpu_memory_utilization": (0.5, "gpu_memory_utilization"),
    "vllm_max_model_length": (64, "max_model_length"),
    "vllm_tensor_parallel_size": (1, "tensor_parallel_size"),
    "trust_remote_code": (True, "trust_remote_code"),
}
"""Arguments with which TRL makes its vLLM."""
AS_STOCK: dict[str, tuple[str, ...]] = {
    "how long, how fast, on what": (
        *("output_dir", "per_device_train_batch_size", "num_train_epochs", "max_steps", "learning_rate"),
        *("lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "gradient_accumulation_steps", "max_grad_norm"),
        *("optim", "optim_args", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "optim_target_modules"),
        *("seed", "data_seed", "full_determinism", "use_cpu", "neftune_noise_alpha", "disable_dropout"),
    ),
    "precision, memory, compilation": (
        *("bf16", "fp16", "bf16_full_eval", "fp16_full_eval", "tf32", "torch_compile", "torch_compile_backend"),
        *("torch_compile_mode", "use_liger_kernel", "liger_kernel_config", "use_cache", "torch_empty_cache_steps"),
        *("activation_checkpointing", "activation_checkpointing_kwargs", "gradient_checkpointing"),
        *("gradient_checkpointing_kwargs", "auto_find_batch_size", "skip_memory_metrics", "debug"),
    ),
    "engines and processes": (
        *("accelerator_config", "parallelism_config", "deepspeed", "fsdp", "fsdp_config", "ds3_gather_for_generation"),
        *("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph"),
        *("ddp_backend", "ddp_timeout", "average_tokens_across_devices"),
    ),
    "loading of rows": (
        *("dataloader_drop_last", "dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers"),
        *("dataloader_prefetch_factor", "dataloader_multiprocessing_context", "dataloader_in_order"),
        *("remove_unused_columns", "ignore_data_skip"),
    ),
    "logs, checkpoints, evaluation, the Hub": (
        *("logging_strategy", "logging_steps", "logging_first_step", "log_on_each_node", "logging_nan_inf_filter"),
        *("include_num_input_tokens_seen", "log_level", "log_level_replica", "disable_tqdm", "report_to", "run_name"),
        *("project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),
        *("save_only_model", "save_strategy", "save_steps", "save_on_each_node", "save_total_limit"),
        *("enable_jit_checkpoint", "load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
        *("eval_strategy", "eval_steps", "eval_delay", "per_device_eval_batch_size", "eval_on_start"),
        *("eval_use_gather_object", "eval_accumulation_steps"),
        *("push_to_hub", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy", "hub_always_push"),
        *("hub_revision", "log_completions_hub_repo"),
    ),
    "generation by transformers' own engine": (
        "use_transformers_continuous_batching",
        "transformers_continuous_batching_config",
    ),
}
"""Read by transformers and TRL where nothing of ours stands between, as a test below shows."""
IRRELEVANT: dict[str, str] = {
    "do_train": "a word to scripts; no trainer reads it",
    "do_eval": "a word to scripts, which the config sets itself where it evaluates",
    "do_predict": "a word to scripts; no trainer reads it",
    "local_rank": "the launcher says it by the environment",
    "resume_from_checkpoint": "a word to scripts; a run goes on by an argument of `train`",
    "use_transformers_paged": "the old name of use_transformers_continuous_batching, which the config sets from it",
    "vllm_importance_sampling_cap": "the old name of vllm_importance_sampling_clip_max, which the config sets from it",
}
STOCK = tuple(itertools.chain(*AS_STOCK.values()))
