"""Text of others on a terminal: what would move the cursor, colour the screen or turn the line round is shown as an escape."""

from __future__ import annotations

import re
import sys

ODD = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters, marks of writing direction, and halves of a surrogate pair, which no terminal can be sent."""


def visible(text: str) -> str:
    """``text`` in one line: an escape sequence reads ``\\x1b[31m`` and does nothing."""
    return ODD.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def shorten(value: object, most: int = 60) -> str:
    """A value in a message: one line, quoted if it is text, at most ``most`` characters."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def lines(text: object) -> str:
    """``visible``, line by line."""
    return "\n".join(visible(line) for line in str(text).split("\n"))


def complain(command: str, problem: object) -> None:
    """One line on standard error."""
    print(visible(f"entropostat {command}: {problem}"), file=sys.stderr)
