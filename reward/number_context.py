"""What stands around a number: does it make the number a part of something else?"""

from __future__ import annotations

import re

from entropostat.reward.number_spelling import UNITS

LINKS = "approx|to|rightarrow|Rightarrow|implies|therefore|because|sim|colon|end|item|hline|text"
"""LaTeX commands that only lead up to a number, or end after it."""
LEADS = re.compile(rf"\\(?:{LINKS})$")
FOLLOWS = re.compile(rf"\\(?:{LINKS})(?![a-zA-Z])|\\\\|\\[)\]]")
OPENERS, CLOSERS = "([{", ")]}"
FUNCTIONS = [
    "sqrt",
    "sin",
    "cos",
    "tan",
    "sec",
    "csc",
    "cot",
    "sinh",
    "cosh",
    "tanh",
    "arcsin",
    "arccos",
    "arctan",
    "asin",
    "acos",
    "atan",
    "log",
    "ln",
    "exp",
]
CALLED = re.compile(rf"(?<![A-Za-z])(?:{'|'.join(FUNCTIONS)})$")
PERCENT = re.compile(r"\s?%|\s?per\s?cent(?:age)?\b")
UNIT = re.compile(r"°?\s?([A-Za-z]+)")


def left_sign(before: str, alone: bool) -> int | None:
    """1 or -1, or None where the number goes on to the left. ``before`` is the text up to its first figure.

    ``alone``: there is nothing but the number, so that a dash is no bullet.
    """
    line = before.rpartition("\n")[2]
    sign, line = _sign(line)
    if alone and before.strip() in ("-", "+"):
        return -1 if "-" in before else 1
    if sign is None or _in_a_tuple(line):
        return None
    rest = line.rstrip()
    if not rest:
        return sign
    last, glued = rest[-1], rest == line
    if last in OPENERS:
        return None if re.search(r"[\w^)\]}]$|\\[a-zA-Z]+$", rest[:-1]) else sign
    if last in "+/^×<>≤≥_±√&" or last == "\\":
        return None
    if last == "*":
        return sign if rest.strip("* ") == "" or (rest[-2:-1].isspace() and glued) else None
    if last in ".," or last == ":":
        return None if glued and re.search(r"\d.$", rest) else sign
    if last == "_" or (last.isalpha() and last.isascii() and (glued or CALLED.search(rest))):
        return None
    if last.isdigit() or last in "}°π∞" or (glued and last in ")]!%"):
        return None
    if re.search(r"\\[a-zA-Z]+$", rest):
        return sign if LEADS.search(rest) else None
    return sign


def _sign(line: str) -> tuple[int | None, str]:
    """The sign, and what stands before it. A dash with a space behind it is one after '=' only, else a dash or a bullet."""
    bare = line.rstrip()
    if not bare.endswith(("-", "+")):
        return 1, line
    value, rest = (-1 if bare[-1] == "-" else 1), bare[:-1]
    operand = re.search(r"[\w)\]}!°%]\s?$", rest)
    if bare == line:
        word = re.search(r"[A-Za-z]{2,}\s$|[^\x00-\x7f]\s?$", rest)
        return (None if operand and not word else value), rest
    if re.search(r"[\d)\]}!°%]\s*$|(?<![A-Za-z])[A-Za-z]\s*$", rest):
        return None, rest
    return (value, rest) if rest.rstrip().endswith("=") else (1, rest)


def _in_a_tuple(line: str) -> bool:
    """Is an open bracket to the left followed by a comma, as in ``(2, 3``? Prose between brackets has words."""
    depth = 0
    for i in range(len(line) - 1, -1, -1):
        if line[i] in CLOSERS:
            depth += 1
        elif line[i] in OPENERS and depth:
            depth -= 1
        elif line[i] in OPENERS:
            inside = line[i + 1 :]
            return bool(re.search("[,;]", inside)) and not re.search(r"(?<!\\)\b[A-Za-z]{2,}", inside)
    return False


def right_percent(after: str, alone: bool) -> bool | None:
    """Whether a percent sign follows, or None where the number goes on to the right.

    ``alone``: there is nothing but the number, so that ``!`` is a factorial and not a sentence's end.
    """
    percent = PERCENT.match(after)
    after = after[percent.end() :] if percent else after
    line = after.partition("\n")[0]
    rest = line.lstrip()
    if not rest:
        return bool(percent)
    first, glued = rest[0], rest == line
    if first == "\\":
        return bool(percent) if FOLLOWS.match(rest) else None
    unit = UNIT.match(rest)
    if unit and not percent:
        if first == "°":
            return False if unit[1] in "CFK" or " " in unit[0] else None
        return False if _is_a_unit(unit[1], glued, rest[unit.end() :]) else None
    if first in "+×^_<>≤≥±√π∞&" or (glued and first in "({") or (first == "*" and re.match(r"\*\s?[\w\\(]", rest)):
        return None
    if first == "/":
        return bool(percent) if re.match(r"/\s?(?:[A-Za-z]{2,}|[mshLg]\b)", rest) else None
    if first == "-":
        return None if re.match(r"-\s?(?:[A-Za-z](?![A-Za-z])|[\\(\d])", rest) else bool(percent)
    if first in ".,:" and re.match(r".\d", rest):
        return None
    if first in ",;" and re.match(
        r"[,;]\s?[-+]?\s?(?:\\(?!text)[a-zA-Z]|[b-zB-HJ-Z](?![a-zA-Z])|∞)", rest
    ):  # of a pair
        return None
    if first == "!" and (alone or rest[1:2] == "!"):
        return None
    if first in "({" and alone and not re.match(r"[({]\s?[A-Za-z]{2,}", rest):
        return None
    return bool(percent)


def _is_a_unit(word: str, glued: bool, rest: str) -> bool:
    """Letters behind a number: a unit or a word of the sentence, and no variable or function."""
    if word in UNITS:
        return not re.match(r"\s?[\^(]", rest)
    if glued:
        return len(word) > 3 and word.lower() not in FUNCTIONS and not re.match(r"[\d_^(]", rest)
    if len(word) == 1:
        return word in "aIA" and bool(re.match(r"\s+[A-Za-z]{2}", rest))
    return not re.match(r"\s?[\^(\d]", rest) or word.lower() not in FUNCTIONS
