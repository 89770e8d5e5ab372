"""Reward for being unlike the other completions of the prompt.

    r_i <- r_i + coef d_i,   d_i = mean over the other compared j of the group of 1 - K(i, j)

The mean distance from the others is one minus the off-diagonal mean of the similarity matrix whose spectrum gives the Vendi
score (Friedman and Dieng 2023, arXiv:2210.02410). K is the cosine of the
counts of token n-grams, each hashed into one of 2048 places (``of: text``), or 1 where two answers are the same
(``of: answer``). The diversity reward of Syn-GRPO (arXiv:2511.19343), which pays for the spread of accuracy over rewritten
prompts, has no formula that could be had; this one is inspired by it and claims nothing of that paper.

By default only right completions are compared, and paid: being unlike the others must not pay for being wrong, and unlike the
wrong ones every right answer is. Right answers are mostly the same answer, so ``of: answer`` wants ``among: all``, or a task
with several.

Not to be confused with the monitors ``diversity/*``, which only look, nor with ``diversity_weighted``, which chooses
prompts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.difficulty import right
from entropostat.rl.measured import Mean
from entropostat.rl.needs import when
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import REWARDS, option
from entropostat.rl.term import Reward

PLACES = 2048
"""That grams are hashed into. A few thousand grams of a text fill it with a bias that all pairs share."""


@REWARDS.register(
    "diversity",
    paper="arXiv:2210.02410",
    rollout_needs=("unshaped", when(of="text").needs("token_ids"), when(of="answer").needs("answers")),
    clock="rollout",
    provides={
        "distance": "Mean distance of a compared completion from the others of its group, 0 to 1.",
        "compared": "Share of the completions that are compared.",
        "alone": "Share of the compared completions that have no other in their group, and get nothing.",
    },
)
@dataclass(frozen=True)
class Diversity(Reward):
    """A bonus for completions that differ from the others of their prompt: against a policy that says one thing only.

    Added to the reward so far. Inert in groups with one compared completion, and where all are the same. The bonus of a group
    that is all right decides its advantages alone, where these are divided by a deviation.
    """

    coef: float = option(0.1, low=0.0, doc="reward of a completion that shares nothing with the others")
    of: str = option("text", choices=("text", "answer"), doc="what must differ: token n-grams, or the answer")
    among: str = option("right", choices=("right", "all"), doc="which completions are compared and paid")
    gram: int = option(3, low=1, high=8, doc="tokens of a gram; a shorter completion is one gram")
    success: float = option(0.5, fixed=True, doc="a completion is right where its verifiers gave more than this")

    def __call__(self, batch: TokenBatch) -> Output:
        rewards = batch.require("rewards")
        unit = self._units(batch)
        scored = ~batch.require("unshaped").isnan()
        compared = (unit != 0).any(1) & scored & (right(batch, self.success) if self.among == "right" else scored)
        groups = all_groups(unit * compared.unsqueeze(1), batch.groups, batch.reducer)
        members = groups.matrix.nan_to_num(0.0)
        if self.of == "text":
            alike = members @ members.mT
        else:
            alike = (members.mT == members).to(members.dtype)
        pairs = (members != 0).any(2).to(members.dtype)
        pairs = pairs.unsqueeze(1) * pairs.unsqueeze(2) * (1 - torch.eye(pairs.size(1), device=pairs.device))
        others = pairs.sum(2)
        distance = ((1 - alike.clamp(0, 1)) * pairs).sum(2) / others.clamp(min=1)
        mine, alone = groups.own(distance), groups.own(others) == 0
        return rewards + self.coef * mine.to(rewards.dtype), {
            "distance": Mean.over(mine, compared & ~alone),
            "compared": Mean.over(compared.to(mine.dtype), torch.ones_like(compared)),
            "alone": Mean.over(alone.to(mine.dtype), compared),
        }

    def _units(self, batch: TokenBatch) -> Tensor:
        """(B, D) float64 of each completion: counts of its grams at length 1, or a number for its answer; 0 where it has none."""
        if self.of == "text":
            counts = gram_counts(batch.require("token_ids"), batch.valid, self.gram)
            lengths: Tensor = counts.norm(dim=1, keepdim=True)
            return counts / lengths.clamp(min=1)
        if batch.answers is None:  # no verifier finds any
            return torch.zeros(batch.mask.size(0), 1, dtype=torch.float64, device=batch.mask.device)
        keys = [0.0 if answer is None else _number(str(answer)) for answer in batch.answers]
        return torch.tensor(keys, dtype=torch.float64, device=batch.mask.device).unsqueeze(1)


def gram_counts(ids: Tensor, valid: Tensor, gram: int) -> Tensor:
    """(B, PLACES) float64: how often the grams of each row stand there. A row too short for one counts the longest that it has."""
    counts = torch.zeros(ids.size(0), PLACES, dtype=torch.float64, device=ids.device)
    for width in range(min(gram, ids.size(1)), 0, -1):
        windows = torch.where(valid, ids, 0).unfold(1, width, 1)
        whole = valid.unfold(1, width, 1).all(-1)
        whole = whole & (counts == 0).all(1, keepdim=True)
        hashed = torch.zeros_like(windows[..., 0])
        for place in range(width):
            hashed = (hashed * 1_000_003 + windows[..., place] + 1) % 2_147_483_647
        counts.scatter_add_(1, hashed * 2_654_435_761 % 4_294_967_296 // (1 << 21), whole.double())
    return counts


def _number(answer: str) -> float:
    """The same in every process, above 0, and exact in float64."""
    digest = hashlib.blake2b(answer.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return float(int.from_bytes(digest, "big") + 1)
