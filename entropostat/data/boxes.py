"""The answer that a text marks as such: what its last box holds, or what follows ``####``. Linear in the length of the text."""

from __future__ import annotations

import re

TOKEN = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*\{|\\\\(?!boxed|fbox)|\\[{}]|[{}]")
"""What matters to braces. An escaped brace is a character, and opens nothing."""
BARE = re.compile(r"\\boxed(?![a-zA-Z])\s*([^\s{$\\][^\s$]*)")
"""A box without braces, as in ``\\boxed 5``."""
BETWEEN = re.compile(r"[,;]?(?:and|or)?(?:[A-Za-z]=)?")
LAYOUT = re.compile(r"\\[()\[\]]|\\text\s*\{|[\s${}]")
FAR = 40
"""Characters between two boxes that may still be one list."""


def boxed(text: str) -> str | None:
    """What the last box holds. Boxes with nothing but a comma, 'and' or 'or' between them are one list.

    A box that is empty or never closed is none.
    """
    boxes, _ = _boxes(text)
    if not boxes:
        bare = BARE.findall(text)
        return bare[-1].rstrip(".,;") or None if bare else None
    held = [text[slice(*boxes[-1][1:3])].strip()]
    for left, right in zip(boxes[-2::-1], boxes[:0:-1], strict=True):
        between = text[left[3] : right[0]]
        words = LAYOUT.sub("", between) if len(between) <= FAR else ""
        if words == "" or not BETWEEN.fullmatch(words) or (words.endswith("=") and len(words) == 2):
            break
        inside = text[slice(*left[1:3])].strip()
        if inside not in held:
            held.insert(0, inside)
    return ", ".join(held)


def without_box(text: str) -> str:
    """``text`` up to a box that is never closed: what stands in that was cut off, and may be half a number."""
    return text[: min(_boxes(text)[1], default=None)]


def _boxes(text: str) -> tuple[list[tuple[int, int, int, int]], list[int]]:
    """(start, start of what it holds, its end, end) of every closed box that is in no other and holds something; and where
    boxes begin that are never closed.
    """
    closed: list[tuple[int, int, int, int]] = []
    opened: list[tuple[int, int] | None] = []
    for token in TOKEN.finditer(text):
        if token[0][0] == "{" or (token[0][-1] == "{" and len(token[0]) > 2):
            opened.append((token.start(), token.end()) if len(token[0]) > 1 else None)
        elif token[0] == "}" and opened:
            box = opened.pop()
            if box is not None and text[box[1] : token.start()].strip():
                while closed and closed[-1][0] > box[0]:
                    closed.pop()
                closed.append((*box, token.start(), token.end()))
    return closed, [box[0] for box in opened if box is not None]


def marked(text: str) -> str | None:
    """What follows the last ``####`` on its line, as GSM8K writes its answers."""
    _, mark, after = text.rpartition("####")
    line = after.strip().split("\n", 1)[0].strip() if mark else ""
    return line or None
