"""Ranges of TRL's and transformers' own fields, which declare none, and the texts that they may be.

A test walks the fields of the configs: a number without an entry here, or an entry without its field, is an error.
"""

from __future__ import annotations

from entropostat.recipe.ranges import WHOLE, Range
from entropostat.rl.registry import SMALLEST

COUNT = Range(low=1)
COUNT_OR_NONE = Range(low=0)
SHARE = Range(low=0, high=1)
NOT_NEGATIVE = Range(low=0)
PORT = Range(low=1, high=65535)
YEAR = 366 * 24 * 3600

RANGES: dict[str, Range] = {
    # How long, how fast
    "learning_rate": Range(low=0, high=10),
    "weight_decay": Range(low=0, high=1000),
    "adam_beta1": Range(low=0, below=1),
    "adam_beta2": Range(low=0, below=1),
    "adam_epsilon": Range(low=SMALLEST, high=1),
    "max_grad_norm": NOT_NEGATIVE,  # 0: off
    "neftune_noise_alpha": NOT_NEGATIVE,
    "num_train_epochs": Range(above=0, high=10**6),
    "max_steps": Range(low=1, special=(-1,)),  # -1: num_train_epochs say it
    "warmup_steps": Range(low=0, high=WHOLE, whole_from_1=True),
    "num_iterations": COUNT,
    # Batches and lengths
    "per_device_train_batch_size": COUNT,
    "gradient_accumulation_steps": COUNT,
    "steps_per_generation": COUNT,
    "generation_batch_size": COUNT,
    "num_generations": COUNT,
    "max_completion_length": COUNT,
    "pad_to_multiple_of": COUNT,
    "max_tool_calling_iterations": COUNT_OR_NONE,
    # The reference and the router
    "ref_model_mixup_alpha": SHARE,
    "ref_model_sync_steps": COUNT,
    "router_aux_loss_coef": NOT_NEGATIVE,
    # Checkpoints
    "save_steps": Range(above=0, high=WHOLE, whole_from_1=True),
    "save_total_limit": COUNT_OR_NONE,  # 0: all are kept
    # Processes and loading of rows
    "dataloader_num_workers": Range(low=0, high=1024),
    "dataloader_prefetch_factor": COUNT,
    "ddp_bucket_cap_mb": COUNT,
    "ddp_timeout": Range(low=1, high=YEAR),
    "torch_empty_cache_steps": COUNT,
    # vLLM
    "vllm_gpu_memory_utilization": Range(above=0, high=1),
    "vllm_group_port": PORT,
    "vllm_server_port": PORT,
    "vllm_server_timeout": Range(above=0, high=YEAR),
    "vllm_max_model_length": COUNT,
    "vllm_tensor_parallel_size": COUNT,
    "vllm_importance_sampling_clip_max": Range(above=0),
    "vllm_importance_sampling_clip_min": NOT_NEGATIVE,
}

CHOICES: dict[str, tuple[str, ...]] = {
    "pad_to_multiple_of": ("auto",),
    "cache_implementation": (
        *("dynamic", "offloaded", "quantized", "static", "offloaded_static"),
        *("sliding_window", "hybrid", "hybrid_chunked", "offloaded_hybrid", "offloaded_hybrid_chunked", "paged"),
    ),
    "debug": ("", "underflow_overflow", "tpu_metrics_debug"),
    "include_num_input_tokens_seen": ("all", "non_padding", "no"),
    "torch_compile_backend": (
        *(
            "eager",
            "aot_eager",
            "inductor",
            "aot_ts_nvfuser",
            "nvprims_nvfuser",
            "cudagraphs",
            "ofi",
            "fx2trt",
            "onnxrt",
        ),
        *("tensorrt", "aot_torchxla_trace_once", "torchxla_trace_once", "tvm", "hpu_backend", "neuron"),
    ),
    "torch_compile_mode": ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"),
    "vllm_mode": ("server", "colocate"),
    "vllm_model_impl": ("vllm", "transformers"),
    "vllm_importance_sampling_mode": ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
}
"""Fields of which the config says only that they are text."""

IMPOSSIBLE: dict[str, tuple[str, ...]] = {"lr_scheduler_type": ("reduce_lr_on_plateau", "greedy")}
"""Choices that TRL's own evaluation would have to serve, which does not run."""

NEVER_NULL = ("num_generations", "bf16")
"""Fields that may be null by their type: TRL divides by the one, and turns the other on, whatever the model's type is."""

PARSED: tuple[str, ...] = (
    *("accelerator_config", "activation_checkpointing_kwargs", "lr_scheduler_kwargs"),
    *("transformers_continuous_batching_config", "generation_kwargs", "chat_template_kwargs"),
)
"""Mappings that may be given as JSON text."""
