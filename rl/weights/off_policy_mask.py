"""Off-policy sequence mask: wrong completions that the policy has left far behind do not train.

    w = 0 where A < 0 and mean_t (log pi_sampler - log pi) > threshold, else 1

DeepSeek-V3.2, arXiv:2512.02556 (keep where A >= 0, whatever the distance). The mean is over the valid tokens of a completion: an
estimate of the KL from the policy that sampled to the current one. It grows with both causes, the updates since the generation
and the mismatch of the engines. To push what the policy does no more produce further down is what destabilises; to push a right
completion up is not.

TRL's ``off_policy_mask_threshold`` is this term inside its own loss (objective.loss.trl), for advantages of completions; here it
goes with every loss, and with advantages of tokens drops those of A < 0. A token that the sampler gave no log-prob for is no
evidence. No default is stated by the paper as we know it: 0.1 is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.measured import Mean
from entropostat.rl.mismatch import FAR
from entropostat.rl.registry import WEIGHTS, option
from entropostat.rl.sequence import row_mean
from entropostat.rl.term import Weight


@WEIGHTS.register(
    "off_policy_mask",
    paper="arXiv:2512.02556",
    needs=("sampler_logps",),
    reference="TRL 1.16 GRPOTrainer.get_off_policy_mask",
    provides={
        "fraction": "Share of tokens that were dropped.",
        "divergence": "Mean over completions of log pi_sampler - log pi, nats.",
    },
)
@dataclass(frozen=True)
class OffPolicyMask(Weight):
    """Leave negative completions alone once the policy has moved far from the one that sampled them.

    It can only drop: no ratio, so TRL's correction, or one of ours, may stand beside it. Inert where every generation serves
    one update and the trainer samples itself, and where no advantage is negative.
    """

    threshold: float = option(0.1, doc="nats per token above which a negative completion is dropped")

    def __call__(self, batch: TokenBatch) -> Output:
        distance = (batch.require("sampler_logps") - batch.logps).detach()
        distance = row_mean(distance.nan_to_num(nan=0.0).clamp(-FAR, FAR), batch)
        dropped = batch.valid & (batch.token_advantages < 0) & (distance > self.threshold)
        weight = torch.where(dropped, 0.0, torch.ones_like(batch.logps))
        there = batch.valid.any(1, keepdim=True)
        return weight, {"divergence": Mean.over(distance, there), **batch.means(fraction=dropped)}
