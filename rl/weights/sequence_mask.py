"""Sequence mask: a completion that trainer and sampler do not agree on does not train, the others carry their ratios.

    g = exp(mean_t d_t) (geometric)   or   exp(sum_t d_t) (product),     d = log pi_old - log pi_sampler
    w_t = exp(d_t) (carries: token)   or   g (carries: sequence),   where low <= g <= high;   else 0

Liu 2025, When Speed Kills Stability (masked importance sampling by sequence). ``geometric`` with the ratios of the tokens is
NeMo-RL's seq-mask-tis, whose guide bounds 0.999 and 1.002 are our defaults; ``product`` with its own ratio is TRL's
``sequence_mask`` (there: low null, high 3), a window that long completions leave almost surely. Kept ratios are not truncated.

A token that the sampler finds impossible has weight 0 and counts as log-ratio 0 in g, as in NeMo-RL: it does not take its
completion along. One that the sampler gave no log-prob for has ratio 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.measured import Mean
from entropostat.rl.mismatch import WINDOWS, inside, ratio_of, sampler_log_ratio, sequence_log_ratio
from entropostat.rl.registry import WEIGHTS, option
from entropostat.rl.term import Weight

DIVISOR = 1e-8
"""NeMo-RL adds this to the token count under the mean; it shows where the ratio is at an end of the window."""


@WEIGHTS.register(
    "sequence_mask",
    paper="Liu 2025",
    needs=("old_logps", "sampler_logps"),
    reference="NeMo-RL loss_functions.py:180 (seq-mask-tis); TRL 1.16 sequence_mask",
    provides={
        "fraction": "Share of completions that were dropped.",
        "mean": "Mean weight over tokens, dropped ones included.",
        "ratio": "Mean sequence ratio g, over completions.",
    },
)
@dataclass(frozen=True)
class SequenceMask(Weight):
    """Drop the completions whose probabilities in trainer and sampler differ too much as a whole.

    Takes the place of TRL's correction, which must be off. Inert where the trainer samples itself: every ratio is then 1.
    """

    window: str = option("geometric", choices=WINDOWS, doc="ratio of the sequence: mean or sum of log-ratios")
    low: float | None = option(0.999, low=0.0, high=1.0, doc="smallest ratio that trains; null: any")
    high: float | None = option(1.002, low=1.0, doc="largest ratio that trains; null: any")
    carries: str = option("token", choices=("token", "sequence"), doc="the ratio that weights what is kept")
    clamp: float = option(20.0, above=0.0, high=80.0, fixed=True, doc="bound of |log ratio|")

    corrects_sampler = True

    def __call__(self, batch: TokenBatch) -> Output:
        d = sampler_log_ratio(batch)
        g, kept = self._sequences(d, batch)
        ratio = ratio_of(d, self.clamp) if self.carries == "token" else torch.where(d.isinf(), 0.0, g)
        weight = torch.where(kept, ratio, 0.0)
        there = batch.valid.any(1, keepdim=True)
        return weight, {
            "fraction": Mean.over((~kept).to(g.dtype), there),
            "ratio": Mean.over(g, there),
            **batch.means(mean=weight),
        }

    def _sequences(self, d: Tensor, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """(B, 1) ratio of each completion, and (B, 1) bool whether it is inside the window."""
        g = ratio_of(sequence_log_ratio(d, self.window, batch, DIVISOR), self.clamp)
        return g, inside(g, self.low, self.high)
