"""Metrics of the dashboard row 'learning'."""

from typing import Literal

from entropostat.metrics.schema import Metric
from entropostat.rl.signals import ROLLOUT

SOLVED, PASS, HELD_OUT, SHAPING = "Prompts solved", "Right, in training", "Right, held out", "Shaped rewards"
VALUES, CEILING = "Critic: values", "Law: ceiling"


def _learning(
    key: str, unit: str, meaning: str, panel: str, better: Literal["up", "down", "none", "target"] = "none"
) -> Metric:
    return Metric(key, unit, better, meaning, "learning", panel)


METRICS: tuple[Metric, ...] = (
    _learning("reward", "reward", "Mean reward of a completion, the weighted sum of all functions.", "Reward", "up"),
    _learning(
        "rewards/<function>/mean",
        "reward",
        "Mean score by one reward function, unweighted.",
        "Reward by function",
        "up",
    ),
    _learning("reward_std", "reward", "Deviation of the reward over the generation.", "Spread of the reward"),
    _learning("rewards/<function>/std", "reward", "Deviation of one function's scores.", "Spread of the reward"),
    _learning("learning/pass@1", "share", "Completions that are right.", PASS, "up"),
    _learning("learning/pass@k", "share", "Prompts with at least one right completion in the group of k.", PASS, "up"),
    _learning("learning/gap", "share", "pass@k less pass@1: what the policy can do but not reliably.", "Gap of pass@k"),
    _learning(
        "learning/solve_none", "share", "Prompts of which no completion is right: nothing to learn from.", SOLVED
    ),
    _learning("learning/solve_some", "share", "Prompts with right and wrong completions: these teach.", SOLVED, "up"),
    _learning(
        "learning/solve_all", "share", "Prompts of which all completions are right: nothing left to learn.", SOLVED
    ),
    _learning(
        "frac_reward_zero_std",
        "share",
        "Prompts whose completions all got the same reward: no gradient.",
        SOLVED,
        "down",
    ),
    _learning("evaluate/<set>/pass@<k>", "share", "Unbiased pass@k on held-out prompts.", HELD_OUT, "up"),
    _learning(
        "evaluate/<set>/gap",
        "share",
        "pass@k of the largest k less pass@1 on held-out prompts.",
        "Gap of pass@k, held out",
    ),
    _learning(
        "learning/law/a", "reward", "The law R = -a exp(H) + b: what spending entropy has bought so far.", "Law: a"
    ),
    _learning("learning/law/r2", "share", "How much of the reward's spread the law explains.", "Law: fit"),
    _learning(
        "learning/law/ceiling", "reward", "Reward that the law foretells when no entropy is left: b - a.", CEILING
    ),
    *(
        _learning(
            f"learning/law/ceiling_{end}",
            "reward",
            f"{which} end of its 95 % band, if the law goes on to hold.",
            CEILING,
        )
        for end, which in (("low", "Lower"), ("high", "Upper"))
    ),
    _learning("evaluate/<set>/greedy", "share", "Held-out prompts that greedy decoding answers right.", HELD_OUT, "up"),
    _learning(
        "evaluate/<set>/reward/<model>", "reward", "Mean score by a reward model, held out.", "Reward, held out", "up"
    ),
    _learning("evaluate/<set>/share/<strategy>", "share", "Held-out completions that take this way.", "Strategies"),
    _learning(
        "evaluate/<set>/accuracy/<strategy>", "share", "How many of those are right.", "Accuracy by strategy", "up"
    ),
    _learning("signal/solved", "share", f"A controller reads it: {ROLLOUT['solved']}.", SOLVED, "up"),
    _learning(
        "signal/reward_velocity", "reward", f"A controller reads it: {ROLLOUT['reward_velocity']}.", "Velocity", "up"
    ),
    _learning("shaping/raw", "reward", "Mean reward before shaping.", SHAPING, "up"),
    _learning("shaping/shaped", "reward", "Mean reward after it, as the advantages see it.", SHAPING),
    _learning("shaping/clipped", "share", "Completions whose reward the clip cut.", "Shaping: touched", "down"),
    _learning(
        "shaping/missing_eos", "share", "Completions that did not end by themselves.", "Shaping: touched", "down"
    ),
    _learning(
        "shaping/unusable",
        "share",
        "Scored completions whose reward a term of the slot rewards made infinite or no number: they get none.",
        "Shaping: touched",
        "down",
    ),
    _learning("critic/value", "reward", "Mean value that the critic foretold.", VALUES),
    _learning("critic/return", "reward", "Mean return that came.", VALUES),
    _learning(
        "critic/explained_variance",
        "1",
        "How much of the returns' spread the values explain: 1 all, 0 none, below 0 worse than their mean.",
        "Critic: explained variance",
        "up",
    ),
    _learning("critic/disagreement", "reward", "Mean distance between twin heads.", "Critic: disagreement"),
    _learning("critic/loss", "1", "Value loss, token mean, before its coefficient.", "Critic: loss", "down"),
    _learning(
        "critic/clip_fraction",
        "share",
        "Tokens whose value moved further from the old one than `critic.clip`.",
        "Critic: clipped",
    ),
)
