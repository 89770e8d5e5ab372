"""Is a text of the policy's safe to hand to a scorer that evaluates it? Decided by what may be in it, never by what may not.

Several scorers of reasoning-gym call ``eval`` or sympy's ``parse_expr``, which is ``eval`` too, on the completion.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import math
import re
import warnings
from collections.abc import Callable, Iterable

LONGEST = 20_000
"""Characters. The largest board or polynomial of any task is far below."""
FIGURES = re.compile(r"\d{16}", re.ASCII)
"""More digits than any number that the tasks ask about."""
WORDS = re.compile(r"(?:[A-Z0-9\s,]|(?<![A-Z0-9_])_(?![A-Z0-9_]))*", re.ASCII)
"""Capitals, figures and single underscores: no function, and no variable of the scorer such as its ``oracle_answer``."""
SUM = re.compile(r"[0-9.+\-*/() \t\n]*", re.ASCII)
FORMULA = re.compile(r"[A-Za-z0-9_.+\-*/(), ]*", re.ASCII)
FUNCTIONS = frozenset(
    "sin cos tan cot sec csc asin acos atan acot sinh cosh tanh asinh acosh atanh exp log ln sqrt Abs erf erfi Si Ci Ei".split()  # noqa: SIM905
)
HIGHEST = 100.0
"""Exponent."""
LARGEST = 1e300
"""Size of a number on the way: of ``9**9**9`` no digit is worth computing."""


def literal(text: str) -> bool:
    """Words and figures in a row, or a Python list of such: ``1 2 3``, ``[[0, 1], [1, 0]]``, ``['A', 'B']``."""
    if len(text) <= LONGEST and WORDS.fullmatch(text) and not FIGURES.search(text):
        return True
    tree = _parsed(text)
    return tree is not None and all(
        isinstance(node, ast.Expression | ast.List | ast.Tuple | ast.Load)
        or (isinstance(node, ast.Constant) and isinstance(node.value, int | float | str))
        for node in ast.walk(tree)
    )


def arithmetic(text: str) -> bool:
    """Numbers with + - * / and round brackets."""
    return len(text) <= LONGEST and bool(SUM.fullmatch(text)) and "**" not in text and not FIGURES.search(text)


def formula(text: str) -> bool:
    """Numbers, variables and elementary functions, of which no power is large."""
    if not FORMULA.fullmatch(text) or "__" in text:
        return False
    tree = _parsed(text)
    if tree is None:
        return False
    try:
        return _size(tree.body) <= LARGEST
    except (ValueError, OverflowError, RecursionError):
        return False


def ratio(text: str) -> bool:
    """A number whose exponent is small: Python's fractions write all of ``1e999999999`` out."""
    return len(text) <= LONGEST and not re.search(r"[eE][-+]?[\d_]{4}", text)


def _parsed(text: str) -> ast.Expression | None:
    if len(text) > LONGEST or FIGURES.search(text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _size(node: ast.expr) -> float:
    """A bound on the numbers that evaluating ``node`` meets, a variable counted as 1. Raises ValueError for what is no formula."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return max(1.0, abs(value))
        case ast.Name(id=name) if _variable(name):
            return 1.0
        case ast.UnaryOp(op=ast.UAdd() | ast.USub(), operand=operand):
            return _size(operand)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
            return _size(left) + _size(right)
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div(), right=right):
            return _bounded(_size(left) * _size(right))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            exponent = _size(right)
            if exponent > HIGHEST:
                raise ValueError("a high power")
            return _bounded(max(_size(left), 2.0) ** exponent)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            return _size(argument)
    raise ValueError("no formula")


def _bounded(size: float) -> float:
    if not math.isfinite(size) or size > LARGEST:
        raise ValueError("a large number")
    return size


def _variable(name: str) -> bool:
    return (
        len(name) <= 16
        and name not in FUNCTIONS
        and name[0] != "_"
        and not hasattr(builtins, name)
        and not keyword.iskeyword(name)
    )


EVALUATED: dict[str, Callable[[str], bool]] = {
    "binary_matrix": literal,
    "n_queens": literal,
    "spiral_matrix": literal,
    "string_insertion": literal,
    "countdown": arithmetic,
    "puzzle24": arithmetic,
    "simple_integration": formula,
    "intermediate_integration": formula,
    "polynomial_multiplication": formula,
    "coin_flip": ratio,
}
"""The tasks of reasoning-gym whose scorers evaluate or compute with the completion, and what such a completion may be."""

OWN_TEXT = frozenset({"bitwise_arithmetic", "number_sorting"})
"""Tasks whose scorers evaluate the question or the reference, which reasoning-gym wrote, and never the completion."""


def safe_answer(answer: str | None, tasks: Iterable[str]) -> str | None:
    """``answer`` where no scorer of ``tasks`` evaluates it, or where it is harmless; else an empty one, which scores like one that
    cannot be parsed.
    """
    if answer is None:
        return None
    tests = [EVALUATED[task] for task in tasks if task in EVALUATED]
    return answer if all(test(answer) for test in tests) else ""
