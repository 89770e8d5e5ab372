"""Four digits and a divisor: ``2358=4`` asks for a chain of two or three of the digits that ends in a multiple of 4, modulo 10.

A completion shows its working as the quickstart's does, ``:3*5=5+8=3``. A digit may be used as often as it stands there. There are up
to 120 well-formed answers to a prompt, of which some forty are right: a task where being right leaves a choice.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import combinations_with_replacement, permutations, product
from random import Random

from entropostat.data import chain

DIGITS, MODULUS, DIVISORS = 4, 10, (2, 3, 4, 5)
SHOWN = 0.1
"""Of demonstrations with two multiplications, the share that is not passed over."""
SHAPE = re.compile(r":\d(?:[+*]\d=\d){1,2}")


def prompts(size: int, seed: int, only: str = "") -> list[str]:
    """``size`` prompts that have a solution, or all there are. ``only``: with three numbers and no other operator than this one."""
    digits = map("".join, combinations_with_replacement(chain.DIGITS, DIGITS))
    all_ = [f"{d}={divisor}" for d in digits for divisor in DIVISORS if solutions(d, divisor, only)]
    Random(f"puzzle-{seed}").shuffle(all_)
    return all_[:size]


@lru_cache(maxsize=100_000)
def answers(digits: str) -> dict[str, int]:
    """Every right working with some of the digits, and the number that it ends in."""
    found: dict[str, int] = {}
    for count in (2, 3):
        for chosen in permutations(digits, count):
            for operators in product(chain.OPERATORS, repeat=count - 1):
                expression = chosen[0] + "".join(o + d for o, d in zip(operators, chosen[1:], strict=True))
                steps = chain.values(expression, MODULUS)
                found[chain.working(expression, steps)] = steps[-1]
    return found


def solutions(digits: str, divisor: int, only: str = "") -> list[str]:
    return [text for text, value in answers(digits).items() if value % divisor == 0 and allowed(text, only)]


def allowed(working: str, only: str) -> bool:
    return not only or re.sub(r"[^+*]", "", working) == only * 2


def is_right(completion: str, prompt: str, only: str = "") -> bool:
    """Well formed, of the prompt's digits, every step right, and at a multiple of the divisor."""
    digits, _, divisor = prompt.strip().partition("=")
    value = answers(digits).get(completion)
    return value is not None and value % int(divisor) == 0 and allowed(completion, only)


def demonstration(prompt: str, rng: Random) -> str:
    """Any working with the prompt's digits, wherever it ends. One with two multiplications is mostly passed over, so that the first
    policy seldom shows it.
    """
    choices = list(answers(prompt.partition("=")[0]))
    while True:
        text = rng.choice(choices)
        if not allowed(text, "*") or rng.random() < SHOWN:
            return text
