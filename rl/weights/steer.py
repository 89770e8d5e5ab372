"""STEER: slow the tokens that are about to change entropy most, in either direction.

    Omega_t = -I_clip r A pi (1 - pi) (log pi + H)              (change of entropy by one step on the token's own logit)
    map exp:     w_t = lambda_min ** (|Omega_t| / max |Omega|)
    map linear:  w_t = lambda_max - (lambda_max - lambda_min) (|Omega_t| - min) / (max - min)

STEER, arXiv:2510.10150. Its Theorem 1 (``omega: theorem``, with lambda_min 0.7) is known to us second-hand and not
confirmed. The released code (``omega: released``) drops I_clip and has 1 / pi_old where the theorem has r = pi / pi_old, so
that one rare token can set the maximum; its scripts use map exp, lambda_min 0.8 and a ``floor`` of 0.02 under the maximum,
``scope: micro``. Its linear map has lambda_max 1.2.

H is the old policy's, pi and r the current one's, as in the code. What we changed: maximum and minimum are those of the
generation at the old policy (r = 1), so the weight of a token depends on no micro-batch; beyond the maximum it stays at
lambda_min. In a loop with ``scope: micro`` or ``ranks`` H is the current policy's.

The theorem moves the sampled token's logit and no other. ``omega: full`` is ours, the whole first-order change of a step on
the token, in which the others give way (see dynamics.py); S is taken as above and E S is that of the policy of H:

    Omega_t = -I_clip r A (S - E S),   S = pi (log pi + H),   E S = H sum pi^2 + sum pi^2 log pi

Not to be confused with steering a model by vectors added to its activations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.dynamics import entropy_slope, mean_entropy_slope
from entropostat.rl.info import SCOPES
from entropostat.rl.measured import Largest, Smallest
from entropostat.rl.needs import when
from entropostat.rl.registry import WEIGHTS, option
from entropostat.rl.term import Weight


@WEIGHTS.register(
    "steer",
    paper="arXiv:2510.10150",
    needs=("old_logps", "entropy", when(omega="full").unless(scope="rollout").needs("sum_p2", "sum_p2_logp")),
    rollout_needs=(
        when(scope="rollout").needs("old_logps", "old_entropy"),
        when(scope="rollout", omega="full").needs("sum_p2", "sum_p2_logp"),
    ),
    reference="zz-haooo/STEER core_algos.py:580",
    provides={"mean": "Mean weight.", "smallest": "Smallest weight.", "largest": "Largest |Omega| of the scope."},
)
@dataclass(frozen=True)
class Steer(Weight):
    """A speed limit on entropy: weights near 1 for most tokens, down to lambda_min for those that would change it most.

    Relative to the batch, so always at work; one outlier pushes all other weights towards 1. Inert where all advantages
    are 0. Weights are not renormalised: the step shrinks by their mean. ``omega: full`` costs one more pass over the
    language-model head per generation (per update with ``scope: micro`` or ``ranks``).
    """

    omega: str = option("theorem", choices=("theorem", "released", "full"), doc="estimate of the change of entropy")
    map: str = option("exp", choices=("exp", "linear"), doc="how |Omega| becomes a weight")
    lambda_min: float = option(0.7, above=0.0, high=1.0, doc="weight of the largest |Omega| (released: 0.8)")
    lambda_max: float = option(1.2, low=1.0, doc="map linear: weight of the smallest |Omega|")
    floor: float = option(0.0, low=0.0, doc="map exp: lower bound of the maximum (released: 0.02)")
    clamp: float = option(20.0, above=0.0, high=80.0, fixed=True, doc="omega theorem: bound of |log ratio|")
    scope: str = option("rollout", choices=SCOPES, doc="what maximum and minimum run over")

    smooth = True
    """The weight moves with the current log-probs; as it is detached, the loss has no derivative by differences."""

    def prepare(self, batch: TokenBatch) -> Stats:
        entropy = batch.require("entropy") if batch.old_entropy is None else batch.old_entropy
        stats = {"entropy": entropy}
        if self.omega == "full":
            stats["centre"] = mean_entropy_slope(entropy, batch.require("sum_p2"), batch.require("sum_p2_logp"))
        size = self._change(batch, **stats).abs()[batch.valid]
        pooled = batch.reducer.gather(
            torch.stack([size.max(), size.min()]).view(1, 2) if size.numel() else size.view(0, 2)
        )
        none = size.new_tensor(torch.nan)
        largest, smallest = (pooled[:, 0].max(), pooled[:, 1].min()) if pooled.numel() else (none, none)
        return stats | {"largest": largest, "smallest": smallest}

    def __call__(self, batch: TokenBatch) -> Output:
        stats = batch.stats
        size = self._change(batch, stats["entropy"], stats.get("centre")).abs()
        largest, smallest = stats["largest"], stats["smallest"]
        if self.map == "exp":
            bound = largest.clamp(min=self.floor)
            share = torch.where(bound > 0, size / torch.where(bound > 0, bound, 1.0), 0.0)
            weight = (math.log(self.lambda_min) * share).exp().clamp(min=self.lambda_min, max=1.0)
        else:
            width = largest - smallest
            share = torch.where(width > 0, (size - smallest) / torch.where(width > 0, width, 1.0), 0.5)
            weight = self.lambda_max - share.clamp(0.0, 1.0) * (self.lambda_max - self.lambda_min)
        weight = torch.where(batch.valid, weight, 1.0)
        ends = {"smallest": Smallest.over(weight, batch.mask), "largest": Largest.over(largest)}
        return weight, {**batch.means(mean=weight), **ends}

    def _change(self, batch: TokenBatch, entropy: Tensor, centre: Tensor | None = None) -> Tensor:
        """(B, T) Omega; 0 where the mask is 0. ``centre`` is E S, which ``omega: full`` alone reads."""
        a = batch.token_advantages
        if self.omega == "released":
            p = batch.logps.exp().clamp(1e-8, 1 - 1e-8)
            omega = -a / batch.reference_logps.exp().clamp(1e-8, 1.0) * p * (1 - p) * (p.log() + entropy)
        else:
            logps, r = batch.logps.clamp(-1e4, 0.0), batch.log_ratio.clamp(-self.clamp, self.clamp).exp()
            slope = entropy_slope(logps, entropy)
            omega = -r * a * (slope * (1 - logps.exp()) if centre is None else slope - centre)
            if batch.clip is not None:
                low, high = batch.clip
                omega = torch.where(((a > 0) & (r > high)) | ((a < 0) & (r < low)), 0.0, omega)
        return torch.where(batch.valid, torch.nan_to_num(omega, nan=0.0), 0.0)
