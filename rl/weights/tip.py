"""TIP: distil on the tokens that matter, by the policy's entropy and its divergence from the teacher.

    h, d = entropy and divergence, each (x - min) / (max - min);     N tokens, k = max(1, int(ratio N))

    entropy_topk     the k largest h                      q3         the k largest (1 - h) d: sure, and wrong
    entropy_sample   k drawn by h^alpha d^gamma           q3_median  all with h below its median and d above its own
    divergence       the k largest d                      soft_or    the k largest h + d - h d
    w_t = N / kept on the tokens that are kept, else 0

Zhou et al. 2026, TIP, arXiv:2604.14084: at half of the tokens by entropy as good as all, on the overconfident ones (Q3)
nearly so. Its text was seen in summaries only: that both axes are normalised by their range, the score of Q3 and the split at
medians are not confirmed. The released trainer selects nothing; its ``entropy_weighted_sample``, which nothing calls, is
``entropy_sample`` on entropies over ln V and jsd over ln 2 (constant factors, which change no draw), without replacement; like
it, and by default, the mean is over the tokens kept (``denominator: kept``).

What we changed: counts, ranges and medians run over the whole generation, at the policy that made it, where paper and code see
one micro-batch (``scope: micro``); and a draw hashes seed, generation, sequence and position instead of drawing from a
generator. That costs a forward of the policy where it is not scored anyway and, where d is read, one of the teacher, which
``scope: ranks`` does without.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.comparison import Comparison
from entropostat.rl.covariance import selection_keys, token_count
from entropostat.rl.divergences import DIVERGENCES
from entropostat.rl.info import SCOPES
from entropostat.rl.measured import Mean
from entropostat.rl.needs import TEACHER, When, unless, when
from entropostat.rl.reduce import Reducer, top_mask
from entropostat.rl.registry import WEIGHTS, option
from entropostat.rl.term import Weight
from entropostat.rl.vocab_sums import Wanted

SELECT = ("entropy_topk", "entropy_sample", "divergence", "q3", "q3_median", "soft_or")
BY_TEACHER = ("divergence", "q3", "q3_median", "soft_or")
"""Those that read the divergence whatever the other options are."""
FLOOR = 1e-8
"""Of what is raised to a power."""
EPS = 1e-12
"""Of a range that may be 0."""


def _of_teacher(start: When) -> tuple[When, ...]:
    return (*(start.when(select=name) for name in BY_TEACHER), start.when(select="entropy_sample").unless(gamma=None))


@WEIGHTS.register(
    "tip",
    paper="arXiv:2604.14084",
    needs=(
        unless(scope="rollout").needs("entropy"),
        *(asked.needs(TEACHER) for asked in _of_teacher(unless(scope="rollout"))),
    ),
    rollout_needs=(
        when(scope="rollout").needs("old_entropy"),
        *(asked.needs(TEACHER) for asked in _of_teacher(when(scope="rollout"))),
    ),
    reference="HJSang/OPSD_OnPolicyDistillation src/opd/losses.py:249",
    provides={
        "fraction": "Share of tokens that are kept.",
        "entropy": "Mean entropy of the tokens kept, nats, when they were selected.",
    },
)
@dataclass(frozen=True)
class Tip(Weight):
    """Select the tokens that distillation trains on; the rest get no gradient from it, nor from a policy loss beside it.

    Saves no computing here: the divergence of every token is at hand before the weights are. Inert at ``ratio: 1``, which keeps
    all. Beside a policy loss it selects that one's tokens too.
    """

    select: str = option("entropy_topk", choices=SELECT, doc="by which score tokens are kept")
    ratio: float = option(0.5, above=0.0, high=1.0, doc="share of tokens kept", only=unless(select="q3_median"))
    divergence: str = option("reverse_kl", choices=DIVERGENCES, doc="d: the divergence from the teacher")
    top_k: int | None = option(None, low=1, doc="likeliest entries of the teacher that count in d; null: all")
    alpha: float = option(
        1.0, low=0.0, high=10.0, fixed=True, doc="power of h in a draw", only=when(select="entropy_sample")
    )
    gamma: float | None = option(
        None, low=0.0, high=10.0, fixed=True, doc="power of d in a draw; null: the teacher is not asked",
        only=when(select="entropy_sample"),
    )  # fmt: skip
    denominator: str = option("kept", choices=("kept", "all"), doc="tokens that the loss is averaged over")
    scope: str = option("rollout", choices=SCOPES, doc="what counts, ranges and medians run over")

    smooth = False

    @property
    def _comparison(self) -> Comparison:
        return Comparison(self.divergence, top_k=self.top_k)

    @property
    def _asks(self) -> bool:
        return self.select in BY_TEACHER or (self.select == "entropy_sample" and self.gamma is not None)

    @property
    def wanted(self) -> Wanted | None:
        return Wanted((), comparisons=(self._comparison,)) if self._asks else None

    def prepare(self, batch: TokenBatch) -> Stats:
        entropy = batch.require("old_entropy" if self.scope == "rollout" else "entropy")
        divergence = batch.of_teacher(self._comparison.key) if self._asks else None
        total = token_count(batch)
        keep = self._kept(batch, entropy, divergence, total)
        scale = torch.ones((), dtype=torch.float64, device=entropy.device)
        if self.denominator == "kept":
            scale = total / batch.reducer.sum(keep.sum()).clamp(min=1).double()
        return {"keep": keep, "scale": scale, "entropy": entropy}

    def _kept(self, batch: TokenBatch, entropy: Tensor, divergence: Tensor | None, total: int) -> Tensor:
        valid, reducer = batch.valid, batch.reducer
        if self.select == "q3_median":
            assert divergence is not None
            below = entropy < median(entropy[valid], reducer)
            return valid & below & (divergence > median(divergence[valid], reducer))
        score = self._score(batch, entropy, divergence)
        return top_mask(score, valid, max(1, int(total * self.ratio)), reducer)

    def _score(self, batch: TokenBatch, entropy: Tensor, divergence: Tensor | None) -> Tensor:
        if self.select == "entropy_topk":
            return entropy
        if self.select == "entropy_sample":
            weight = draw_weight(entropy, self.alpha, divergence, self.gamma or 0.0)
            u = selection_keys(batch).double().clamp(1e-300, 1 - 2**-53)
            return weight.double().log() - (-u.log()).log()  # the k largest are a draw without replacement
        assert divergence is not None
        if self.select == "divergence":
            return divergence
        h, d = (in_range(x, batch.valid, batch.reducer) for x in (entropy, divergence))
        return (1 - h) * d if self.select == "q3" else h + d - h * d

    def __call__(self, batch: TokenBatch) -> Output:
        keep, entropy = batch.stats["keep"], batch.stats["entropy"]
        weight = keep.to(batch.logps.dtype) * batch.stats["scale"].to(batch.logps.dtype)
        return weight, {**batch.means(fraction=keep), "entropy": Mean.over(entropy, keep & batch.valid)}


def draw_weight(h: Tensor, alpha: float, d: Tensor | None = None, gamma: float = 0.0) -> Tensor:
    """What a token's chance of being drawn is proportional to."""
    weight = h.clamp(min=FLOOR) ** alpha
    return weight if d is None else weight * d.clamp(min=FLOOR) ** gamma


def in_range(x: Tensor, valid: Tensor, reducer: Reducer) -> Tensor:
    """(x - min) / (max - min) over the valid tokens of all ranks; 0 where they are all equal."""
    pooled = reducer.gather(x[valid])
    if not pooled.numel():
        return torch.zeros_like(x)
    low, high = pooled.aminmax()
    return torch.where(valid, (x - low) / (high - low + EPS), 0.0)


def median(x: Tensor, reducer: Reducer) -> Tensor:
    """The lower one of all ranks; NaN without a token."""
    pooled = reducer.gather(x)
    return pooled.median() if pooled.numel() else x.new_tensor(torch.nan)
