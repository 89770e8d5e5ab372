"""The other way round than searching: a text in which a pattern should find an answer."""

from __future__ import annotations

import importlib
import re
from typing import Any

MOST = 1000
"""Repetitions of a part."""


def spelled(pattern: str, answer: str) -> str | None:
    """A short text in which ``pattern`` should find ``answer``; None for patterns that are beyond this, such as with references
    to their own groups.
    """
    return _Speller(answer, grouped=re.compile(pattern).groups > 0).text(pattern)


class _Speller:
    """Writes what a parsed pattern asks for, and ``answer`` in the place of its first group; without groups, of what may be long
    at its end.
    """

    def __init__(self, answer: str, grouped: bool) -> None:
        self.answer, self.grouped = answer, grouped

    def text(self, pattern: str) -> str | None:
        try:
            # `re` has it under two names, of which each Python knows one without a warning.
            parser: Any = getattr(re, "_parser", None) or importlib.import_module("sre_parse")
            parts = list(parser.parse(pattern))
            if self.grouped:
                return self._all(parts)
            repeats = [place for place, (kind, _) in enumerate(parts) if str(kind).endswith("_REPEAT")]
            return self._all(parts[: repeats[-1]]) + self.answer if repeats else self.answer
        except (_Beyond, ImportError, RecursionError):
            return None

    def _all(self, parts: Any) -> str:
        return "".join(
            self._one(str(kind), given, index + 1 == len(parts)) for index, (kind, given) in enumerate(parts)
        )

    def _one(self, kind: str, given: Any, last: bool) -> str:
        if kind == "LITERAL":
            return chr(given)
        if kind in ("IN", "NOT_LITERAL"):
            return self._among([("NEGATE", None), ("LITERAL", given)] if kind == "NOT_LITERAL" else given)
        if kind == "ANY":
            return "a"
        if kind == "SUBPATTERN":
            return self.answer if given[0] == 1 else self._all(given[3])
        if kind.endswith("_REPEAT"):
            least, _, part = given
            if least > MOST:
                raise _Beyond
            times: int = max(least, 1) if _holds_answer(part) else least
            return self._all(part) * times
        if kind == "BRANCH":
            return self._all(next((part for part in given[1] if _holds_answer(part)), given[1][0]))
        if kind == "ATOMIC_GROUP":
            return self._all(given)
        if kind == "ASSERT":  # ahead of what follows, it says something of that alone
            return self._all(given[1]) if given[0] < 0 or last else ""
        if kind in ("AT", "ASSERT_NOT"):
            return ""
        raise _Beyond

    def _among(self, members: Any) -> str:
        """The first character of a class that is none of its surprises."""
        sign = {"CATEGORY_DIGIT": r"\d", "CATEGORY_SPACE": r"\s", "CATEGORY_WORD": r"\w"}
        negated, inside = False, ""
        for kind, given in members:
            kind, name = str(kind), str(given)
            if kind == "NEGATE":
                negated = True
            elif kind == "LITERAL":
                inside += re.escape(chr(given))
            elif kind == "RANGE":
                inside += f"{re.escape(chr(given[0]))}-{re.escape(chr(given[1]))}"
            elif kind == "CATEGORY" and name.replace("NOT_", "") in sign:
                short = sign[name.replace("NOT_", "")]
                inside += short.upper() if "NOT_" in name else short
        wanted = re.compile(f"[{'^' if negated else ''}{inside}]")
        found = next((chr(code) for code in (*b" \n1aA:.", *range(33, 0x3000)) if wanted.match(chr(code))), None)
        if found is None:
            raise _Beyond
        return found


class _Beyond(Exception):
    """A pattern whose text nobody can guess."""


def _holds_answer(parts: Any) -> bool:
    """Is the first group somewhere in it?"""
    if isinstance(parts, tuple) and len(parts) == 2 and str(parts[0]) == "SUBPATTERN" and parts[1][0] == 1:
        return True
    nested = isinstance(parts, list | tuple) or hasattr(parts, "data")
    return nested and any(_holds_answer(part) for part in parts)
