"""What a controller may read. Beside these, every metric that a term of the recipe reports, as ``term/metric``."""

from __future__ import annotations

WINDOW = {
    "entropy": "mean entropy of the policy per token, nats, exact, over the optimizer step's tokens",
    "entropy_seq": "the same, per sequence first and then over sequences",
    "nll": "mean negative log-prob of the sampled tokens, nats: an estimate of entropy, for parity with other code",
    "kl": "KL to the reference (k3), nats per token",
    "kl_k1": "KL to the reference, plain mean of the log-ratio",
    "kl_old": "KL to the policy that generated (k3), nats per token",
    "clip_fraction": "share of tokens at a bound of the loss, on the side to which their advantage pushes them",
    "ratio_max": "largest ratio to the policy that generated",
    "ratio_min": "smallest ratio to the policy that generated",
}
"""Measured over the tokens of the accumulation window, on all ranks, once per optimizer step."""

ROLLOUT = {
    "entropy_old": "mean token entropy of the policy that generated, nats",
    "entropy_top": "the same over the fifth of the tokens with the highest entropy: where decisions are made",
    "entropy_ref": "mean token entropy of the reference on the same tokens, nats",
    "entropy_ratio": "entropy_old over entropy_ref; does not move when the prompts change",
    "reward": "mean reward",
    "reward_std": "standard deviation of the reward over the generation",
    "reward_velocity": "change of the reward's average (decay .95) from the generation before",
    "solved": "share of the prompts with a score that have a completion of reward above .5: pass@k for k completions",
    "length": "mean number of tokens of a completion that has any to train on",
}
"""Measured once per generation, on all ranks, and held until the next."""

RUN = {
    "grad_norm": "norm of the gradient before clipping",
    "step": "optimizer steps done",
    "progress": "share of training done",
}

SIGNALS = {**WINDOW, **ROLLOUT, **RUN}

REF_ENTROPY = frozenset({"entropy_ref", "entropy_ratio"})
"""Those that need the reference's entropies."""

REFERENCE = frozenset({"kl", "kl_k1"}) | REF_ENTROPY
"""Those that need a reference policy."""

OLD_ENTROPY = frozenset({"entropy_old", "entropy_top", "entropy_ratio"})
"""Those that need the rollout policy's entropies, which cost a forward where the trainer does not score it anyway."""


def needs_reference(fields: frozenset[str], signals: frozenset[str]) -> bool:
    """Whether terms that read these batch fields, or controllers that read these signals, take a reference policy."""
    return "ref_logps" in fields or bool(REFERENCE & signals)
