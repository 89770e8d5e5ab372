"""REINFORCE++: returns of tokens, whitened over the whole generation instead of within a prompt.

    none:   A_t = white( gamma^(T - t) r )               group:   A_t = white( r - mean_g )

Hu et al. 2025, REINFORCE++, arXiv:2501.03262, without and with the baseline of its later version; T - t counts the tokens after
this one. The mean and deviation are over all tokens of the generation: a long completion weighs more in them. The paper's KL in
the reward is ``kl_reward`` behind this term, which then is not whitened with it, or ``gae`` with a critic.

verl keeps the reward of a completion without siblings where ``group`` would leave 0. It does not discount there; we do in both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.returns import scored_tokens, whitened
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "reinforce_pp",
    paper="arXiv:2501.03262",
    rollout_needs=("rewards",),
    clock="rollout",
    reference="verl compute_reinforce_plus_plus_outcome_advantage, compute_reinforce_plus_plus_baseline_outcome_advantage",
    provides={"std": "Standard deviation of the advantages before whitening, over the tokens of all ranks."},
)
@dataclass(frozen=True)
class ReinforcePP(Advantage):
    """Advantages with mean 0 and deviation 1 over the tokens of the generation; works with one completion per prompt.

    Without the baseline easy prompts are rewarded and hard ones punished as a whole: prefer ``baseline: group`` where there is
    a group. Inert where all rewards (of each prompt, with the baseline) are equal and nothing is discounted.
    """

    baseline: str = option("none", choices=("none", "group"), doc="what is taken off the reward before whitening")
    gamma: float = option(1.0, above=0.0, high=1.0, fixed=True, doc="discount per token")

    tokenwise = True

    @property
    def compares(self) -> bool:
        """With the other completions of the prompt; otherwise with all of the generation."""
        return self.baseline == "group"

    def __call__(self, batch: TokenBatch) -> Output:
        rewards = batch.require("rewards")
        if self.baseline == "group":
            groups = all_groups(rewards, batch.groups, batch.reducer)
            rewards = groups.own(groups.matrix - torch.nanmean(groups.matrix, dim=1, keepdim=True))
        later = batch.valid.flip(1).cumsum(1).flip(1) - 1
        scored = scored_tokens(batch)
        returns = torch.where(scored, rewards.unsqueeze(1) * self.gamma ** later.to(rewards.dtype), 0.0)
        white, std = whitened(returns, scored, batch)
        return white, {"std": std}
