"""Is an expression of a size that sympy can compute? It writes every digit of ``10^{999999999}`` out, and counts no time meanwhile.

Decided on the LaTeX alone. Whoever means such a number has no answer that could be compared.
"""

from __future__ import annotations

import re

DIGITS = 20_000
"""Of a power, so that 2^{2024} and 7^{9999} are compared."""
FACTORIAL = 2000
COUNT = 10_000
"""Terms of a sum or product; upper number of a binomial coefficient."""
DEPTH = 24
"""Brackets in brackets."""

NUMBER = re.compile(r"\d+", re.ASCII)
POWER = re.compile(r"\^|\*\*")
SCIENTIFIC = re.compile(r"\d[eE][-+]?(\d+)", re.ASCII)
COUNTING = re.compile(r"\\[dt]?binom|\\choose|\\Gamma|\\gamma|\\sum|\\prod|\\int|\\lim|\\psi|\\zeta")
GROWING = re.compile(r"\^|\*\*|!")
OPEN, CLOSE = "({[", ")}]"
BASE = re.compile(r"(\d+(?:\.\d+)?)[\s}]*$", re.ASCII)


def computable(text: str) -> bool:
    """No tower of powers, no huge exponent, factorial or binomial coefficient, no deep nesting."""
    if _depth(text) > DEPTH or any(int(match[1][:9]) > DIGITS for match in SCIENTIFIC.finditer(text)):
        return False
    if COUNTING.search(text) and _largest(text) > COUNT:
        return False
    return all(_small_power(text, at) for at in POWER.finditer(text)) and _small_factorials(text)


def _small_power(text: str, at: re.Match[str]) -> bool:
    exponent = _group(text, at.end())
    base = BASE.search(text[max(at.start() - 40, 0) : at.start()])
    digits = max(1, len(base[1])) if base else 1
    if not GROWING.search(exponent):
        return _largest(exponent) * digits <= DIGITS
    return not NUMBER.search(exponent) or _tower(exponent) * digits <= DIGITS


def _tower(exponent: str) -> float:
    """A bound on an exponent that has powers itself: 3^{2} in 2^{3^{2}}. Infinite where it has more of them, or a factorial."""
    parts = POWER.split(exponent)
    if len(parts) != 2 or "!" in exponent:
        return float("inf")
    low, high = (_largest(part) for part in parts)
    return float("inf") if high > 15 else max(low, 2.0) ** high


def _small_factorials(text: str) -> bool:
    for match in re.finditer(r"!+", text):
        before = text[: match.start()].rstrip()
        inside = _group_before(before)
        if len(match[0]) > 2 or GROWING.search(inside) or _largest(inside) > FACTORIAL:
            return False
    return True


def _largest(text: str) -> float:
    """Of the numbers in ``text``, multiplied where several meet: a bound on what they make together."""
    product = 1.0
    for number in NUMBER.findall(text):
        product = max(product * max(float(number[:300]), 1.0), product)
        if len(number) > 300 or product > 1e12:
            return 1e12
    return product


def _group(text: str, at: int, follow: int = 2) -> str:
    """The exponent that begins at ``at``: in its brackets, else up to what ends it. And with it what is a power of it in turn, as
    ``9**9`` is in ``9**9**9``: two of those are one too many already.
    """
    while at < len(text) and text[at] in " -+":
        at += 1
    if at < len(text) and text[at] in OPEN:
        depth = 0
        for i in range(at, len(text)):
            depth += (text[i] in OPEN) - (text[i] in CLOSE)
            if depth == 0:
                rest = text[i + 1 :]
                return text[at : i + 1] + _chain(rest, follow)
        return text[at:]
    end = re.compile(r"[\w.\\]*").match(text, at)
    assert end is not None
    rest = text[end.end() :]
    return end[0] + _chain(rest, follow)


def _chain(rest: str, follow: int) -> str:
    rest = rest.lstrip()
    power = POWER.match(rest) if follow else None
    return "" if power is None else power[0] + _group(rest, power.end(), follow - 1)


def _group_before(text: str) -> str:
    if not text or text[-1] not in CLOSE:
        digits = re.search(r"\d*$", text[-400:], re.ASCII)
        return digits[0] if digits else ""
    depth = 0
    for i in range(len(text) - 1, -1, -1):
        depth += (text[i] in CLOSE) - (text[i] in OPEN)
        if depth == 0:
            return text[i:]
    return text


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in OPEN) - (character in CLOSE)
        deepest = max(deepest, depth)
    return deepest
