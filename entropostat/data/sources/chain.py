"""The quickstart task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

from entropostat.data import chain
from entropostat.data.example import Example, identifier
from entropostat.data.registry import MOST, SOURCES, Source
from entropostat.rl.registry import option


@SOURCES.register("chain", paper="entropostat")
@dataclass(frozen=True)
class Chain(Source):
    """Chains of + and * on one-digit numbers, modulo a small number: ``2*8+6`` is 2 modulo 10.

    The completion is either the answer, ``=2``, or the working, ``:2*8=6+6=2``. Prompts are distinct; there are only
    162 of length 2.
    """

    length: int = option(5, low=2, high=32, doc="numbers in a chain")
    size: int = option(1024, low=1, high=MOST, doc="distinct prompts, or all there are if fewer")
    modulus: int = option(10, low=2, high=10_000, doc="everything is computed modulo this")
    seed: int = option(0, low=0, high=2**32 - 1, doc="which prompts are drawn")

    def load(self, base: Path | None = None) -> list[Example]:
        drawn = chain.expressions(self.length, self.size, Random(f"chain-{self.length}-{self.seed}"))
        return [
            Example(
                prompt=expression + chain.END,
                answer=str(chain.values(expression, self.modulus)[-1]),
                meta={"modulus": self.modulus},
                id=identifier("chain", expression, index),
            )
            for index, expression in enumerate(drawn)
        ]
