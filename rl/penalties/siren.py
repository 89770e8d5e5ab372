"""SIREN: hold the entropy of the uncertain tokens, over their likely continuations only, at an anchor.

    P = coef (h - anchor)^2,   h = mean over sequences of mean over kept tokens of H_t
    H_t: entropy of the policy renormalised over its top_p nucleus;   kept: H_t above its ``quantile`` in the sequence

SIREN, arXiv:2509.25133: top_p 0.8, quantile 0.8, coef 0.005, a symmetric clip of 0.28, and as anchor the h of the first
step. A sequence with no kept token counts as 0. The selection is a constant to the gradient.

The released code, and what we changed. Its nucleus leaves out the token that takes the mass beyond top_p, so that H_t is 0
wherever the likeliest token has top_p or more: ``reference: true``; ours is that of nucleus sampling, which keeps it. Its
selection forgets the response mask, its quantile does not: we keep tokens of the response only. It takes the square on each
micro-batch (``scope: micro``), and the square of a mean is not the mean of squares. By default the slope 2 coef (h - anchor)
is that of the whole generation at the old policy, over all ranks, and P = slope h: the formula's gradient at the start of
each generation, with the value of P shifted. Every sequence of the accumulation window weighs the same.

The nucleus is read off the ``top_k`` largest probabilities: where that many do not reach top_p, it is that of top-k and top-p
together (the code: 10,000).

Not to be confused with the networks of sinusoids, arXiv:2006.09661, of that name.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.measured import Mean
from entropostat.rl.needs import when
from entropostat.rl.registry import PENALTIES, option
from entropostat.rl.sequence import row_quantile
from entropostat.rl.term import ScalarPenalty
from entropostat.rl.vocab_sums import Wanted


@PENALTIES.register(
    "siren",
    paper="arXiv:2509.25133",
    needs=("nucleus_entropy",),
    rollout_needs=(when(scope="rollout").needs("nucleus_entropy"),),
    reference="Linn3a/siren dp_actor.py:50",
    provides={
        "entropy": "h, nats: mean over the completions that have tokens.",
        "slope": "Derivative of the penalty by h: positive where it lowers entropy.",
        "kept": "Share of tokens that the penalty acts on.",
    },
)
@dataclass(frozen=True)
class SIREN(ScalarPenalty):
    """Pull the nucleus entropy of each completion's most uncertain tokens back to the level that it started from.

    Acts on about a fifth of the tokens and on no unlikely one: the long tail earns nothing. ``anchor`` has no default, as it
    is a property of model and task: run one step with ``coef: 0`` and take the ``entropy`` that it reports, or give a
    schedule. Costs one more pass over the language-model head per generation and per update. Inert at the anchor,
    for completions of one token, and where all tokens are equally uncertain.
    """

    anchor: float = option(low=0.0, doc="h to hold, nats; the paper's is that of the first generation")
    coef: float = option(5e-3, low=0.0, doc="size of the penalty")
    top_p: float = option(0.8, above=0.0, high=1.0, fixed=True, doc="mass of the nucleus")
    quantile: float = option(0.8, low=0.0, below=1.0, doc="tokens at or below it in their sequence are left alone")
    top_k: int = option(1024, low=1, doc="probabilities that are kept to find the nucleus")
    reference: bool = option(False, doc="nucleus without the token that crosses top_p, as the released code")
    scope: str = option("rollout", choices=("rollout", "micro"), doc="what the distance to the anchor is measured on")

    @property
    def wanted(self) -> Wanted:
        return Wanted((), top_p=self.top_p, top_k=self.top_k, crossing=not self.reference)

    def prepare(self, batch: TokenBatch) -> Stats:
        """The slope, and how many sequences there are for a token."""
        rows, _ = self._selected(batch)
        own = [rows.sum(), batch.valid.sum(), batch.valid.any(1).sum()]
        total, tokens, count = batch.reducer.sum(torch.stack([x.to(rows.dtype) for x in own])).unbind()
        slope = 2 * self.coef * (total / count - self.anchor)  # NaN without a token, as density is
        return {"slope": slope, "density": count / tokens}

    def __call__(self, batch: TokenBatch) -> Output:
        rows, kept = self._selected(batch)
        sequences, slope = batch.valid.any(1).sum(), batch.stats["slope"]
        metrics = {"entropy": Mean.of(rows.sum().detach(), sequences), "slope": slope, **batch.means(kept=kept)}
        if self.scope == "rollout":
            shared = batch.require("tokens").clamp(min=1) * batch.stats["density"].nan_to_num(1.0)
            return slope.nan_to_num() * rows.sum() / shared, metrics
        h = rows.sum() / sequences.clamp(min=1)
        return torch.where(sequences > 0, self.coef * (h - self.anchor).square(), 0.0), metrics

    def _selected(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """(B,) mean over the kept tokens of each sequence, 0 for none; and (B, T) which they are."""
        entropy = batch.require("nucleus_entropy")
        kept = batch.valid & (entropy > row_quantile(entropy.detach(), self.quantile, batch))
        return torch.where(kept, entropy, 0.0).sum(1) / kept.sum(1).clamp(min=1), kept
