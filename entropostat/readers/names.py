"""What the metrics of other trainers are called here. An unknown key stays as it is, and no number is converted.

``SAME`` has what is the same quantity in the same unit, by the trainer that logs it. ``ALIKE`` has what only looks the same: it keeps
its name, and the text says what it is. Read in the sources of TRL 0.11 to 1.16, verl 0.9.1, OpenRLHF 0.11.2, prime-rl (559b447) and
ms-swift (3602360).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

TRL, VERL, OPENRLHF, PRIME, SWIFT = "TRL", "verl", "OpenRLHF", "prime-rl", "ms-swift"

SAME: Mapping[str, Mapping[str, str]] = {
    TRL: {
        "completion_length": "completions/mean_length",
        "clip_ratio": "clip_ratio/region_mean",
        "policy/entropy_avg": "entropy",
        "objective/scores": "reward",
        "lr": "learning_rate",
    },
    VERL: {
        "actor/entropy": "entropy",
        "actor/entropy_loss": "entropy",
        "actor/kl_loss": "kl",
        "actor/grad_norm": "grad_norm",
        "actor/lr": "learning_rate",
        "actor/loss": "loss",
        "critic/score/mean": "reward",
        "response_length/mean": "completions/mean_length",
        "response_length/max": "completions/max_length",
        "response_length/min": "completions/min_length",
        "response_length/clip_ratio": "completions/clipped_ratio",
    },
    OPENRLHF: {
        "entropy_loss": "entropy",
        "response_length": "completions/mean_length",
        "truncated": "completions/clipped_ratio",
        "rollout/truncated_rate": "completions/clipped_ratio",
        "actor_lr": "learning_rate",
        "act_lr": "learning_rate",
        "actor_grad_norm": "grad_norm",
    },
    PRIME: {
        "entropy/all/mean": "entropy",
        "entropy/mean": "entropy",
        "reward/all/mean": "reward",
        "reward/mean": "reward",
        "optim/grad_norm": "grad_norm",
        "optim/lr": "learning_rate",
        "loss/mean": "loss",
        "is_truncated/all/mean": "completions/clipped_ratio",
        "is_truncated/mean": "completions/clipped_ratio",
        "Entropy": "entropy",
        "Reward": "reward",
        "Loss": "loss",
        "Grad. Norm": "grad_norm",
        "LR": "learning_rate",
    },
    SWIFT: {"entropy/mean": "entropy"},
}
"""Trainer -> its key -> ours. verl's ``critic/score`` is the reward as it was judged, before any KL is taken off it."""

ALIKE: Mapping[str, str] = {
    "actor/ppo_kl": "KL to the policy that generated (k1), not to the reference",
    "ppo_kl": "KL to the policy that generated, not to the reference",
    "actor/reward_kl_penalty": "k1 to the reference as verl takes it off the reward",
    "critic/rewards/mean": "the reward less the KL, where verl takes it off the reward",
    "objective/entropy": "TRL's PPO: minus the log-prob of a completion, summed over its tokens; not the entropy of a token",
    "objective/kl": "TRL's PPO: k1 to the reference, summed over a completion; not the mean of a token",
    "objective/rlhf_reward": "TRL's PPO: the score less the KL of the completion",
    "policy/approxkl_avg": "KL to the policy that generated, k2",
    "mismatch_kl/all/mean": "KL between trainer and sampler",
    "mismatch_kl/mean": "KL between trainer and sampler",
    "Mismatch KL": "KL between trainer and sampler",
    "vllm_kl": "KL between trainer and sampler",
    "training/rollout_probs_diff_mean": "difference of probabilities of trainer and sampler, not of log-probs",
    "rollout_corr/kl": "KL between trainer and sampler",
    "seq_len/all/mean": "tokens of prompt and completion",
    "Seq. Length": "tokens of prompt and completion",
}

_FLAT = {theirs: ours for table in SAME.values() for theirs, ours in table.items()}
_VERL_SET = re.compile(r"val(?:-core|-aux)?/(?P<set>.+)/(?:acc|reward|score)/(?P<kind>mean|best)@(?P<k>\d+)(?:/mean)?")
_VERL_SCORE = re.compile(r"val/test_score/(?P<set>.+)")
_TRL_REWARD = re.compile(r"rewards/(?P<name>[^/]+)")
PREFIXES = ("train/",)


@lru_cache(maxsize=4096)
def ours(key: str) -> str:
    """The key of metrics.jsonl for a key of any trainer."""
    for prefix in PREFIXES:
        key = key.removeprefix(prefix)
    if (named := _FLAT.get(key)) is not None:
        return named
    for pattern, made in _PATTERNS:
        if match := pattern.fullmatch(key):
            return made(match)
    return key


def _held_out(match: re.Match[str]) -> str:
    """``mean@n`` is pass@1 by n samples; ``best@k`` is pass@k. Of acc, reward and score only verl's core metric is pass@1."""
    if not match[0].startswith("val-core/"):
        return match[0]
    k = "1" if match["kind"] == "mean" else match["k"]
    return f"evaluate/{match['set'].replace('/', '-')}/pass@{k}"


_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (_VERL_SET, _held_out),
    (_VERL_SCORE, lambda match: f"evaluate/{match['set'].replace('/', '-')}/pass@1"),
    (_TRL_REWARD, lambda match: f"rewards/{match['name']}/mean"),
)

_SIGNS: tuple[tuple[str, str], ...] = (
    ("", r"forces/.*|trust/kl_old|health/.*"),  # our own, in a tracker
    (VERL, r"actor/(pg_loss|pg_clipfrac|entropy|entropy_loss)|critic/score/mean|global_seqlen/.*"),
    (PRIME, r"mismatch_kl/.*|entropy/all/.*|progress/.*|Mismatch KL|Grad\. Norm|Seq\. Length"),
    (OPENRLHF, r"act(or)?_lr|ppo_clip_ratio|policy_loss|vllm_kl|rollout/truncated_rate"),
    (SWIFT, r"global_step/max_steps|train_speed\(s/it\)"),
    (
        TRL,
        r"completions/mean_length|completion_length|frac_reward_zero_std|reward_std|objective/.*|policy/entropy_avg|num_tokens",
    ),
)


def trainer_of(keys: set[str]) -> str:
    """Which trainer logs keys like these, as it spells them; empty where none of them is told apart."""
    bare = {key.removeprefix("train/") for key in keys}
    return next((name for name, signs in _SIGNS if any(re.fullmatch(signs, key) for key in bare)), "")
