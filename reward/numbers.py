"""Reading one number in a text, or none: never a part of something else. Linear in the length of the text.

The text is brought into one spelling; then only a window around the last digits is looked at, so that no pattern that could
backtrack meets more than a few hundred characters.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from entropostat.reward.number_context import left_sign, right_percent
from entropostat.reward.number_spelling import spelling

WINDOW = 200
"""Characters looked at on either side of the digits. A longer number is none."""

DECIMAL = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d|,\d)|\d+)(?:\.\d+)?|\.\d+)"
FRACTION = r"\\frac\{\s*[-+]?\s?\d+(?:\.\d+)?\s*\}\s*\{\s*[-+]?\s?\d+(?:\.\d+)?\s*\}"
TEN = r"10\s?\^\s?(?:\{\s*[-+]?\d+\s*\}|[-+]?\d+)"
FORMS = re.compile(
    rf"(?P<mixed>\d+(?:\s\d+\s?/\s?\d+|\s?{FRACTION}))|(?P<fraction>{FRACTION}|{DECIMAL}\s?/\s?{DECIMAL})"
    rf"|(?P<power>(?:{DECIMAL}\s?[×x*]\s?)?{TEN})|(?P<decimal>{DECIMAL}(?:[eE][-+]?\d+)?)",
    re.ASCII,
)
FIGURE = re.compile(r"[-+]?(?:[\d,]*\.?\d+)(?:[eE][-+]?\d+)?", re.ASCII)
WORD = re.compile(r"\w+", re.ASCII)
ORDINAL = re.compile(r"\d+(?:st|nd|rd|th)", re.ASCII)
SEVERAL = re.compile(r"[,;]\s|\b(?:and|or)\b")
SPACED = re.compile(r"(?<![\d.,])(\d{1,3})((?: \d{3})+)(?!\d|,\d)", re.ASCII)
"""Thousands apart by spaces: a number where it stands alone; in a sentence it could be two."""


class Number(NamedTuple):
    value: float
    """As it is written: 50 for 50%."""
    percent: bool = False

    def equals(self, wanted: Number, tolerance: float) -> bool:
        """Within ``tolerance``, which is relative above 1. 50% is 0.5, and also 50, the sign being left out."""
        pairs = [(self.value, wanted.value)]
        if self.percent != wanted.percent:
            left, right = (n.value / 100 if n.percent else n.value for n in (self, wanted))
            pairs.append((left, right))
        return any(abs(left - right) <= tolerance * max(1.0, abs(right)) for left, right in pairs)


def last_number(text: str) -> Number | None:
    """The last number of a text; None where its last digits are part of something else, such as ``2k+2`` or ``10:30``.

    Digits of names (``x1``) and ordinals (``3rd``) are no numbers, and passed over.
    """
    text = spelling(text)
    starts = _digits(text)
    return _read(text, starts[-1], alone=False) if starts else None


def only_number(text: str) -> Number | None:
    """The number that all of ``text`` is about, such as what a box holds: ``x = 5``, ``18 dollars``. None for several."""
    text = SPACED.sub(lambda match: match[0].replace(" ", ""), spelling(text))
    if not SEVERAL.search(text):
        text = text.rpartition("=")[2]
    starts = _digits(text)
    if not starts:
        return None
    first = _form(text, starts[0])
    return _read(text, starts[-1], alone=True) if first and first[1].end() + first[0] > starts[-1] else None


def _digits(text: str) -> list[int]:
    """Where numbers begin, or at least digits that are in no name."""
    words = WORD.finditer(text)
    return [w.start() for w in words if w[0][0].isdigit() and not ORDINAL.fullmatch(w[0])]


def _form(text: str, at: int) -> tuple[int, re.Match[str]] | None:
    """The form that holds the digits at ``at``, and where the text begins in which it was found."""
    begin, end = max(at - WINDOW, 0), at + WINDOW
    for match in FORMS.finditer(text[begin:end]):
        if match.end() > at - begin:
            cut = (begin > 0 and match.start() < 2) or (end < len(text) and match.end() == end - begin)
            return None if cut or match.start() > at - begin else (begin, match)
    return None


def _read(text: str, at: int, *, alone: bool) -> Number | None:
    form = _form(text, at)
    if form is None:
        return None
    match = form[1]
    before, after = match.string[: match.start()], match.string[match.end() :]
    sign, percent = left_sign(before, alone), right_percent(after, alone)
    value = _value(match)
    if sign is None or percent is None or not math.isfinite(value):
        return None
    return Number(sign * value, percent)


def _value(match: re.Match[str]) -> float:
    """NaN or infinite where there is none."""
    figures = [float(figure.replace(",", "")) for figure in FIGURE.findall(match[0].replace("- ", "-"))]
    if match.lastgroup == "decimal":
        return figures[0]
    if match.lastgroup == "power":
        factor, exponent = figures[0] if len(figures) == 3 else 1.0, figures[-1]
        return math.inf if exponent > 308 else factor * 10.0 ** max(exponent, -400.0)
    top, bottom = figures[-2:]
    if match.lastgroup == "mixed" and not 0 <= top < bottom:  # two numbers side by side
        return math.nan
    return sum(figures[:-2]) + (top / bottom if bottom else math.nan)
