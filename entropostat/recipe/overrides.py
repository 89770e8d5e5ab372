"""``a.b.c=VALUE`` from the command line, as a child recipe of one key."""

from __future__ import annotations

from entropostat.recipe.errors import COMMAND_LINE, Origin, fail
from entropostat.recipe.merge import TERM_LISTS
from entropostat.recipe.source import Content, Value, parse

HERE = Origin(COMMAND_LINE)


def override(text: str) -> Value:
    """The recipe that ``text`` stands for; a term's name in the path becomes an ``edit:`` of its list."""
    path, equals, given = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise fail(HERE, "", f"{text!r} is not an override; write key.subkey=value")
    value = parse(given, COMMAND_LINE, HERE)
    for depth in range(len(keys), 0, -1):
        below: Content = {keys[depth - 1]: value}
        if tuple(keys[: depth - 1]) in TERM_LISTS and keys[depth - 1][0] not in "+-" and keys[depth - 1] != "edit":
            below = {"edit": Value(below, HERE)}
        value = Value(below, HERE)
    return value
