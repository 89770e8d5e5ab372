"""Keys of TRL's config that are not the recipe's trainer block's, why, and what says the same there.

A recipe refuses all of them. The Python constructor, whose user has no other block, refuses a value only where it would do
nothing: ``IDLE`` says when that is.
"""

from __future__ import annotations

OWNED: dict[str, str] = {
    # The objective
    "beta": "objective.penalties.kl_ref.coef",
    "use_bias_correction_kl": "objective.penalties.kl_ref (its divergence is ratio-corrected)",
    "loss_type": "objective.loss.trl.type",
    "epsilon": "objective.loss.trl.epsilon",
    "epsilon_high": "objective.loss.trl.epsilon_high",
    "delta": "objective.loss.trl.delta",
    "importance_sampling_level": "objective.loss.trl.importance_sampling_level",
    "off_policy_mask_threshold": "objective.loss.trl.off_policy_mask_threshold",
    "sapo_temperature_pos": "objective.loss.trl.sapo_temperature_pos",
    "sapo_temperature_neg": "objective.loss.trl.sapo_temperature_neg",
    "vespo_k_pos": "objective.loss.trl.vespo_k_pos",
    "vespo_k_neg": "objective.loss.trl.vespo_k_neg",
    "vespo_lambda_pos": "objective.loss.trl.vespo_lambda_pos",
    "vespo_lambda_neg": "objective.loss.trl.vespo_lambda_neg",
    "scale_rewards": "objective.advantages.grpo.scale",
    "multi_objective_aggregation": "objective.advantages: [gdpo: {}]",
    "entropy_coef": "objective.penalties.entropy_bonus.coef",
    "use_adaptive_entropy": "objective.penalties.entropy_bonus.coef={step: {...}}",
    "entropy_coef_min": "objective.penalties.entropy_bonus.coef.step.low",
    "entropy_coef_max": "objective.penalties.entropy_bonus.coef.step.high",
    "entropy_coef_delta": "objective.penalties.entropy_bonus.coef.step.delta",
    "entropy_target": "objective.penalties.entropy_bonus.coef.step.target",
    "top_entropy_quantile": "objective.weights.high_entropy.fraction",
    "reward_weights": "reward.<verifier>.weight",
    # The sampler
    "temperature": "sampler.temperature",
    "top_p": "sampler.top_p",
    "top_k": "sampler.top_k",
    "min_p": "sampler.min_p",
    "repetition_penalty": "sampler.repetition_penalty",
    # The run
    "seed": "seed",
    "data_seed": "seed",
    "output_dir": "output_dir",
    "run_name": "name",
    "project": "tracking.wandb.project or tracking.trackio.project",
    "report_to": "tracking",
    "logging_steps": "tracking.log_every",
    "logging_strategy": "tracking.log_every",
    "num_completions_to_print": "tracking.completions",
    "shuffle_dataset": "data.curriculum (the order of prompts is planned there)",
    "deepspeed": "launch.strategy",
    "fsdp": "launch.strategy",
    "fsdp_config": "launch.strategy",
    "parallelism_config": "launch.strategy",
    "eval_strategy": "evaluate.every",
    "eval_steps": "evaluate.every",
    "eval_on_start": "evaluate.every",
    "resume_from_checkpoint": "entropostat train --resume",
    "disable_dropout": "model.dropout",
    "model_init_kwargs": "model.dtype, model.attn_implementation and model.revision",
}

UNMEASURED = "TRL's own evaluation does not run: the evaluate block measures"
ONCE = "the final policy goes up once, at the end; checkpoints and logs stay in the run's folder"
UNUSED = "nothing that trains by GRPO reads it"
REFUSED: dict[str, str] = {
    "trust_remote_code": "code from a model repository is never run; convert the model to a class that transformers has",
    "remove_unused_columns": "it is set by the project: verifiers read the other columns",
    "save_only_model": "its checkpoints have no optimizer, so nothing resumes from them; final/ holds the model alone",
    "auto_find_batch_size": "it breaks prompt groups; lower per_device_train_batch_size instead",
    "local_rank": "the launcher sets it",
    "do_train": "it has no effect here",
    "do_eval": "it has no effect here",
    "do_predict": "it has no effect here",
    "disable_tqdm": "the lines of progress are the project's own",
    "restore_callback_states_from_checkpoint": "controllers and their like are always restored, in place",
    "hub_strategy": ONCE,
    "hub_always_push": ONCE,
    "load_best_model_at_end": UNMEASURED,
    "metric_for_best_model": UNMEASURED,
    "greater_is_better": UNMEASURED,
    "eval_delay": UNMEASURED,
    "per_device_eval_batch_size": UNMEASURED,
    "num_generations_eval": UNMEASURED,
    "eval_accumulation_steps": UNMEASURED,
    "eval_use_gather_object": UNMEASURED,
    "fp16_full_eval": UNMEASURED,
    "bf16_full_eval": UNMEASURED,
    "prediction_loss_only": UNUSED,
    "eval_do_concat_batches": UNUSED,
    "include_for_metrics": UNUSED,
    "batch_eval_metrics": UNUSED,
    "label_names": UNUSED,
    "label_smoothing_factor": UNUSED,
    "train_sampling_strategy": f"{UNUSED}; data.curriculum says the order of prompts",
    "length_column_name": UNUSED,
    "average_tokens_across_devices": f"{UNUSED}; the loss always counts the tokens of all processes",
}
"""Keys that no spelling makes possible, and why."""

OF_TRLS_LOSS = (
    "epsilon",
    "epsilon_high",
    "delta",
    "importance_sampling_level",
    "sapo_temperature_pos",
    "sapo_temperature_neg",
    "vespo_k_pos",
    "vespo_lambda_pos",
    "vespo_k_neg",
    "vespo_lambda_neg",
    "off_policy_mask_threshold",
)
"""Options of `objective.loss.trl` that have the name of the field they are written to."""

IDLE: dict[str, tuple[str, ...]] = {
    "any": (
        *("label_smoothing_factor", "label_names", "train_sampling_strategy", "length_column_name"),
        *("include_for_metrics", "batch_eval_metrics", "eval_do_concat_batches", "prediction_loss_only"),
        "restore_callback_states_from_checkpoint",
    ),
    "loss": (*OF_TRLS_LOSS, "top_entropy_quantile", "beta", "use_bias_correction_kl"),
    "advantages": ("scale_rewards", "multi_objective_aggregation"),
    "reference": ("beta", "use_bias_correction_kl"),
    "temperature": ("temperature",),
}
"""What an objective has of its own -> the fields of TRL that then act on nothing: a loss that TRL does not compute, an
advantages term, a term or controller that reads the reference, a temperature that it moves. ``any``: whatever it has."""

FORMER: dict[str, str] = {
    "num_ppo_epochs": "trainer.num_iterations",
    "num_mini_batches": "trainer.steps_per_generation",
    "response_length": "trainer.max_completion_length",
    "total_episodes": "trainer.max_steps",
    "num_total_batches": "trainer.max_steps",
    "local_rollout_forward_batch_size": "trainer.per_device_train_batch_size",
    "cliprange": "objective.loss.trl.epsilon",
    "cliprange_value": "critic.clip",
    "vf_coef": "critic.coef",
    "gamma": "objective.advantages.gae.gamma",
    "lam": "objective.advantages.gae.lam",
    "kl_coef": "objective.advantages.gae.kl_coef",
    "kl_estimator": "objective.advantages.gae.divergence",
    "whiten_rewards": "shaping.normalise",
    "missing_eos_penalty": "shaping.missing_eos_penalty",
    "reward_model_path": "reward: [model: {path: ...}]",
    "sft_model_path": "model.path",
    "model_adapter_name": "model.peft",
    "ref_adapter_name": "model.peft",
    "stop_token": "sampler.stop",
    "stop_token_id": "sampler.stop",
    "num_sample_generations": "tracking.completions",
    "exp_name": "name",
}
"""Options of TRL's removed PPOTrainer, and what has their place here."""

NOT_IN_TRAINER = frozenset(OWNED) | frozenset(REFUSED)
