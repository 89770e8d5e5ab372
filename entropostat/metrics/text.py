"""Metrics of the dashboard row 'text'."""

from typing import Literal

from entropostat.metrics.schema import Metric
from entropostat.rl.signals import ROLLOUT

KINDS, LIKE, ANSWERS, NUMBERS = "Kinds of text", "Likeness", "Entropy of answers", "Number of answers"
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
    _text(
        "text/distinct_2",
        "share",
        "Different pairs of tokens among all that the completions of a prompt have.",
        "Distinct",
        "up",
    ),
    _text(
        "text/vendi1",
        "share",
        "Kinds of text among the completions of a prompt, by shared 3-grams: 0 one, 1 as many as completions. Order 1.",
        KINDS,
        "up",
    ),
    _text("text/vendi2", "share", "The same of order 2, which counts rare kinds less.", KINDS, "up"),
    _text("text/similarity", "1", "Cosine of the 3-grams of two completions of a prompt.", LIKE, "down"),
    _text(
        "text/similarity_across",
        "1",
        "Of two completions of different prompts. As high as the one of one prompt: texts that ignore their prompt.",
        LIKE,
        "down",
    ),
    _text("text/answers/parsed", "share", "Completions with an answer.", "Answered", "up"),
    _text("text/answers/entropy", "nats", "Entropy of the answers to a prompt, each completion alike.", ANSWERS),
    _text(
        "text/answers/semantic_entropy",
        "nats",
        "The same with completions weighed by their likelihood per token.",
        ANSWERS,
    ),
    _text("text/answers/majority", "share", "Completions with the commonest answer to their prompt.", "Majority"),
    _text("text/answers/hill0", "1", "Different answers to a prompt.", NUMBERS),
    _text("text/answers/hill1", "1", "Answers that count: exp of their entropy.", NUMBERS),
    _text("text/answers/hill2", "1", "The same of order 2, which counts rare answers less.", NUMBERS),
    _text(
        "text/answers/information",
        "nats",
        "What the prompt says about the answer, beyond chance. 0: answers ignore their prompt, whatever their entropy.",
        "Information of the prompt",
        "up",
    ),
    _text(
        "text/answers/information_share",
        "share",
        "The same as a share of what it could say: 1 each prompt has answers of its own.",
        "Information of the prompt, share",
        "up",
    ),
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
