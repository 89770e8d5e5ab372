"""HICRA: more credit, and less blame, for the tokens in which a completion plans.

    A_t <- A_t + alpha |A_t|  on planning tokens

Emergent Hierarchical Reasoning in LLMs through Reinforcement Learning, arXiv:2509.03646, known from two summaries that agree:
not confirmed beyond that. alpha 0.2. Planning tokens are those of strategic grams, phrases of 3 to 5 words that many right
solutions share. The paper embeds the phrases of successful solutions, clusters them and keeps the top fifth of clusters
by the number of solutions that hold one.

What we changed: phrases are mined from the run's own right completions as they come, each a cluster of its own, as no
embedding model is at hand; of those that at least ``least`` completions hold, the top ``share``. A list of one's own is
``seed``. They are matched in the text, in lower case and at word boundaries, and not by token ids as in the code below, which
misses a phrase behind another space. ``batch.planning`` marks them. What has been mined is part of the checkpoint.

``reference: true`` is the authors' code as quoted in a pull request to TRL, which is another rule: tokens above the entropy
quantile 1 - ``top`` of their row count as planning as well, in right completions (mean advantage above 0) that are longer than
the mean of their group; ``planning: false`` leaves only those.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.needs import when
from entropostat.rl.phrases import Phrases
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.reshaping import advantages_before, token_entropy
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "hicra",
    paper="arXiv:2509.03646",
    rollout_needs=(when(planning=True).needs("planning"), when(reference=True).needs("old_entropy")),
    clock="rollout",
    reference="TRL pull request branch a8fcd8d19 hicra_trainer.py:366",
    provides={
        "planning": "Share of tokens that are part of a strategic phrase.",
        "raised": "Share of tokens whose advantage it has raised.",
    },
)
@dataclass(frozen=True)
class Hicra(Advantage):
    """Raise the advantages of tokens that belong to phrases of planning, mined from the run's own right completions.

    Reshapes the advantages before it. Inert until a phrase has been found in ``least`` right completions, unless ``seed``
    names some, and where completions hold no words. Watch ``planning``: a template that every answer repeats is
    taken for strategy. It moves credit between tokens and is no controller of entropy.
    """

    alpha: float = option(0.2, low=0.0, high=1.0, doc="share of |A| that is added")
    seed: tuple[str, ...] = option(factory=tuple, doc="phrases that count from the start, of any length")
    shortest: int = option(3, low=1, doc="words of the shortest phrase that is mined")
    longest: int = option(5, low=1, doc="words of the longest")
    share: float = option(0.2, above=0.0, high=1.0, fixed=True, doc="of the mined phrases, the most common that count")
    least: int = option(5, low=1, doc="right completions that must hold a phrase (ours)")
    limit: int = option(20_000, low=1, doc="candidates that are remembered (ours)")
    success: float = option(0.0, fixed=True, doc="a completion is right where its reward is above this")
    reference: bool = option(False, doc="the authors' code as quoted, not the paper's formula")
    planning: bool = option(True, doc="false: only high entropy counts", only=when(reference=True))
    top: float = option(
        0.3, low=0.0, high=1.0, fixed=True, doc="share of a row's tokens with high entropy", only=when(reference=True)
    )

    tokenwise = True
    reshapes = True

    def __post_init__(self) -> None:
        if self.shortest > self.longest:
            raise ValueError(f"hicra.shortest: {self.shortest} must be at most longest, {self.longest}")
        if not self.planning and not self.reference:
            raise ValueError("hicra.planning: false leaves nothing to raise without reference: true")
        if isinstance(self.seed, str) or not all(isinstance(phrase, str) for phrase in self.seed):
            raise ValueError(f"hicra.seed: {self.seed!r} must be a list of phrases")

    @property
    def phrases(self) -> Phrases | None:
        if not self.planning:
            return None
        seed = tuple(self.seed)
        return Phrases(seed, self.shortest, self.longest, self.share, self.least, self.limit, self.success)

    def __call__(self, batch: TokenBatch) -> Output:
        advantages_before(batch, "hicra")
        a = torch.where(batch.valid, batch.token_advantages, 0.0)
        marked = batch.valid & batch.require("planning") if self.planning else torch.zeros_like(batch.valid)
        raised = marked | self._uncertain(batch, a) if self.reference else marked
        new = torch.where(raised, a + self.alpha * a.abs(), a)
        return new, batch.means(planning=marked.to(a.dtype), raised=(new > a).to(a.dtype))

    def _uncertain(self, batch: TokenBatch, a: Tensor) -> Tensor:
        """(B, T) bool: tokens of high entropy in the long right completions of a group."""
        length = batch.mask.sum(1).to(a.dtype)
        mean = a.sum(1) / length.clamp(min=1)
        groups = all_groups(length, batch.groups, batch.reducer)
        average = groups.own(torch.nanmean(groups.matrix, dim=1, keepdim=True).expand_as(groups.matrix))
        long = (mean > 0) & (length > average)
        return batch.valid & (token_entropy(batch) > self._threshold(batch)) & long.unsqueeze(1)

    def _threshold(self, batch: TokenBatch) -> Tensor:
        """(B, 1) entropy of the token at this place of the ascending order of its row."""
        ordered = token_entropy(batch).masked_fill(batch.invalid, torch.inf).sort(1).values
        place = ((1 - self.top) * batch.valid.sum(1)).long().minimum(batch.valid.sum(1) - 1)
        return ordered.gather(1, place.clamp(min=0).unsqueeze(1))
