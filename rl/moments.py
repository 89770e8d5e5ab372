"""Running mean and variance of a stream of rewards.

Welford's update for whole batches (Chan, Golub and LeVeque 1979): the moments of all values so far, whatever the batches that
they came in. Batches of several ranks are merged by their values, so every rank must be given all of them.

SAFE's released normaliser (arXiv:2602.04651) takes the unbiased variance of a batch into the sum of squares, which is n / (n - 1)
times too much of it; ``bessel=True`` does as it does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from torch import Tensor


@dataclass(frozen=True)
class RunningMoments:
    """Moments of what was seen. The weak start, one value in ten thousand, only keeps the first variance off 0."""

    count: float = 1e-4
    mean: float = 0.0
    variance: float = 1.0
    """Of the population, not its unbiased estimate."""

    def update(self, x: Tensor, bessel: bool = False) -> RunningMoments:
        """The moments with the values of ``x``, of any shape, as well. NaN, a completion without a reward, does not count."""
        seen = x.detach().double().flatten()
        seen = seen[~seen.isnan()]
        n = seen.numel()
        if n == 0:
            return self
        squares = float((seen - seen.mean()).square().sum())
        if bessel and n > 1:
            squares *= n / (n - 1)
        total = self.count + n
        delta = float(seen.mean()) - self.mean
        spread = self.variance * self.count + squares + delta * delta * self.count * n / total
        return RunningMoments(total, self.mean + delta * n / total, spread / total)

    def normalise(self, x: Tensor, epsilon: float = 1e-8) -> Tensor:
        """``x`` minus the mean over the standard deviation, same shape and dtype; NaN stays NaN."""
        return ((x.double() - self.mean) / (math.sqrt(self.variance) + epsilon)).to(x.dtype)

    def state_dict(self) -> dict[str, float]:
        """Plain numbers, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, float]) -> RunningMoments:
        return cls(**state)
