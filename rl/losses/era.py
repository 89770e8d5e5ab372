"""ERA: train a sharpened or flattened policy, so that the one which samples ends up with an entropy in between.

    logits of a rewarded token (A_t > 0):   k z where h < sharpen_below,   z / k where h > flatten_above,   else z
    h = mean of the floor(0.2 n) largest token entropies of its completion of n tokens, of at least one
    r_t = pi'(o_t) / pi'_old(o_t), pi' and pi'_old by these logits;   L_t = max(-A r, -A clip(r)),   for A < 0 at most -A dual

Kang et al. 2025, Entropy Regularizing Activation, arXiv:2510.08549. Where pi' = softmax(k z) is all that the loss sees, z needs only
1 / k of the spread to be as right: a completion that has become certain is taught on a sharper policy than the one that samples.
We follow the scripts: bounds 0.45 and 3.0, k 2, a clip of [0, 2] and a dual clip of 10. The paper's text is not confirmed.
``scale_advantages`` (a second script): A / k and A k in the two sets, by which the step on z keeps its size; as in the code it goes
by the completion's first token.

What we changed: which completions, and pi'_old, are settled once per generation at the policy that generated; the code asks anew
in each update, and a completion that crosses a bound then has pi' of one kind over pi'_old of another. A completion without tokens
is left out, where the code stops. ``reference: true`` is the code's fault of copying the advantages into a tensor of integers, by
which the logits of 0 < A < 1 stay as they are. Not offered: log-probs among the 20 largest logits alone, to save memory, with -1e4
for all other tokens; the pass over the vocabulary needs no such saving.

The log-probs of the batch are at the sampling temperature, which must be ``sampling_temperature``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.bounds import Bounded, beyond
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.registry import LOSSES, option
from entropostat.rl.sequence import row_count
from entropostat.rl.term import Surrogate
from entropostat.rl.vocab_sums import Wanted

TOP = 0.2
"""Share of a completion's tokens whose entropies stand for it."""


@LOSSES.register(
    "era",
    paper="arXiv:2510.08549",
    needs=("logit", "lse"),
    rollout_needs=("old_logps", "old_entropy", "logit", "lse"),
    reference="nothingbutbut/era ERA-LLM dp_actor.py:227",
    provides={
        "sharpened": "Share of tokens whose logits count k times.",
        "flattened": "Share of tokens whose logits are divided by k.",
        "clip_fraction": "Share of tokens whose gradient the ratio clip removed.",
        "dual_fraction": "Share of tokens whose gradient the dual clip removed.",
    },
)
@dataclass(frozen=True)
class ERA(Surrogate):
    """The clipped surrogate on an activated policy: completions that are too certain are trained as if they were more so.

    Costs one more pass over the language-model head per generation and per update, at two temperatures beside the sampler's.
    Inert while all completions are between the bounds, and without rewarded ones. Not monotone from one step to the next: what it
    bounds is the entropy at which the activated policy has nothing left to gain.
    """

    type: str = option("dapo", choices=CLIPPED, doc="TRL's loss_type whose normaliser averages the tokens")
    k: float = option(2.0, above=1.0, high=100.0, fixed=True, doc="factor on the logits")
    sharpen_below: float = option(0.45, low=0.0, doc="h below which logits count k times, nats")
    flatten_above: float = option(3.0, low=0.0, doc="h above which logits are divided by k, nats")
    scale_advantages: bool = option(False, doc="A / k where sharpened, A k where flattened")
    epsilon: float = option(1.0, above=0.0, doc="lower clip: ratio >= 1 - epsilon")
    epsilon_high: float | None = option(None, above=0.0, doc="upper clip; null: epsilon")
    dual: float | None = option(10.0, above=1.0, doc="cap on the loss of A < 0 in units of -A; null: off")
    sampling_temperature: float = option(1.0, above=0.0, fixed=True, doc="the trainer's sampling temperature")
    clamp: float = option(20.0, above=0.0, high=80.0, fixed=True, doc="bound of |log ratio|; no gradient outside")
    floor: float = option(1e4, above=0.0, fixed=True, doc="log pi' >= -floor; no gradient below")
    reference: bool = option(False, doc="advantages rounded towards 0 before their sign is read, as the released code")
    scope: str = option("rollout", choices=("rollout",), doc="when the completions and the old policy are settled")

    holds = "ratio"

    @property
    def assumed_temperature(self) -> float:
        return self.sampling_temperature

    @property
    def _temperatures(self) -> tuple[float, float]:
        """Of the sharpened and of the flattened policy."""
        return self.sampling_temperature / self.k, self.sampling_temperature * self.k

    @property
    def wanted(self) -> Wanted:
        return Wanted((), self._temperatures)

    def prepare(self, batch: TokenBatch) -> Stats:
        """Tokens of either kind, the completions that they are of, and the activated log-probs of the old policy."""
        a, h = batch.token_advantages, self._height(batch)
        rewarded = batch.valid & ((a.trunc() if self.reference else a) > 0)
        low, high = h < self.sharpen_below, h > self.flatten_above
        sharp, flat = rewarded & low, rewarded & high
        first = a.gather(1, batch.valid.int().argmax(1, keepdim=True)) > 0
        scale = torch.where(first & low, 1 / self.k, torch.where(first & high, self.k, torch.ones_like(h)))
        old = self._activated(batch, batch.require("old_logps"), sharp, flat)
        return {"sharp": sharp, "flat": flat, "scale": scale, "old_logps": old}

    def _height(self, batch: TokenBatch) -> Tensor:
        """(B, 1) h; NaN, which is neither low nor high, for a completion without tokens."""
        ordered = batch.require("old_entropy").masked_fill(batch.invalid, -torch.inf).sort(1, descending=True).values
        count = (TOP * row_count(batch)).floor().clamp(min=1)
        among = torch.arange(ordered.shape[1], device=ordered.device) < count
        total = torch.where(among, ordered, 0.0).sum(1, keepdim=True)
        return torch.where(batch.valid.any(1, keepdim=True), total / count, torch.nan).to(ordered.dtype)

    def _activated(self, batch: TokenBatch, plain: Tensor, sharp: Tensor, flat: Tensor) -> Tensor:
        """(B, T) log pi' of the tokens; ``plain`` where the logits stay as they are."""
        cold, hot = self._temperatures
        lse, logit = batch.lse, batch.require("logit")
        if lse is None or cold not in lse or hot not in lse:
            raise ValueError(
                f"era reads batch.lse at {cold:g} and {hot:g}, which the pass over the vocabulary did not give"
            )
        logps = torch.where(sharp, logit / cold - lse[cold], torch.where(flat, logit / hot - lse[hot], plain))
        return batch.set(logps=logps).difference(logps.new_zeros(()), self.floor)

    def _ratio(self, batch: TokenBatch) -> Tensor:
        """(B, T)."""
        stats = batch.stats
        logps = self._activated(batch, batch.logps, stats["sharp"], stats["flat"])
        return batch.set(logps=logps, old_logps=stats["old_logps"]).log_ratio.clamp(-self.clamp, self.clamp).exp()

    @property
    def _band(self) -> tuple[float, float]:
        return 1 - self.epsilon, 1 + (self.epsilon if self.epsilon_high is None else self.epsilon_high)

    def bounded(self, batch: TokenBatch) -> Bounded:
        """The dual clip aside, which caps the loss and not the ratio's distance."""
        return beyond(batch, self._ratio(batch), *self._band)

    def __call__(self, batch: TokenBatch) -> Output:
        a, ratio = batch.token_advantages, self._ratio(batch)
        if self.scale_advantages:
            a = a * batch.stats["scale"]
        free, clipped = -a * ratio, -a * ratio.clamp(*self._band)
        loss = torch.maximum(free, clipped)
        capped = torch.zeros_like(batch.valid)
        if self.dual is not None:
            capped = (a < 0) & (loss > -a * self.dual)
            loss = torch.where(capped, -a * self.dual, loss)
        shares = {"sharpened": batch.stats["sharp"], "flattened": batch.stats["flat"]}
        return loss, batch.means(**shares, clip_fraction=clipped > free, dual_fraction=capped)
