"""Metrics of the dashboard row 'health'."""

from typing import Literal

from entropostat.metrics.schema import Metric

CLOCK = "Clock"
"""Of counters that only rise: dashboards leave this panel out."""
UNSCORED = "Completions without a score"
SUMMARY = "The whole run"
"""Of numbers that a run has one of, at its end."""


def _health(key: str, unit: str, meaning: str, panel: str, better: Literal["down", "none", "up"] = "none") -> Metric:
    return Metric(key, unit, better, meaning, "health", panel)


METRICS: tuple[Metric, ...] = (
    _health("loss", "1", "The whole loss. Its level says little: advantages have mean 0.", "Loss"),
    _health("grad_norm", "1", "Norm of the gradient before clipping.", "Gradient norm"),
    _health("learning_rate", "1", "Learning rate of the first group of weights.", "Learning rate"),
    _health("aux_loss", "1", "TRL: load-balancing loss of a mixture of experts.", "Loss of the experts' balance"),
    _health(
        "health/nonfinite", "steps", "Steps skipped so far because a number was not finite.", "Steps skipped", "down"
    ),
    _health(
        "health/trained_tokens",
        "tokens",
        "Tokens that the step trained on. 0: every completion was masked, and what is measured per token is null.",
        "Tokens of a step",
    ),
    _health("health/monitor_ms", "ms", "What measuring costs, per step.", "Cost of measuring", "down"),
    _health("health/step_seconds", "s", "Time from one step to the next.", "Time of a step", "down"),
    _health("step_time", "s", "TRL: time of a training step.", "Time of a step", "down"),
    _health(
        "verifier/<name>/errors", "1", "Completions that raised an error while they were scored.", UNSCORED, "down"
    ),
    _health(
        "verifier/<name>/failed",
        "share",
        "Share of the completions that raised an error or took too long.",
        "Share without a score",
        "down",
    ),
    _health("verifier/<name>/timeouts", "1", "Completions whose scoring took too long.", UNSCORED, "down"),
    _health(
        "verifier/<name>/truncated",
        "1",
        "Texts too long for a reward model, which saw their end cut.",
        UNSCORED,
        "down",
    ),
    _health("epoch", "1", "Passes over the prompts.", CLOCK),
    _health("step", "steps", "Optimizer steps.", CLOCK),
    _health("num_tokens", "tokens", "Tokens processed so far.", CLOCK),
    _health("num_input_tokens_seen", "tokens", "The same, as transformers counts.", CLOCK),
    _health("profiling/<part>", "s", "TRL: time of one of its functions.", "Time of TRL's parts", "down"),
    _health("train_runtime", "s", "Time of all steps.", SUMMARY),
    _health("train_samples_per_second", "1", "Completions per second.", SUMMARY, "up"),
    _health("train_steps_per_second", "1", "Steps per second.", SUMMARY, "up"),
    _health("train_tokens_per_second", "1", "Tokens per second.", SUMMARY, "up"),
    _health("train_loss", "1", "Mean loss.", SUMMARY),
    _health("total_flos", "1", "Floating-point operations, as transformers estimates.", SUMMARY),
)
