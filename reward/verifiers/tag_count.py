"""Tags that stand in a completion exactly once."""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.data.example import Example
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.tags import LINE_BREAKS, TAGS, check_tags, once
from entropostat.reward.verifier import Verifier
from entropostat.rl.registry import option


@VERIFIERS.register("tag_count", paper="https://github.com/huggingface/open-r1")
@dataclass(frozen=True, kw_only=True)
class TagCount(Verifier):
    """The share of the tags that stand in the completion exactly once: of think and answer a quarter for each of four.

    open-r1's ``tag_count_reward``, number by number: a tag counts with its line breaks, ``<think>\\n``, ``\\n</think>\\n``,
    ``\\n<answer>\\n``, ``\\n</answer>``, wherever it stands; ``line_breaks: false`` counts the bare tags. It asks for no order: the verifier
    ``format`` does.
    """

    tags: list[str] = option(factory=lambda: ["think", "answer"], doc=TAGS)  # noqa: RUF009
    line_breaks: bool = option(True, doc=LINE_BREAKS)

    compares = False

    def __post_init__(self) -> None:
        check_tags("tag_count", self.tags)

    @property
    def formal(self) -> bool:
        return True

    def score(self, completion: str, example: Example) -> float | None:
        found = once(completion, self.tags, self.line_breaks)
        return sum(found) / len(found)
