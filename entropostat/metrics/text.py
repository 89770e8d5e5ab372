"""Metrics of the dashboard row 'text'."""

from typing import Literal

from entropostat.metrics.schema import Metric
from entropostat.rl.signals import ROLLOUT

LENGTH, ENDED, OUTCOME = "Length", "Length of those that end", "Length, right and wrong"


def _text(key: str, unit: str, meaning: str, panel: str, better: Literal["up", "down", "none"] = "none") -> Metric:
    return Metric(key, unit, better, meaning, "text", panel)


METRICS: tuple[Metric, ...] = (
    *(
        _text(f"completions/{which}_length", "tokens", f"{what} length of a completion.", LENGTH)
        for which, what in (("mean", "Mean"), ("min", "Smallest"), ("max", "Largest"))
    ),
    *(
        _text(
            f"completions/{which}_terminated_length", "tokens", f"{what} length of those that end by themselves.", ENDED
        )
        for which, what in (("mean", "Mean"), ("min", "Smallest"), ("max", "Largest"))
    ),
    _text("completions/clipped_ratio", "share", "Completions cut off by the length limit.", "Cut off", "down"),
    _text("text/length_right", "tokens", "Mean length of right completions.", OUTCOME),
    _text("text/length_wrong", "tokens", "Mean length of wrong ones.", OUTCOME),
    _text("text/repetition", "share", "4-grams that stood in the completion before.", "Repetition", "down"),
    _text("text/distinct", "share", "Different completions within a group.", "Distinct", "up"),
    _text("planning/phrases", "1", "Strategic phrases that are known.", "Planning: phrases"),
    _text(
        "planning/semantic_entropy", "nats", "Entropy of how often each of them is used.", "Planning: semantic entropy"
    ),
    _text("evaluate/<set>/mean_length", "tokens", "Mean length on held-out prompts.", "Length, held out"),
    _text(
        "evaluate/<set>/distinct",
        "1",
        "Different completions per held-out prompt, of all sampled.",
        "Distinct, held out",
        "up",
    ),
    _text("signal/length", "tokens", f"A controller reads it: {ROLLOUT['length']}.", LENGTH),
    _text("tools/call_frequency", "1", "Tool calls per completion.", "Tools: calls"),
    _text("tools/failure_frequency", "share", "Tool calls that failed.", "Tools: failures", "down"),
)
