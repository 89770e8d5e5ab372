"""Blocks such as <think>...</think> in a text. Linear in its length, and without a pattern: the text is the policy's."""

from __future__ import annotations

import re
from collections.abc import Sequence

TAGS = "names of the blocks, in their order: think is <think>...</think>"
LINE_BREAKS = "a tag counts with its line breaks only, as open-r1's: each on a line of its own"
NAME = re.compile(r"[A-Za-z_][\w.:-]*", re.ASCII)


def check_tags(verifier: str, tags: Sequence[str]) -> None:
    """Raises ValueError where ``tags`` are not names, each once."""
    wrong = next((tag for tag in tags if not NAME.fullmatch(tag)), None)
    if wrong is not None:
        bare = wrong.strip("</> \n")
        fix = f"write {bare}" if NAME.fullmatch(bare) else "give a name such as think"
        raise ValueError(f"verifier {verifier}: tags: {wrong!r:.80} is no name; {fix}")
    twice = next((tag for tag in tags if tags.count(tag) > 1), None)
    if twice is not None or not tags:
        raise ValueError(
            f"verifier {verifier}: tags: {f'{twice} stands twice' if twice else 'is empty'}; name each block once"
        )


def spelled(tags: Sequence[str], line_breaks: bool) -> list[str]:
    """Opening and closing tag of every block, in their order. With ``line_breaks`` each has the breaks beside it, but for those
    at the ends of the text."""
    bare = [f"<{end}{tag}>" for tag in tags for end in ("", "/")]
    if not line_breaks:
        return bare
    last = len(bare) - 1
    return [f"{'' if i == 0 else chr(10)}{tag}{'' if i == last else chr(10)}" for i, tag in enumerate(bare)]


def once(text: str, tags: Sequence[str], line_breaks: bool) -> list[bool]:
    """Of each tag: whether it stands in ``text`` exactly once."""
    return [text.count(tag) == 1 for tag in spelled(tags, line_breaks)]


def in_order(text: str, tags: Sequence[str], line_breaks: bool) -> bool:
    """Whether ``text`` is these blocks and nothing else, each tag once; white space behind the last does no harm. With
    ``line_breaks`` the text of a block has lines of its own; without, white space between and before the blocks is free."""
    bare = spelled(tags, False)
    if [text.count(tag) for tag in bare] != [1] * len(bare):
        return False
    begins = [text.index(tag) for tag in bare]
    if begins != sorted(begins):
        return False
    ends = [begin + len(tag) for begin, tag in zip(begins, bare, strict=True)]
    between = [text[a:b] for a, b in zip([0, *ends], [*begins, len(text)], strict=True)]
    *outside, behind = between[0::2]
    if behind.strip() or not line_breaks:
        return not any(part.strip() for part in (*outside, behind))
    lines = all(len(part) > 1 and part[0] == part[-1] == "\n" for part in between[1::2])
    return lines and outside == ["", *["\n"] * (len(tags) - 1)]


def as_released(text: str, tags: Sequence[str]) -> bool:
    """What open-r1's pattern matches: ``^<think>\\n.*?\\n</think>\\n<answer>\\n.*?\\n</answer>$``, where a dot is any character and the
    end that of any line. Every part is taken where it first stands, which leaves the others the most room."""
    first, *inner, last = spelled(tags, True)
    if not text.startswith(first):
        return False
    at = len(first)
    for closing, opening in zip(inner[0::2], inner[1::2], strict=True):
        joint = closing + opening.removeprefix("\n")
        place = text.find(joint, at)
        if place < 0:
            return False
        at = place + len(joint)
    return re.compile(f"{re.escape(last)}$", re.MULTILINE).search(text, at) is not None
