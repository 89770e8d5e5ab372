"""Recipes drawn from the schema: values in range, at its ends and beyond, of another kind, null, and keys that there are not."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from entropostat.recipe.extends import RECIPES

SCHEMA = json.loads((RECIPES / "schema.json").read_text())
OWN = sorted(
    str(p.relative_to(RECIPES)) for p in RECIPES.rglob("*.yaml") if p.parent.name not in ("accelerate", "base")
)
"""Recipes that load, and on which the drawn keys lie."""
DEEP = 5

WORDS = st.sampled_from(
    ["", "x", "kl", "entropy", "easy", "no", "1", "null", "a b", "../x", "~", "\x85", "é🙂", "- a", "a: b", "x" * 300]
)
TEXTS = WORDS | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.sampled_from([-1, 0, 1, 2, 7, 1.5, -0.0, 1e-300, 1e300, 2**31, 2**62, float("inf"), float("-inf")])
JUNK = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def rarely(draw: st.DrawFn, one_in: int = 25) -> bool:
    return draw(st.integers(1, one_in)) == one_in


@st.composite
def value(draw: st.DrawFn, node: dict[str, Any], depth: int = 0) -> Any:
    """Of ``node`` of the schema, most of the time."""
    if rarely(draw):
        return draw(JUNK)
    if "$ref" in node:
        return draw(value(SCHEMA["$defs"][node["$ref"].rpartition("/")[2]], depth))
    for several in ("anyOf", "oneOf"):
        if several in node:
            return draw(value(draw(st.sampled_from(node[several])), depth))
    if "const" in node or "enum" in node:
        return draw(st.sampled_from(node.get("enum", [node.get("const")])))
    kind = node.get("type")
    if kind in ("integer", "number"):
        return draw(number(node))
    if kind == "array":
        return draw(st.lists(value(node.get("items", {}), depth + 1), max_size=3))
    if kind == "object":
        return draw(mapping(node, depth))
    return draw({"boolean": st.booleans(), "null": st.none(), "string": text(node)}.get(kind, JUNK))


def text(node: dict[str, Any]) -> st.SearchStrategy[str]:
    return st.from_regex(node["pattern"], fullmatch=True).map(lambda word: word[:20]) if "pattern" in node else TEXTS


@st.composite
def number(draw: st.DrawFn, node: dict[str, Any]) -> Any:
    """At an end of the range, a little inside, or a usual one; rarely one without regard to it."""
    whole = node["type"] == "integer"
    step = 1 if whole else 1e-6
    ends = [node[key] for key in ("minimum", "maximum") if key in node]
    ends += [node["exclusiveMinimum"] + step] if "exclusiveMinimum" in node else []
    ends += [node["exclusiveMaximum"] - step] if "exclusiveMaximum" in node else []
    usual = [node["default"]] if isinstance(node.get("default"), int | float) else []
    inside = [1, 2, 4, 8, 16, 64] if whole else [0.01, 0.1, 0.5, 0.9, 1.0, 2.0]
    low, high = node.get("minimum", min(ends, default=0)), node.get("maximum", max([*ends, 10**4]))
    return draw(
        NUMBERS if rarely(draw) else st.sampled_from([*ends, *usual, *(n for n in inside if low <= n <= high)] or [1])
    )


@st.composite
def mapping(draw: st.DrawFn, node: dict[str, Any], depth: int) -> dict[str, Any]:
    """A few of its keys; one where it names a kind. Rarely one that there is not."""
    known, one = sorted(node.get("properties", {})), node.get("maxProperties") == 1
    most = 1 if one else max(1, 4 - depth)
    names = draw(st.lists(st.sampled_from(known), min_size=int(one), max_size=most, unique=True)) if known else []
    drawn = {name: draw(value(node["properties"][name], depth + 1)) for name in names if depth < DEEP or one}
    more = node.get("additionalProperties")
    if isinstance(more, dict) and draw(st.booleans()):
        drawn[draw(st.sampled_from(["easy", "hard", "x"]))] = draw(value(more, depth + 1))
    if rarely(draw):
        drawn[draw(TEXTS | st.sampled_from(known or ["x"]).map(lambda name: name[:-1]))] = draw(JUNK)
    return drawn


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    """A recipe of the project with a few blocks changed, or those blocks alone."""
    drawn = draw(mapping(SCHEMA, 0))
    drawn.pop("extends", None)
    return {"extends": f"entropostat:{draw(st.sampled_from(OWN))}", **drawn} if not rarely(draw, 10) else drawn


def places(node: dict[str, Any] = SCHEMA, at: tuple[str, ...] = (), depth: int = 0) -> dict[str, dict[str, Any]]:
    """Dotted keys and what the schema says of them, for overrides."""
    if "$ref" in node:
        return places(SCHEMA["$defs"][node["$ref"].rpartition("/")[2]], at, depth)
    nodes = {".".join(at): node} if at else {}
    if depth < DEEP:
        for inner in (*node.get("anyOf", ()), *([node["items"]] if isinstance(node.get("items"), dict) else [])):
            nodes = places(inner, at, depth) | nodes
        for name, inner in node.get("properties", {}).items():
            nodes |= places(inner, (*at, name), depth + 1)
    return nodes
