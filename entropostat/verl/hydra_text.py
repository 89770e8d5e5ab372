"""Values as hydra's command line takes them: its grammar has numbers, words, quoted text, lists and mappings."""

from __future__ import annotations

import re
from typing import Any

WORD = re.compile(r"[A-Za-z_/][\w/.@%+\-]*(?::[\w/.@%+\-]+)*")
"""What needs no quotes, and is no number."""
OTHERWISE = frozenset({"true", "false", "null", "none", "nan", "inf"})
"""Words that mean something else, however they are spelt."""


def hydra(value: Any) -> str:
    """Raises TypeError for what no YAML file holds."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return value if WORD.fullmatch(value) and value.lower() not in OTHERWISE else quoted(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(hydra, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_key(str(key))}:{hydra(each)}" for key, each in value.items()) + "}"
    raise TypeError(f"{value!r} is nothing that a command line holds")


def _key(text: str) -> str:
    """Of a mapping, where hydra takes no quotes."""
    escaped = re.sub(r"[\\()\[\]{}:=, \t]", lambda found: "\\" + found[0], text)
    if not WORD.fullmatch(re.sub(r"\\.", "_", escaped)) or text.lower() in OTHERWISE:
        raise TypeError(f"{text!r} is no key of a mapping on a command line")
    return escaped


def quoted(text: str) -> str:
    r"""In double quotes. A backslash stands for itself but before a quote, and ``${`` would be an interpolation."""
    inner = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ("\\" if found[2] else "") + found[2], text)
    return f'"{inner}"'.replace("${", "\\${")
