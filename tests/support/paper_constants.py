"""What the papers of ``recipes/methods`` say: for each recipe the constants that are published, and where each stands.

A value is the paper's, or its released code's where ``source`` says so. What the recipe has instead, and why, its head says under
'Differs:'. ``confirmed`` is False for what we know by an abstract, by others, or from memory: the term's docstring says so, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Cited:
    """Constants of one source. A key is TERM.option, or TERM.option.CONTROLLER.option; ``loss`` is the recipe's loss."""

    paper: str
    source: str
    values: Mapping[str, Any] = field(default_factory=dict)
    confirmed: bool = True


def second_hand(paper: str, source: str, values: Mapping[str, Any]) -> Cited:
    return Cited(paper, source, values, confirmed=False)


def prefixed(prefix: str, **values: Any) -> dict[str, Any]:
    """``key=value`` as ``PREFIX.key``."""
    return {f"{prefix}.{key}": value for key, value in values.items()}


def table() -> dict[str, tuple[Cited, ...]]:
    """Recipe -> what is cited of it."""
    from support.paper_constants_advantages import ADVANTAGES
    from support.paper_constants_control import CONTROL
    from support.paper_constants_losses import LOSSES
    from support.paper_constants_rewards import REWARDS
    from support.paper_constants_weights import WEIGHTS

    return {**ADVANTAGES, **REWARDS, **WEIGHTS, **LOSSES, **CONTROL}


OURS = "no paper has it"
FORMULA = "its formula has no constant"
FREE = "the paper leaves it to the task"
UNKNOWN = "no value of the paper is known to us"

WITHOUT = {
    "adapo": f"{UNKNOWN}: rule, factor and bounds are ours",
    "autopilot": OURS,
    "constant": f"{FREE}: the coefficient",
    "dco": f"{FREE}: N, the tries that count at test time",
    "distill": f"{FREE}: the coefficient beside a reward; TRL's default divergence is another",
    "divergence": f"{FREE}: the divergence and its coefficient",
    "diversity": f"{OURS}; the score that it takes has none",
    "diversity_weighted": f"{UNKNOWN}, only its idea",
    "dr_grpo": FORMULA,
    "edge": f"{FORMULA}; the bound of the factor is ours",
    "entropy_tilt": OURS,
    "follow": OURS,
    "gpg": FORMULA,
    "group_length": f"{UNKNOWN}: its weight, and when it is brought in",
    "kl_ema": f"{UNKNOWN}: the horizon is that of the run",
    "kl_reset": f"{UNKNOWN}: when to reset, and the coefficient",
    "kl_reward": f"{FREE}: the coefficient",
    "learning_rate": OURS,
    "maxrl": f"{FORMULA}; SkyRL adds one",
    "none": f"{FREE}: which divergence",
    "off_policy_mask": f"{UNKNOWN}: its threshold",
    "opo": FORMULA,
    "otb": FORMULA,
    "pid": OURS,
    "pkpo": f"{FREE}: k, the tries that count",
    "renyi_bonus": "textbook",
    "repo": f"{UNKNOWN}: zeta and beta are ours",
    "rloo": FORMULA,
    "rsr": f"{UNKNOWN} that is one number: it oversamples 3 to 9 times; the age is ours",
    "schedule": FREE,
    "temperature": OURS,
    "truncated_policy": OURS,
    "unclipped": FORMULA,
}
"""Recipe -> why nothing is cited."""
