"""The kinds that the tasks' recipes name and the project does not have. Importing this registers them: only where cells run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from benchmarks.claims import puzzle
from entropostat import catalog
from entropostat.data import chain
from entropostat.data.example import Example, identifier
from entropostat.data.registry import SOURCES, Source
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.verifiers.chain import ChainVerifier
from entropostat.rl.registry import option


@SOURCES.register("puzzle", paper="entropostat")
@dataclass(frozen=True)
class Puzzle(Source):
    """Prompts of puzzle.py, all with the same answers for the same seed."""

    one_answer = False

    size: int = option(4096, low=1, high=4096, doc="distinct prompts")
    seed: int = option(0, low=0, high=2**32 - 1, doc="which prompts are drawn")
    only: str = option("", choices=("", "+", "*"), doc="three numbers and no other operator; empty: any answer")

    def load(self, base: Path | None = None) -> list[Example]:
        return [
            Example(prompt=text + chain.END, answer=text[-1], id=identifier("puzzle", text, index))
            for index, text in enumerate(puzzle.prompts(self.size, self.seed, self.only))
        ]


@VERIFIERS.register("puzzle", paper="entropostat")
@dataclass(frozen=True, kw_only=True)
class PuzzleVerifier(ChainVerifier):
    """1 for a right working with the prompt's digits that ends in a multiple of the divisor."""

    only: str = option("", choices=("", "+", "*"), doc="three numbers and no other operator; empty: any answer")

    def score(self, completion: str, example: Example) -> float | None:
        return float(puzzle.is_right(completion, example.text, self.only))

    def answer_key(self, completion: str, example: Example) -> str | None:
        return completion if puzzle.SHAPE.fullmatch(completion) else None

    def worked(self, example: Example) -> list[str]:
        digits, _, divisor = example.text.strip().partition("=")
        return puzzle.solutions(digits, int(divisor), self.only)[:1]


@VERIFIERS.register("noisy_chain", paper="entropostat")
@dataclass(frozen=True, kw_only=True)
class NoisyChain(ChainVerifier):
    """The chain's verifier with a share of its verdicts turned round: the same ones whenever the same completion is judged."""

    noise: float = option(0.1, low=0, high=0.5, fixed=True, doc="share of the verdicts that are turned round")

    @property
    def formal(self) -> bool:
        """Held-out answers are then judged by the true verifier beside it."""
        return True

    def score(self, completion: str, example: Example) -> float | None:
        right = super().score(completion, example)
        digest = hashlib.sha256(f"{example.prompt}{completion}".encode()).digest()
        turned = int.from_bytes(digest[:8], "big") < self.noise * 2**64
        return right if right is None or not turned else 1.0 - right

    def worked(self, example: Example) -> list[str]:
        return [text for text in super().worked(example) if self.score(text, example) == 1.0]


def announce() -> None:
    """Put them into this process's catalogue, by which recipes are checked: what an installed plug-in's are."""
    known, found = catalog.load().terms, catalog.terms()
    for slot in ("sources", "verifiers"):
        cast(dict[str, Any], known[slot]).update(found[slot])
