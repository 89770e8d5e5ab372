"""Finding the answer in a completion by a regular expression."""

from __future__ import annotations

import re


def find_answer(completion: str, pattern: str | None) -> str | None:
    """The last match of ``pattern`` (its first group if it has one), stripped; all of the text without a pattern.

    The last, because a model that corrects itself means its final statement.
    """
    if pattern is None:
        return completion.strip()
    matches = list(re.finditer(pattern, completion))
    if not matches:
        return None
    last = matches[-1]
    answer = last[1] if last.re.groups else last[0]
    return None if answer is None else answer.strip()


def check_pattern(where: str, pattern: str | None, key: str = "answer_regex") -> None:
    """Raise ValueError, naming the verifier, if ``pattern`` is not a regular expression."""
    try:
        re.compile(pattern or "")
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{where}: {key} {pattern!r:.200} is not a regular expression: {error}") from error
