"""One spelling for the many ways in which Unicode, LaTeX and Markdown write the same number. Every pattern is linear."""

from __future__ import annotations

import re
import unicodedata

THIN = "\u2009"
CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2212\u2010\u2011\u2013\ufe63\uff0d", "-"),
        **dict.fromkeys("\u00a0\u202f\u2007\u2008\u200a", THIN),
        **dict.fromkeys("⋅·∙", "×"),
        **dict.fromkeys("\u200b\u2060\ufeff", None),
        "⁄": "/",
        "∕": "/",
        "º": "°",
        "％": "%",
        "＝": "=",
        "≈": "=",
        "≃": "=",
        "，": ",",
        "．": ".",
    }
)
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")

UNITS = frozenset(
    """
    mm cm dm m km in inch inches ft feet foot yd yard yards mi mile miles mg g kg lb lbs oz ms s sec secs second
    seconds min mins minute minutes h hr hrs hour hours day days week weeks month months year years yr yrs mL ml L
    cc gal mph kph Hz kHz MHz GHz J kJ V W kW Pa kPa deg degree degrees unit units square cubic cent cents USD EUR
    GBP px KB MB GB TB
    """.split()  # noqa: SIM905
)
"""What may stand right behind digits, apart from longer words. Most single letters are variables."""

PATTERNS = [
    (re.compile(r"<<[^<>]*>>"), ""),
    (re.compile(r"(?:\\[(\[]|\$)\s?-\s?(?=[\d.\\])"), " -"),
    (re.compile(r"\\(?:left|right|displaystyle)(?![a-zA-Z])|\\!"), ""),
    (re.compile(r"\\(?:text|mathrm|mbox|textbf|mathbf|textit|operatorname)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\frac\s*(\d)"), r"\\frac{\1}"),
    (re.compile(r"(\\frac\{[^{}]{1,40}\})\s*(\d)"), r"\1{\2}"),
    (re.compile(r"\^\s?\{?\s?\\circ\s?\}?|\\(?:degree|circ)(?![a-zA-Z])"), "°"),
    (re.compile(r"\\(?:times|cdot|ast)(?![a-zA-Z])"), "×"),
    (re.compile(r"\\approx(?![a-zA-Z])"), "="),
    (re.compile(r"\\(?:quad|qquad)(?![a-zA-Z])|\\[()\[\]]|\*\*"), " "),
    (re.compile(r"\\[,;: ]|~"), THIN),
    (re.compile(r"\\([%$#&])"), r"\1"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"([-+])[$€£¥₹]\s?"), r"\1"),
    (re.compile(r"[$€£¥₹]"), " "),
    (re.compile(r"(?<![A-Za-z\\])([A-Za-z]+)\s?\^\s?(?:\{\s?-?\d\s?\}|-?\d)(?![\w.^])"), None),
]
"""The first is GSM8K's calculator, the last the power of a unit, as in ``5 cm^2``."""
THOUSANDS = re.compile(rf"(?<![\d.,])\d{{1,3}}(?:{THIN}\d{{3}})+(?!\d|,\d)", re.ASCII)


def spelling(text: str) -> str:
    """``text`` with its numbers in plain characters."""
    if not text.isascii():
        text = re.sub("[⁰¹²³⁴-⁹⁺⁻]+", lambda m: f"^{{{m[0].translate(SUPERSCRIPTS)}}}", text.translate(CHARACTERS))
        text = re.sub(r"[^\x00-\x7f]", _plain, text)
    for pattern, replacement in PATTERNS:
        text = pattern.sub(_unit if replacement is None else replacement, text)
    return THOUSANDS.sub(lambda match: match[0].replace(THIN, ""), text).replace(THIN, " ")


def _plain(match: re.Match[str]) -> str:
    """Digits of other scripts as ours; ½ as a fraction."""
    character = match[0]
    if unicodedata.category(character) == "Nd":
        return str(unicodedata.decimal(character))
    top, slash, bottom = unicodedata.normalize("NFKC", character).partition("⁄")
    return f"\\frac{{{top}}}{{{bottom}}}" if slash and top and bottom else character


def _unit(match: re.Match[str]) -> str:
    word = match[1]
    return word if word in UNITS and (len(word) > 1 or word in "ms") else match[0]
