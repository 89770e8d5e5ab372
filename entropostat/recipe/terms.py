"""One-key mappings of a recipe, ``kind: options``, checked against the registered terms."""

from __future__ import annotations

from typing import Any, NamedTuple

from entropostat.catalog import load
from entropostat.data.files.reading import FORMATS
from entropostat.recipe.errors import Problem, nearest, show
from entropostat.recipe.explain import Path, unknown_key, validate
from entropostat.recipe.forms import NAMED, term_form
from entropostat.recipe.source import Value
from entropostat.rl.registry import CONTROLLERS

NOUN = {"sources": "source", "verifiers": "verifier", "loss": "loss"}


class Term(NamedTuple):
    """A term as the recipe gives it: options that are not stated keep the default of the term's own code."""

    name: str
    kind: str
    options: dict[str, Any]


def term_list(value: Value, slot: str, path: Path, problems: list[Problem]) -> list[Term]:
    """Terms of a list, addressed by name."""
    if not isinstance(value.content, list):
        message = f"must be a list of terms such as '- {_example(slot)}: {{}}', not {show(value.plain)}"
        problems.append(Problem(value.origin, ".".join(path), message))
        return []
    terms: list[Term] = []
    for item in value.content:
        term = one_term(item, slot, path, problems)
        if term is None:
            continue
        if term.name in [other.name for other in terms]:
            message = f"two terms are called {term.name!r}; give one of them its own 'name:'"
            problems.append(Problem(_entry(item).origin, ".".join((*path, term.name)), message))
        terms.append(term)
    return terms


def one_term(value: Value, slot: str, path: Path, problems: list[Problem]) -> Term | None:
    """The term that a one-key mapping names, or None after adding what is wrong with it to ``problems``."""
    key = ".".join(path)
    if not isinstance(value.content, dict) or len(value.content) != 1:
        kinds = load().terms[slot]
        example = value.content if isinstance(value.content, str) and value.content in kinds else _example(slot)
        what = f"one {_noun(slot)} as a mapping of one key, such as '{example}: {{}}'"
        problems.append(Problem(value.origin, key, f"give {what}, not {show(value.plain)}"))
        return None
    (kind, options), *_ = value.content.items()
    if kind not in load().terms[slot]:
        problems.append(Problem(options.origin, f"{key}.{kind}", _unknown_kind(slot, kind)))
        return None
    if options.content is None:
        options = Value({}, options.origin)
    name = kind
    if slot in NAMED and isinstance(options.content, dict) and "name" in options.content:
        given = options.content["name"].content
        name = given if isinstance(given, str) else kind
    at = (*path, name)
    before = len(problems)
    _check_controllers(options, slot, kind, at, problems)
    if len(problems) > before:
        return None
    options = _stated(options, slot, kind)
    form = validate(term_form(load().terms[slot][kind]), options, at, problems, unknown_key)
    if form is None:
        return None
    plain = form.model_dump(exclude_unset=True)
    if slot in NAMED:
        plain.pop("name", None)
    _build_controllers(plain, options, slot, kind, at, problems)
    return Term(name, kind, plain)


def _check_controllers(options: Value, slot: str, kind: str, path: Path, problems: list[Problem]) -> None:
    """A mapping on a controlled field names exactly one known controller."""
    if not isinstance(options.content, dict):
        return
    known = load().terms["controllers"]
    for key, value in options.content.items():
        info = load().terms[slot][kind].field(key)
        if info is None or info.fixed or not isinstance(value.content, dict):
            continue
        where = ".".join((*path, key))
        if len(value.content) != 1:
            message = f"name exactly one controller ({', '.join(known)}), not {', '.join(value.content) or 'none'}"
            problems.append(Problem(value.origin, where, message))
        for name, given in list(value.content.items())[:1]:
            if name not in known:
                message = f"unknown controller {name!r}; {nearest(name, known)}"
                problems.append(Problem(given.origin, f"{where}.{name}", message))


def _stated(options: Value, slot: str, kind: str) -> Value:
    """A controller without options is one whose options are all left to their defaults, if they have any."""
    if not isinstance(options.content, dict):
        return options
    stated = dict(options.content)
    for key, value in stated.items():
        info = load().terms[slot][kind].field(key)
        if info is not None and not info.fixed and isinstance(value.content, dict):
            inner = value.content.items()
            given = {name: Value({}, below.origin) if below.content is None else below for name, below in inner}
            stated[key] = Value(given, value.origin)
    return Value(stated, options.origin)


def _build_controllers(
    plain: dict[str, Any], options: Value, slot: str, kind: str, path: Path, problems: list[Problem]
) -> None:
    """Conditions between the keys of a controller are its own: make it, and report what it says."""
    for key, value in plain.items():
        info = load().terms[slot][kind].field(key)
        if info is None or info.fixed or not isinstance(value, dict):
            continue
        (name, given), *_ = value.items()
        try:
            CONTROLLERS.build(name, given)
        except ValueError as error:
            assert isinstance(options.content, dict)
            problems.append(Problem(options.content[key].origin, ".".join((*path, key)), str(error)))


def _entry(item: Value) -> Value:
    assert isinstance(item.content, dict)
    return next(iter(item.content.values()))


def _noun(slot: str) -> str:
    return NOUN.get(slot, f"{slot} term")


def _example(slot: str) -> str:
    return next(iter(load().terms[slot]), "name")


def _unknown_kind(slot: str, kind: str) -> str:
    elsewhere = [other for other, terms in load().terms.items() if kind in terms and other != "controllers"]
    if elsewhere:
        place = "reward" if elsewhere[0] == "verifiers" else f"objective.{elsewhere[0]}"
        place = "data.sources" if elsewhere[0] == "sources" else place
        return f"{kind!r} is no {_noun(slot)}; move it to {place}"
    if slot == "sources" and kind in FORMATS:
        return f"unknown source {kind!r}; use file: {{path: ...}}, which reads it by its ending"
    return f"unknown {_noun(slot)} {kind!r}; {nearest(kind, load().terms[slot])}"
