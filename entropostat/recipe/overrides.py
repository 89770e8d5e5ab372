"""``a.b.c=VALUE`` from the command line, as a child recipe of one key."""

from __future__ import annotations

from entropostat.recipe.errors import COMMAND_LINE, Origin, fail, show
from entropostat.recipe.merge import TERM_LISTS
from entropostat.recipe.source import Content, Value, parse
from entropostat.yaml_text import Room, YamlFault, writable

HERE = Origin(COMMAND_LINE)


def override(text: str, room: Room | None = None) -> Value:
    """The recipe that ``text`` stands for; a term's name in the path becomes an ``edit:`` of its list.

    ``room`` is shared by all that the recipe is made of.
    """
    path, equals, given = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise fail(HERE, "", f"{show(text)} is not an override; write key.subkey=value")
    if keys[0] == "extends":
        raise fail(HERE, "extends", "stands in a file only; write one that extends both, or name that one")
    try:
        writable(path)
        (room := room or Room()).take(len(keys), path)
    except YamlFault as fault:
        raise fail(HERE, path.strip(), str(fault)) from None
    value = parse(given, COMMAND_LINE, HERE, room, tuple(keys))
    for depth in range(len(keys), 0, -1):
        below: Content = {keys[depth - 1]: value}
        if tuple(keys[: depth - 1]) in TERM_LISTS and keys[depth - 1][0] not in "+-" and keys[depth - 1] != "edit":
            below = {"edit": Value(below, HERE)}
        value = Value(below, HERE)
    return value
