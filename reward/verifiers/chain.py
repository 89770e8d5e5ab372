"""The quickstart task's verifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from entropostat.data import chain
from entropostat.data.example import Example
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.verifier import Verifier


@VERIFIERS.register("chain", paper="entropostat")
@dataclass(frozen=True, kw_only=True)
class ChainVerifier(Verifier):
    """1 if the completion is well formed and ends in the chain's value. Steps on the way are not checked."""

    strategies: ClassVar[tuple[str, ...]] = ("working", "blurting")

    def score(self, completion: str, example: Example) -> float | None:
        return float(self.answer_key(completion, example) == example.answer)

    def answer_key(self, completion: str, example: Example) -> str | None:
        answer = chain.answer_of(completion, (len(example.text.strip()) + 1) // 2)
        return None if answer is None else str(int(answer))

    def worked(self, example: Example) -> list[str]:
        return [] if example.answer is None else [f"={example.answer}"]

    def strategy(self, completion: str, example: Example) -> str | None:
        return chain.strategy_of(completion)
