"""EDGE-GRPO: divide the advantage of a completion by its entropy relative to the batch.

    A_i <- A_i  mean_j(Hbar_j) / Hbar_i

EDGE-GRPO, arXiv:2507.21848: entropy-driven advantage. Hbar_i is the mean token entropy of a
completion: confident right answers gain, confident wrong ones lose.

What we changed: the released code averages over padding too, lets the gradient flow through its entropies, and divides
by whatever Hbar is. We average over the completion's own tokens of the old policy, without gradient, and bound the factor
by ``cap`` (null: no bound but that a completion of entropy 0 keeps its advantage).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.measured import Largest
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.reshaping import advantages_before, sequence_entropy
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "edge",
    paper="arXiv:2507.21848",
    rollout_needs=("old_entropy", "rewards"),
    clock="rollout",
    reference="EDGE-GRPO grpo_aha_trainer.py:1215",
    provides={"factor": "Largest factor on the advantage of a completion."},
)
@dataclass(frozen=True)
class Edge(Advantage):
    """Amplify the advantages of confident completions and damp those of uncertain ones.

    Inert where all completions have the same mean entropy. The mean runs over the completions of all ranks that have a
    token and a reward.
    """

    cap: float | None = option(10.0, low=1.0, fixed=True, doc="largest factor; null: none, as the released code")

    reshapes = True

    def __call__(self, batch: TokenBatch) -> Output:
        a = advantages_before(batch, "edge")
        entropy = sequence_entropy(batch)
        counted = batch.valid.any(1) & ~batch.require("rewards").isnan()
        own = torch.stack([torch.where(counted, entropy, 0.0).sum(), counted.sum().to(entropy.dtype)])
        total, count = batch.reducer.sum(own).unbind()
        mean = total / count.clamp(min=1)
        factor = torch.where(counted & (entropy > 0), mean / entropy.clamp(min=1e-12), 1.0)
        factor = factor if self.cap is None else factor.clamp(max=self.cap)
        return a * (factor.unsqueeze(1) if a.dim() == 2 else factor), {"factor": Largest.over(factor, counted)}
