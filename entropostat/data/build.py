"""The ``model.build`` block: a small policy that the project makes itself. Options only, so that ``plan`` needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.registry import option


@dataclass(frozen=True)
class BuildBlock:
    """A Qwen3-shaped character model, pre-trained on demonstrations of the chain task: a share of them shows working,
    and each written step is wrong with a set probability.
    """

    lengths: tuple[int, ...] = option((2, 5), doc="numbers in a chain, mixed evenly")
    modulus: int = option(10, low=2, high=10_000, doc="everything is computed modulo this")
    working: float = option(0.3, low=0, high=1, fixed=True, doc="share of demonstrations that show their working")
    slips: float = option(0.3, low=0, high=1, fixed=True, doc="probability that a written step is a random number")
    steps: int = option(600, low=1, doc="optimizer steps of pre-training")
    batch: int = option(128, low=1, doc="demonstrations a step")
    learning_rate: float = option(
        3e-3, above=0, fixed=True, doc="peak of the schedule: 30 steps up, linear down to 10 %"
    )
    seed: int | None = option(None, doc="of weights and demonstrations; default: the recipe's seed")
    hidden: int = option(64, low=8, doc="width")
    layers: int = option(2, low=1, doc="transformer layers")
    heads: int = option(2, low=1, doc="attention heads; must divide hidden")
    ff: int = option(192, low=8, doc="width of the feed-forward layers")

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 2:
            raise ValueError(f"model.build.lengths: {list(self.lengths)} must hold numbers of at least 2")
        if self.hidden % (2 * self.heads):
            raise ValueError(f"model.build.hidden: {self.hidden} must be a multiple of 2 * heads ({2 * self.heads})")
