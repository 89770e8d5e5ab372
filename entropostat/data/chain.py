"""The quickstart task: a left-to-right chain of + and * on one-digit numbers, everything modulo ``modulus``.

A policy may *blurt* the answer (``=6``) or *show its working* (``:2*8=6+6=2+4=6``). Both are right if the last number
is. Working is long and needs every step; blurting is one guess. That is the whole point: two strategies of which the
better one on long chains is not the better one on short chains.
"""

from __future__ import annotations

import re
from itertools import product
from random import Random

OPERATORS = "+*"
DIGITS = "123456789"
END = "\n"
"""Ends every prompt, so that a character model can tell the last operand from the answer."""
ALPHABET = "0123456789" + OPERATORS + "=:" + END

ENUMERABLE = 50_000
"""Up to this many distinct prompts all are listed and shuffled; above, they are drawn and duplicates thrown away, as long as
that is at most half of what there is: the last ones would take many times as many draws as there are."""


def count(length: int) -> int:
    """How many chains of ``length`` numbers there are."""
    return int(len(DIGITS) ** length * len(OPERATORS) ** (length - 1))


def expressions(length: int, size: int, rng: Random) -> list[str]:
    """``size`` distinct chains of ``length`` numbers, or all there are when there are fewer."""
    total = count(length)
    if total <= ENUMERABLE:
        parts = [DIGITS if i % 2 == 0 else OPERATORS for i in range(2 * length - 1)]
        everything = ["".join(chain) for chain in product(*parts)]
        rng.shuffle(everything)
        return everything[:size]
    if size > total // 2:
        return [_numbered(number, length) for number in rng.sample(range(total), min(size, total))]
    drawn: dict[str, None] = {}
    while len(drawn) < size:
        drawn["".join(rng.choice(OPERATORS if i % 2 else DIGITS) for i in range(2 * length - 1))] = None
    return list(drawn)


def _numbered(number: int, length: int) -> str:
    """One chain for each number below ``count(length)``."""
    characters = []
    for place in range(2 * length - 1):
        choices = OPERATORS if place % 2 else DIGITS
        number, index = divmod(number, len(choices))
        characters.append(choices[index])
    return "".join(characters)


def apply(value: int, operator: str, digit: str, modulus: int) -> int:
    """One step of the chain."""
    return (value + int(digit) if operator == "+" else value * int(digit)) % modulus


def values(expression: str, modulus: int) -> list[int]:
    """The running value after each operator; the last is the answer."""
    value, out = int(expression[0]), []
    for operator, digit in zip(expression[1::2], expression[2::2], strict=True):
        value = apply(value, operator, digit, modulus)
        out.append(value)
    return out


def working(expression: str, steps: list[int]) -> str:
    """The completion that writes ``steps`` out."""
    pairs = zip(expression[1::2], expression[2::2], steps, strict=True)
    return ":" + expression[0] + "".join(f"{operator}{digit}={value}" for operator, digit, value in pairs)


def answer_of(completion: str, length: int) -> str | None:
    """The number that a well-formed completion ends in; None for anything else."""
    shown = rf":\d(?:[+*]\d=\d+){{{length - 2}}}[+*]\d=(\d+)"
    match = re.fullmatch(rf"=(\d+)|{shown}", completion)
    return (match[1] or match[2]) if match else None


def strategy_of(completion: str) -> str | None:
    """'working', 'blurting', or None for what is neither."""
    return {":": "working", "=": "blurting"}.get(completion[:1])
