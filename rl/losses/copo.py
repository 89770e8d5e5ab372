"""COPO: where the answers to a prompt agree, compare prompts; where they do not, compare its completions.

    L_t = w S(A_i) + (1 - w) coef S(A^g),   w = sigmoid(k (H - b)),   H = -sum_a p_a log2 p_a over the answers of a prompt, bits
    A^g = (R_q - mean R) / (std R + epsilon),   R_q = c_q mean_i r_i,   c_q = 1, or with ``consistency`` 1 - (1 - 1/G) H / log2 G

COPO, arXiv:2508.04138. S is the clipped surrogate of ``ppo_clip``, A_i the advantages of the chain, and A^g the same for all
completions of a prompt: mean and deviation are over the prompts of the whole generation. A blend of two losses and not of two
advantages: S is linear in A only up to its sign, so w A + (1 - w) A^g would clip and cap other tokens where the two disagree.

The paper has w alone (``drop: none``); its released run adds ``drop: wrong``, by which wrong completions have only the global loss. The
flags of that code: only-soft is the default; soft-with-forced and soft-with-zero are ``drop: zero`` and ``drop: wrong``; only-forced,
only-zero and only-zero-wrong the same with ``blend: local``; only-global and no-global are ``blend: global`` and ``blend: local``;
only-soft-with-coef is ``coef``. Its global reward of the paper is ``consistency``, off in that run. Its local advantages are
``grpo: {epsilon: 1e-6}``.

What we changed: a generation with one prompt gives it 0 / 0 and a NaN loss, here A^g is 0. It asks whether a reward is not 0,
which no reward of -1 answers; we ask whether it is above ``success``. Under ``reference: true`` wrong means a reward of 0, and without
``normalise`` everything is wrong, by a mistake of its code.

Completions without an answer key share one answer, unlike under ``seed``. A completion without a reward gets no loss from A^g.

Not to be confused with count-based online preference optimisation, also COPO.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.answers import Answers, answer_entropy, answers_by_group
from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.bounds import Bounded
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.losses.ppo_clip import PPOClip
from entropostat.rl.reduce import nan_std
from entropostat.rl.registry import LOSSES, option


@LOSSES.register(
    "copo",
    paper="arXiv:2508.04138",
    needs=("old_logps",),
    rollout_needs=("answers", "rewards"),
    reference="hijih/copo-code verl/trainer/ppo/core_algos.py",
    provides={
        "clip_fraction": "Share of tokens whose gradient the ratio clip removed from the local loss.",
        "dual_fraction": "Share of tokens whose gradient the dual clip removed from the local loss.",
        "local": "Mean over tokens of w, the share of the local loss.",
        "global_advantage": "Mean size of A^g over tokens.",
    },
)
@dataclass(frozen=True)
class COPO(PPOClip):
    """Blend the loss of a completion within its prompt with that of its prompt within the generation, by how far answers agree.

    Prompts that all completions solve, or none does, train, too. Reads the answer keys of the verifier. Statistics are of whole
    groups and all prompts, on all ranks.
    """

    type: str = option("grpo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    dual: float | None = option(3.0, above=1.0, doc="cap on the loss of A < 0 in units of -A; null: off")
    k: float = option(5.0, low=0.0, fixed=True, doc="steepness of w (paper: gamma)")
    b: float = option(
        1.0, low=0.0, fixed=True, doc="bits of answer entropy at which both losses count alike (paper: rho)"
    )
    coef: float = option(1.0, low=0.0, doc="factor on the global loss")
    blend: str = option("entropy", choices=("entropy", "local", "global"), doc="w: by entropy, 1 or 0")
    drop: str = option(
        "none", choices=("none", "wrong", "zero"), doc="w is 0 for wrong completions, or for those without an advantage"
    )
    consistency: bool = option(False, doc="scale the reward of a prompt down by its entropy")
    normalise: bool = option(True, doc="divide A^g by the deviation of R")
    success: float = option(0.0, fixed=True, doc="a completion is right where its reward is above this")
    epsilon_std: float = option(1e-6, above=0.0, fixed=True, doc="added to the deviation of R (released code 1e-6)")
    reference: bool = option(False, doc="what counts as wrong as in the released code, with its mistake")

    scope = "rollout"

    def prepare(self, batch: TokenBatch) -> Stats:
        advantages = batch.require("advantages")
        size = advantages.abs() if advantages.dim() == 1 else torch.where(batch.valid, advantages, 0.0).abs().amax(1)
        found = answers_by_group(batch, size)
        entropy, largest = self._bits(found)
        matrices = torch.stack([self._local(found, entropy), self._global(found, entropy, largest)], dim=2)
        local, between = found.groups.own(matrices).to(batch.logps.dtype).unbind(1)
        return {"local": local, "global": between}

    def _bits(self, found: Answers) -> tuple[Tensor, Tensor]:
        """(P,) entropy of the answers to a prompt, and the largest that it could be."""
        lost = found.scored & ~found.parsed
        same = found.same | (lost.unsqueeze(2) & lost.unsqueeze(1))
        count = found.scored.sum(1)
        mass = found.scored / count.clamp(min=1).unsqueeze(1).to(found.rewards.dtype)
        return answer_entropy(mass, same) / math.log(2), count.clamp(min=1).to(mass.dtype).log2()

    def _local(self, found: Answers, entropy: Tensor) -> Tensor:
        """(P, G) w."""
        soft = torch.sigmoid(self.k * (entropy - self.b)).unsqueeze(1).expand_as(found.rewards)
        w = {"entropy": soft, "local": torch.ones_like(soft), "global": torch.zeros_like(soft)}[self.blend]
        if self.drop == "none":
            return w
        kept = found.values[..., 0] != 0
        if self.drop == "wrong":
            kept = found.rewards != 0 if self.reference else found.rewards > self.success
            kept = kept & (self.normalise or not self.reference)
        return torch.where(kept, w, 0.0)

    def _prompt_rewards(self, found: Answers, entropy: Tensor, largest: Tensor) -> Tensor:
        """(P,) R_q; NaN where no completion has a reward."""
        reward = torch.nanmean(found.rewards, dim=1)
        if not self.consistency:
            return reward
        slope = torch.where(largest > 0, (1 - torch.exp2(-largest)) / largest.clamp(min=1e-12), 0.0)
        return reward * (1 - slope * entropy)

    def _global(self, found: Answers, entropy: Tensor, largest: Tensor) -> Tensor:
        """(P, G) A^g, 0 where there is no reward."""
        reward = self._prompt_rewards(found, entropy, largest)
        between = reward - torch.nanmean(reward)
        between = between / (nan_std(reward) + self.epsilon_std) if self.normalise else between
        return torch.where(found.scored, between.unsqueeze(1), 0.0)

    def bounded(self, batch: TokenBatch) -> Bounded:
        """By the sign of the blend, to which both losses add up inside of the bounds."""
        w, between = self._stats(batch)
        return super().bounded(batch.set(advantages=w * batch.token_advantages + self.coef * (1 - w) * between))

    def __call__(self, batch: TokenBatch) -> Output:
        w, between = self._stats(batch)
        local, metrics = super().__call__(batch)
        common, _ = super().__call__(batch.set(advantages=between.expand_as(local)))
        told = batch.means(local=w.expand_as(local), global_advantage=between.abs().expand_as(local))
        return w * local + self.coef * (1 - w) * common, metrics | told

    def _stats(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """(B, 1) w and A^g."""
        return batch.stats["local"].unsqueeze(1), batch.stats["global"].unsqueeze(1)
