"""From a text to the one expression that it gives as its answer, in LaTeX that math-verify reads whole."""

from __future__ import annotations

import re
from collections.abc import Callable

from entropostat.reward.answers import boxed, marked, without_box

LONGEST = 1000
"""Characters. Nobody answers with more, and sympy would take its time."""
LAST = 4000
"""Characters at the end of a text in which an answer without a box is looked for."""

MATH = "sqrt sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp lim max min gcd lcm pi inf infinity"
SMALL = [
    "is",
    "it",
    "of",
    "to",
    "in",
    "by",
    "at",
    "as",
    "so",
    "an",
    "be",
    "if",
    "we",
    "he",
    "no",
    "on",
    "us",
    "my",
    "or",
    "am",
    "do",
    "go",
    "up",
    "ok",
]
"""Words of two letters. Others are products of variables."""
NAMES = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}(?![A-Za-z])")
HIDDEN = re.compile(
    r"\\(?:text|mathrm|mbox|operatorname|mathbb|mathbf|mathcal|textbf|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+|</?think>"
)
DELIMITERS = re.compile(r"\$|\\[()\[\]]")
ENVIRONMENT = r"(?:\$\$?[^$]+\$\$?|\\\((?:[^\\]|\\(?!\)))+\\\))"
MARKED_UP = re.compile(rf"[\s:*=]*({ENVIRONMENT}(?:\s*(?:,|,?\s?and|,?\s?or)\s*{ENVIRONMENT})*)")
"""Mathematics between its delimiters, or a list of such."""
TEXT = re.compile(r"\\(?:text|mathrm|mbox|textbf)\s*\{([^{}]*)\}")
MARKUP = " :*`>="
CUE = re.compile(r"\banswers?\b(?:[^.\n]{0,40}?(?:\bis\b|\bare\b|[:=]))", re.IGNORECASE)

UNICODE = {
    **dict.fromkeys("\u2212\u2010\u2011\u2013\uff0d", "-"),
    "∞": r"\infty ",
    "π": r"\pi ",
    "°": r"^\circ ",
    "×": r"\times ",
    "·": r"\cdot ",
    "⋅": r"\cdot ",
    "÷": "/",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\ne ",
    "±": r"\pm ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "∈": r"\in ",
    "∅": r"\emptyset ",
    "½": r"\frac{1}{2}",
    "¼": r"\frac{1}{4}",
    "¾": r"\frac{3}{4}",
    "⅓": r"\frac{1}{3}",
    "⅔": r"\frac{2}{3}",
    "²": "^{2}",
    "³": "^{3}",
    **dict.fromkeys("\u00a0\u202f\u2009", " "),
}
FORMS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile("|".join(UNICODE)), lambda match: UNICODE[match[0]]),
    (re.compile(r"√\s?(\d+|[A-Za-z])"), r"\\sqrt{\1}"),
    (re.compile("√"), r"\\sqrt "),
    (re.compile(r"\\?sqrt\s?\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(rf"(?<![\\A-Za-z])({MATH.replace(' ', '|')})(?![A-Za-z])"), r"\\\1"),
    (re.compile(r"\\inf(?:inity)?(?![a-zA-Z])"), r"\\infty"),
    (re.compile(r"(?<=\S)\*\*(?=\S)"), "^"),
    (re.compile(r"(?<![\w.])(\d+\.?\d*|\.\d+)[eE]([-+]?\d+)(?![\w.^])"), r"\1 \\times 10^{\2}"),
    (re.compile(r"(?:^|(?<=[\s(=,]))(-?)(\d{1,6})\s*\\[dt]?frac\s*\{(\d{1,6})\}\s*\{(\d{1,6})\}"), lambda m: _mixed(m)),
    (re.compile(r"(?:^|(?<=[\s(=,]))(-?)(\d{1,6})\s+(\d{1,6})/(\d{1,6})(?![\d/])"), lambda m: _mixed(m)),
]
"""Spellings that math-verify does not read, or reads as something else."""


def expression(text: str, only_boxed: bool = False) -> str | None:
    """The answer in ``text`` as LaTeX: the last box, else behind ``####``, else the last run of mathematics in the line with the
    answer. None where only math-verify's own search can say.
    """
    answer = boxed(text)
    if answer is None and not only_boxed:
        text = without_box(text).strip()
        answer = marked(text) or (text if _alone(text) else _run(text[-LAST:]))
    return None if answer is None or len(answer) > LONGEST else latex(answer)


def latex(answer: str) -> str:
    """An answer that stands by itself, with words as text and without the words of a unit."""
    answer = DELIMITERS.sub(" ", answer.replace(r"\$", "")).strip().strip("*`\"'").strip().removesuffix(".").strip()
    words = _words(answer)
    if words and not re.search(r"\d", answer) and not HIDDEN.search(TEXT.sub("", answer)):
        return "\\text{" + TEXT.sub(r"\1", answer) + "}"
    if words and _trimmed(answer) != answer and not _words(_trimmed(answer)):
        answer = _trimmed(answer)
    for pattern, replacement in FORMS:
        answer = pattern.sub(replacement, answer)
    return answer


def _mixed(match: re.Match[str]) -> str:
    whole, top, bottom = int(match[2]), int(match[3]), int(match[4])
    return f"{match[1]}\\frac{{{whole * bottom + top}}}{{{bottom}}}" if top < bottom else match[0]


def _alone(text: str) -> bool:
    """Is the text nothing but an answer: one line of mathematics, or a few words?"""
    if "\n" in text or len(text) > LONGEST:
        return False
    words = _words(text)
    return not words or (
        len(text.split()) <= 3 and not CUE.search(text) and not re.search(r"[\d$\\]", TEXT.sub("", text))
    )


def _run(text: str) -> str | None:
    """What stands between the last words of the line with the answer. None where no line says which part of it is the answer."""
    lines = [line for line in text.splitlines() if line.strip()]
    cued = [line[cue[-1].end() :] for line in lines if (cue := list(CUE.finditer(line)))]
    for line in [*reversed(cued), *lines[:-2:-1]]:
        if DELIMITERS.search(line):
            first = MARKED_UP.match(line) if line in cued else None
            return first and first[1]
        sentence = re.split(r"[.;!?](?:\s|$)", line.strip(MARKUP))[0]
        kept = _trimmed(sentence)
        words = _words(kept)
        run = (kept[words[-1].end() :] if words else kept).strip(MARKUP)
        if re.search(r"\d|\\[a-zA-Z]", run):
            return run
        named = sentence.strip(MARKUP)
        if line in cued and named and len(named.split()) <= 3 and not re.search(r"\d", named):
            return named
    return None


def _trimmed(text: str) -> str:
    """Without the words at its end."""
    words = _words(text)
    while words and re.fullmatch(r"[\s.,*]*", text[words[-1].end() :]):
        text = text[: words.pop().start()].rstrip()
    return text


def _words(text: str) -> list[re.Match[str]]:
    """Words of prose, outside of ``\\text{}`` and commands."""
    plain = HIDDEN.sub(lambda match: "0" * len(match[0]), text)
    known = {*MATH.split(), "and", "or"}
    return [w for w in NAMES.finditer(plain) if w[0].lower() not in known and (len(w[0]) > 2 or w[0].lower() in SMALL)]
