"""The objective as a callable over a whole batch, for loops that are not TRL's: `loss(samples, logprobs) -> (loss, metrics)`."""

from __future__ import annotations

from entropostat.client.loss import ClientLoss
from entropostat.client.sample import Generation, Part, Sample

__all__ = ["ClientLoss", "Generation", "Part", "Sample"]
