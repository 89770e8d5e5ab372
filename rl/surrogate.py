"""What the policy losses that we compute ourselves have in common."""

from __future__ import annotations

from entropostat.rl.batch import TokenBatch
from entropostat.rl.bounds import Bounded, Holds


class Surrogate:
    """A loss that TRL does not compute: it runs with zero advantages, and ours is added on the scale of its ``type``."""

    type: str
    delegated = False
    holds: Holds = "nothing"

    @property
    def clip(self) -> tuple[float, float] | None:
        """(lowest, highest) ratio of a token with a gradient, for weights that leave clipped tokens alone. None where the
        bounds are soft, hold for sequences, or leave the tokens beyond them a gradient.
        """
        return None

    def bounded(self, batch: TokenBatch) -> Bounded:
        """The tokens, or sequences, at a bound of this loss. Asked only where it ``holds`` something."""
        raise NotImplementedError(f"{type(self).__name__} holds the {self.holds} of tokens, and does not say of which")

    @property
    def aggregation(self) -> str:
        """TRL's loss_type, which names the normaliser."""
        return self.type
