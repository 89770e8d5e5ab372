"""Entropy tilt: strengthen the tokens whose training raises entropy and weaken those whose training lowers it, or back.

    y_t = -sign(A_t) (S_t - E S)     x_t = clip(y_t / sigma, -1, 1)     sigma^2 = sum |A| y^2 / sum |A|
    v(x) = exp(gain x), between exp(-|gain|) and exp(|gain|)
    w_t = v(x_t) sum |A| / sum v |A|,   so that sum w |A| = sum |A|

dH = |A| y is the first-order entropy change of a policy-gradient step on the token (dynamics.py, after arXiv:2602.03392,
Theorem 3.3). The theorem is theirs, and so is its use as a filter (Clip_B, Clip_V: one-sided, weights 0 and 1). The weight is
ours: two-sided, positive, smooth in gain, and exactly 1 at gain 0. No published method has it. As log v is gain times what
grows with y, and sum w |A| is kept, Chebyshev's inequality says that sum w dH never falls as gain rises.

Every sum is one over the generation and all ranks, at the policy that generated. Since gain moves between two updates of one
generation, ``prepare`` keeps what the sums are at any gain: v is taken at NODES evenly spaced values of x and joined by
straight lines, so sum v |A| is linear in NODES sums, and exact. Of w A the same nodes give the cosine to A (v^2 joined by
lines lies above the square of v joined by lines, so the cosine is at least what is said). Where it would be below
``cosine_floor``, gain is drawn back to the first value at which it is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.dynamics import predicted_dh
from entropostat.rl.reduce import masked_totals
from entropostat.rl.registry import WEIGHTS, option
from entropostat.rl.term import Weight

NODES = 33
FULL = 2.0
"""The largest gain: weights from 0.14 to 7.4 before the sum is restored."""
SEARCH = 65
"""Values of gain that one look at the cosine takes; two looks find it to 1 / 4096."""


@WEIGHTS.register(
    "entropy_tilt",
    paper="arXiv:2602.03392",
    needs=("entropy",),
    rollout_needs=("old_logps", "old_entropy", "sum_p2", "sum_p2_logp"),
    provides={
        "gain": "The gain that is in force, after cosine_floor.",
        "authority": "Half the mean dH between full gain up and full gain down, nats per unit of a policy-gradient step.",
        "shift": "Change of the generation's mean dH by the tilt, relative to the mean of |dH|.",
        "cosine": "Cosine between w A and A over the tokens of the generation, at least.",
        "change": "Mean |w - 1|.",
        "raised": "Share of tokens with a weight above 1.",
        "lowered": "Share of tokens with a weight below 1.",
        "untilted": "Mean dH of the tokens without the tilt, nats per unit of a policy-gradient step.",
        "predicted": "Mean dH of the tokens with the tilt.",
        "realised": "Mean entropy change of the tokens since the generation, nats. They are a probe where not yet trained on.",
        "generation": "Number of the generation that these come from.",
    },
)
@dataclass(frozen=True)
class EntropyTilt(Weight):
    """Steer entropy by what the batch already holds: a positive gain raises it, a negative one lowers it, 0 is plain training.

    Biased, and says so: watch ``cosine``. No advantage changes its sign and none is lost. Watch ``authority`` too: where all
    answers of a prompt are right there is no advantage, and nothing to tilt; where no token raises entropy, it can
    only fall more slowly. Inert where the policy is decided. Costs one more pass over the language-model head per generation.
    """

    gain: float = option(0.0, low=-FULL, high=FULL, doc="strength; positive raises entropy. Made for a controller")
    cosine_floor: float = option(
        0.7, low=0.0, below=1.0, fixed=True, doc="least cosine between the weighted and the plain advantages"
    )
    scope: str = option("rollout", choices=("rollout",), doc="what sigma, the sum and the cosine run over")

    smooth = True
    """No weight is 0."""

    def prepare(self, batch: TokenBatch) -> Stats:
        logp = torch.nan_to_num(batch.require("old_logps")).clamp(max=0.0)
        entropy, a = batch.require("old_entropy"), batch.token_advantages
        sums = batch.require("sum_p2"), batch.require("sum_p2_logp")
        y = torch.where(batch.valid, predicted_dh(logp, entropy, *sums, a.sign()), 0.0)
        a = torch.where(batch.valid, a, 0.0)
        dh = a.abs() * y
        spread, total, size, tokens = masked_totals([dh * y, a.abs(), dh.abs()], batch.mask, batch.reducer).unbind()
        sigma = (spread / total.clamp(min=1e-12)).sqrt()
        x = (y / sigma.clamp(min=1e-12)).clamp(-1.0, 1.0)
        count = tokens.clamp(min=1).double()
        node_sums = batch.reducer.sum(on_nodes(x, torch.stack([a.abs(), a.square(), dh]).double())) / count
        full = [
            self._mean_dh(node_sums, self._bounded(node_sums, node_sums.new_tensor(gain))) for gain in (FULL, -FULL)
        ]
        return {
            "x": x,
            "dh": dh,
            "entropy": entropy,
            "sums": node_sums.expand(
                x.size(0), *node_sums.shape
            ),  # the buffer holds one entry per sequence, or scalars
            "size": size / tokens,
            "authority": torch.where(tokens > 0, (full[0] - full[1]) / 2, torch.nan),
        }

    def __call__(self, batch: TokenBatch) -> Output:
        stats = batch.stats
        sums, dh = stats["sums"][0], stats["dh"]
        gain = self._bounded(sums, sums.new_tensor(self.gain))
        weight = between_nodes(stats["x"], self._weights(sums, gain)).to(batch.logps.dtype)
        realised = torch.where(batch.valid, batch.require("entropy") - stats["entropy"], 0.0)
        shift = self._mean_dh(sums, gain) - sums[2].sum()
        metrics = {
            **batch.means(change=(weight - 1).abs(), untilted=dh, predicted=dh * weight, realised=realised),
            **batch.means(raised=(weight > 1).to(dh.dtype), lowered=(weight < 1).to(dh.dtype)),
            "gain": gain,
            "authority": stats["authority"],
            "shift": shift / stats["size"].clamp(min=1e-12),
            "cosine": torch.where(stats["size"].isnan(), torch.nan, self._cosine(sums, gain.unsqueeze(0))[0]),
            "generation": gain.new_tensor(float(batch.generation)),
        }
        return torch.where(batch.valid, weight, 1.0), metrics

    def _weights(self, sums: Tensor, gain: Tensor) -> Tensor:
        """(NODES,) w at the nodes."""
        v = self._raw(gain.unsqueeze(0))[0]
        total, tilted = sums[0].sum(), (sums[0] * v).sum()
        return v * torch.where(tilted > 0, total / tilted.clamp(min=1e-300), 1.0)

    def _mean_dh(self, sums: Tensor, gain: Tensor) -> Tensor:
        return (sums[2] * self._weights(sums, gain)).sum()

    def _raw(self, gains: Tensor) -> Tensor:
        """(G,) -> (G, NODES) v at the nodes."""
        nodes = torch.linspace(-1, 1, NODES, dtype=gains.dtype, device=gains.device)
        return (gains.unsqueeze(1) * nodes).exp()

    def _cosine(self, sums: Tensor, gains: Tensor) -> Tensor:
        """(G,) cosine between w A and A, 1 where all A are 0."""
        v, squares = self._raw(gains), sums[1]
        scale = (squares.sum() * (squares * v.square()).sum(1)).sqrt()
        return torch.where(scale > 0, (squares * v).sum(1) / scale.clamp(min=1e-300), 1.0).clamp(max=1.0)

    def _bounded(self, sums: Tensor, gain: Tensor) -> Tensor:
        """The part of ``gain`` up to which no cosine is below the floor: the same on every rank, and without a loop."""
        low, high = torch.zeros_like(gain), torch.ones_like(gain)
        grid = torch.linspace(0, 1, SEARCH, dtype=gain.dtype, device=gain.device)
        for _ in range(2):
            steps = torch.lerp(low, high, grid)
            fine = (self._cosine(sums, gain * steps) >= self.cosine_floor).to(gain.dtype).cumprod(0).sum().long()
            low, high = steps[(fine - 1).clamp(min=0)], steps[fine.clamp(max=SEARCH - 1)]
        return gain * low


def place(x: Tensor) -> tuple[Tensor, Tensor]:
    """The node at or below x, and how far x is on the way to the next one."""
    position = (x + 1) * ((NODES - 1) / 2)
    left = position.floor().clamp(0, NODES - 2)
    return left.long(), position - left


def on_nodes(x: Tensor, values: Tensor) -> Tensor:
    """(B, T) and (K, B, T) -> (K, NODES): each value shared out between the two nodes around its x."""
    left, way = place(x.flatten().double())
    values = values.flatten(1)
    sums = values.new_zeros(values.size(0), NODES)
    return sums.index_add_(1, left, values * (1 - way)).index_add_(1, left + 1, values * way)


def between_nodes(x: Tensor, heights: Tensor) -> Tensor:
    """(B, T) and (NODES,) -> (B, T) heights at x, joined by straight lines."""
    left, way = place(x.double())
    return torch.lerp(heights[left], heights[left + 1], way)
