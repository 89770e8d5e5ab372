"""TRL's fused head in another precision."""

from __future__ import annotations

from typing import Any

import torch


class DenseHead:
    """TRL's fused head computes in float32; for float64 the same quantities, densely."""

    @staticmethod
    def apply(hidden: Any, weight: Any, bias: Any, labels: Any, temperature: float, *_: Any) -> tuple[Any, ...]:
        logps = torch.log_softmax(hidden @ weight.T / temperature, -1)
        entropy = -(logps.exp() * logps).sum(-1)
        return logps.gather(-1, labels.unsqueeze(-1)).squeeze(-1), entropy, None, None, None
