"""PEAR: a right answer earns less, the more uncertain its thinking was, compared with its answer.

    r = min(1, score - max(0, H_think - alpha H_answer)) where right, else format_score

H_think is the mean token entropy before the ``boundary``, ``</think>``, H_answer that after it; the boundary itself counts
in neither. Phase Entropy Aware Reward, arXiv:2510.08026. Entropies are the old policy's, of the full distribution at the
sampling temperature, and are numbers: no gradient goes through them. The paper's alpha is 1, its code's score 1 and
format_score 0.

The authors' code could not be had: formula, max included, and constants are quoted by three readers of the paper who agree, and
are not confirmed beyond that. Where the boundary is missing the formula's k = T gives H_answer = 0 and H_think of all tokens
but the last (``missing: drop_last``); the other reading takes all of them (``all``). Of several boundaries the paper says
nothing: ``occurrence``. A boundary that is the first, or the last, token leaves an empty phase, of entropy 0. The formula has no
lower bound, so that a right answer may earn less than a wrong one: ``floor``, which is ours and none by default, is the least
that a right answer earns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.difficulty import right
from entropostat.rl.measured import Mean
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import REWARDS, option
from entropostat.rl.reshaping import token_entropy
from entropostat.rl.term import Reward
from entropostat.rl.windows import span


@REWARDS.register(
    "pear",
    paper="arXiv:2510.08026",
    rollout_needs=("old_entropy", "unshaped", "pieces"),
    clock="rollout",
    provides={
        "think": "Mean entropy before the boundary, nats, over completions.",
        "answer": "Mean entropy after the boundary, nats, over completions that have one.",
        "penalty": "Mean penalty of the right completions, nats.",
        "boundary": "Share of the completions that have a boundary.",
        "all_right": "Share of the prompt groups that are all right: there entropy alone decides the advantages.",
    },
)
@dataclass(frozen=True)
class PEAR(Reward):
    """Shorter, surer thinking: right answers are paid by the entropy of their thinking phase, wrong ones all alike.

    Replaces the reward: what the verifiers gave only says whether a completion is right. Where a whole group is right and the
    advantages are divided by its deviation, differences of entropy count as much as right and wrong do elsewhere, however
    small they are: watch ``all_right``. An exploration bonus pulls the other way.
    """

    alpha: float = option(1.0, doc="how much of the answer's entropy excuses that of the thinking (paper: 1)")
    score: float = option(1.0, above=0.0, high=1.0, doc="reward of a right answer before the penalty")
    format_score: float = option(0.0, low=0.0, below=1.0, doc="reward of a wrong answer")
    floor: float | None = option(
        None, fixed=True, doc="least reward of a right answer, such as a little above format_score; null: none"
    )
    boundary: str = option("</think>", doc="the text that ends the thinking")
    occurrence: str = option("first", choices=("first", "last"), doc="which, where there are several")
    missing: str = option(
        "drop_last", choices=("drop_last", "all"), doc="tokens that count as thinking where there is no boundary"
    )
    success: float = option(0.5, fixed=True, doc="a completion is right where its verifiers gave more than this")

    def __post_init__(self) -> None:
        if not self.boundary:
            raise ValueError("pear.boundary: is empty; give the text that ends the thinking, such as </think>")

    def __call__(self, batch: TokenBatch) -> Output:
        thinking, answering, found = self._phases(batch)
        entropy = token_entropy(batch)
        think, answer = _mean(entropy, thinking), _mean(entropy, answering)
        penalty = (think - self.alpha * answer).clamp(min=0)
        earned = (self.score - penalty).clamp(min=self.floor, max=1.0)
        hit = right(batch, self.success)
        rewards = torch.where(hit, earned, self.format_score)
        rights = hit.to(entropy.dtype).masked_fill(batch.require("unshaped").isnan(), torch.nan)
        groups = all_groups(rights, batch.groups, batch.reducer).matrix
        scored = ~groups.isnan().all(1)
        return rewards, {
            "think": Mean.over(think, thinking.any(1)),
            "answer": Mean.over(answer, answering.any(1)),
            "penalty": Mean.over(penalty, hit),
            "boundary": Mean.over(found.to(entropy.dtype), torch.ones_like(found)),
            "all_right": (groups.nan_to_num(1.0).amin(1) * scored).sum() / scored.sum(),
        }

    def _phases(self, batch: TokenBatch) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T) bool: tokens of the thinking, and of the answer. (B,) bool: there is a boundary."""
        pieces = batch.pieces
        if pieces is None:
            raise ValueError("pear reads batch.pieces, and nothing filled it")
        spans = [span(row, self.boundary, self.occurrence == "last") for row in pieces]
        width, device = batch.mask.size(1), batch.mask.device
        first = torch.tensor([width if s is None else s[0] for s in spans], device=device).unsqueeze(1)
        last = torch.tensor([width if s is None else s[1] for s in spans], device=device).unsqueeze(1)
        found = last.squeeze(1) < width
        column = torch.arange(width, device=device)
        thinking, answering = batch.valid & (column < first), batch.valid & (column > last)
        if self.missing == "drop_last":
            end = torch.where(batch.valid, column, -1).amax(1, keepdim=True) if width else first
            thinking = thinking & (found.unsqueeze(1) | (column != end))
        return thinking, answering, found


def _mean(x: Tensor, chosen: Tensor) -> Tensor:
    """(B,) over the chosen tokens of each row; 0 for a row without one."""
    return torch.where(chosen, x, 0.0).sum(1) / chosen.sum(1).clamp(min=1)
