"""Whether a class keeps the contract of its slot, asked once, when it registers: a misspelt member would be one that is ignored."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from dataclasses import fields
from types import FunctionType
from typing import Any, get_args

from entropostat.rl.info import SCOPES, Holds
from entropostat.rl.spelling import unknown
from entropostat.rl.term import Loss, Scoped

SPECIAL = ("__call__", "__post_init__")
"""Of the names that Python gives a meaning to, those that a term may define."""


def misfit(cls: type[Any], base: type[Any]) -> str | None:
    """What is wrong with ``cls`` as a term whose slot has the contract ``base``; None if nothing."""
    if "__dataclass_fields__" not in vars(cls) or not cls.__dataclass_params__.frozen:
        return "must be a frozen dataclass: write @dataclass(frozen=True) under the registration"
    if not issubclass(cls, base):
        special = [k.__name__ for k in base.__subclasses__() if k.__module__ == base.__module__]
        return f"must derive from {' or '.join(special or [base.__name__])} of {base.__module__}"
    return next(_problems(cls, base), None)


def _problems(cls: type[Any], base: type[Any]) -> Iterator[str]:
    contracts = [k for k in cls.__mro__ if k.__module__ == base.__module__ or k in base.__mro__]
    own = [k for k in cls.__mro__ if k not in contracts]
    known = {name for k in contracts for name in _stated(k) if _public(name)}
    held = {f.name for f in fields(cls)}
    mine = {name for k in own for name in _stated(k)}
    yield from (
        f"has an {unknown('member', name, known)}{ASIDE}" for name in sorted(mine - held - known) if _public(name)
    )
    yield from (
        f"has `{name}`, did you mean `{close[0]}`?"
        for name in sorted(mine - {*SPECIAL, *dir(object)})
        if name.startswith("__") and (close := difflib.get_close_matches(name, SPECIAL, 1, 0.85))
    )
    for name in _missing(cls, contracts, held):
        close = difflib.get_close_matches(name, mine, 1)
        yield f"has no `{name}`" + (f", only `{close[0]}`" if close else f", which {base.__name__} asks for")
    for name in sorted(mine & known):
        yield from _form(name, own, contracts, held)
    if problem := _of_scope(cls) or _of_bounds(cls) or cls._contradiction():
        yield problem


ASIDE = "; a helper of its own begins with an underscore"


def _missing(cls: type[Any], contracts: list[type[Any]], held: set[str]) -> list[str]:
    """Abstract methods, and attributes that a contract names without a value, where nothing before it gives one."""
    missing = set(cls.__abstractmethods__)
    for k in contracts:
        before = cls.__mro__[: cls.__mro__.index(k)]
        bare = set(inspect.get_annotations(k)) - set(vars(k)) - held
        missing |= {name for name in bare if not any(name in vars(b) for b in before)}
    return sorted(missing - held)


def _form(name: str, own: list[type[Any]], contracts: list[type[Any]], held: set[str]) -> Iterator[str]:
    """A flag that is a method is always true; a method that is a flag cannot be called; a fact is no option."""
    theirs = next((vars(k)[name] for k in contracts if name in vars(k)), None)
    ours = next((vars(k)[name] for k in own if name in vars(k)), None)
    annotation = next((a for k in contracts if (a := inspect.get_annotations(k).get(name))), "")
    if name in held:
        if isinstance(theirs, FunctionType) or str(annotation).startswith("ClassVar"):
            yield f"has an option `{name}`, which is no option: write `{name} = ...` without a type"
    elif isinstance(theirs, FunctionType):
        if not callable(ours) and not isinstance(ours, classmethod):
            yield f"has `{name}`, which must be a method"
    elif isinstance(ours, FunctionType):
        yield f"has `{name}`, which must be a value or a property"


def _stated(k: type[Any]) -> set[str]:
    return {*vars(k), *inspect.get_annotations(k)}


def _public(name: str) -> bool:
    return not name.startswith("_")


def _of_scope(cls: type[Any]) -> str | None:
    """Who prepares says over what, and the other way round."""
    if not issubclass(cls, Scoped):
        return None
    option = {f.name: f for f in fields(cls)}.get("scope")
    says = option is not None or cls.prepared is not Scoped.prepared or cls.scope != "never"
    if says is (cls.prepare is Scoped.prepare):
        return "has a `scope` and no `prepare`" if says else "has `prepare` and no `scope`, which says when that runs"
    offered = () if option is None else option.metadata.get("choices", (option.default,))
    odd = [x for x in offered if x not in SCOPES]
    return f"has the `scope` {odd[0]!r}, which is none of {', '.join(SCOPES)}" if odd else None


def _of_bounds(cls: type[Any]) -> str | None:
    """Who holds something says which tokens, and the other way round."""
    if not issubclass(cls, Loss):
        return None
    if isinstance(held := cls.holds, str) and held not in get_args(Holds):
        return f"has `holds` {held!r}, which is none of {', '.join(get_args(Holds))}"
    tells = cls.bounded is not Loss.bounded
    if tells is (held != "nothing"):
        return None
    return "has `bounded` without `holds`" if tells else "has `holds` without `bounded`"
