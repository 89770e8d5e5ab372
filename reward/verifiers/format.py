"""Whether a completion has the form that it was asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from entropostat.data.example import Example
from entropostat.reward.patterns import check_pattern
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.tags import LINE_BREAKS, TAGS, as_released, check_tags, in_order, once
from entropostat.reward.verifier import Verifier
from entropostat.rl.registry import option


@VERIFIERS.register("format", paper="https://github.com/huggingface/open-r1")
@dataclass(frozen=True, kw_only=True)
class Format(Verifier):
    """1 if the completion is made of the blocks and of nothing else: ``<think>``, its text, ``</think>``, ``<answer>``, its text,
    ``</answer>``, each tag on a line of its own, and none of them twice.

    open-r1's ``format_reward`` has this pattern, and takes more for well formed than it shows: further tags inside of a block, and
    further lines behind the last. A policy that is paid for form finds that; ``reference: true`` is that pattern, to the letter.

    A ``regex`` of your own stands in place of the blocks. It is matched from the beginning, a dot is any character, and ^ and $ are those of
    lines, as for open-r1's and TRL's patterns. It meets whatever the policy writes, on which it may backtrack for ever: so it runs in a
    worker, and after ``timeout`` the completion has no reward of it.

    It judges form alone: where another verifier can, it does not decide what is right in evaluation.
    """

    tags: list[str] = option(factory=lambda: ["think", "answer"], doc=TAGS)  # noqa: RUF009
    line_breaks: bool = option(True, doc=f"{LINE_BREAKS}; false: white space between the blocks is free")
    opened: bool = option(
        False, doc="the prompt ends in the first tag, as some chat templates have it: the completion begins inside"
    )
    partial: bool = option(False, doc="the share of the tags that stand exactly once, in any order, instead of 1 or 0")
    reference: bool = option(False, doc="open-r1's pattern to the letter")
    regex: str | None = option(None, doc="a pattern in place of the blocks")

    compares = False

    def __post_init__(self) -> None:
        check_tags("format", self.tags)
        check_pattern("verifier format", self.regex, "regex")
        if self.regex is not None and (self.opened or self.partial or self.reference):
            raise ValueError(
                "verifier format: regex stands in place of the blocks; leave out opened, partial and reference"
            )
        if self.reference and (self.partial or not self.line_breaks):
            raise ValueError(
                "verifier format: reference is all or nothing, with line breaks; leave out partial and line_breaks"
            )

    @property
    def formal(self) -> bool:
        return True

    @property
    def isolated(self) -> bool:
        return self.regex is not None  # a pattern of the user may backtrack for ever

    def score(self, completion: str, example: Example) -> float | None:
        if self.regex is not None:
            return float(re.match(self.regex, completion, re.DOTALL | re.MULTILINE) is not None)
        text = f"<{self.tags[0]}>\n{completion}" if self.opened else completion
        if self.partial:
            found = once(text, self.tags, self.line_breaks)
            return sum(found) / len(found)
        if self.reference:
            return float(as_released(text, self.tags))
        return float(in_order(text, self.tags, self.line_breaks))
